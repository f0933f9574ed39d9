"""Manifests: what counts as a file and what as text, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pierhead.testing.manifests import read

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def names(*sources: str | Path | dict[str, object]) -> list[str]:
    return [found.tree["metadata"]["name"] for found in read(sources)]


def test_a_file_may_hold_several_documents_and_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "maps.yaml"
    path.write_text(f"---\n{MAP % 'a'}---\n---\n{MAP % 'b'}")
    assert names(path) == names(str(path)) == ["a", "b"]


def test_text_is_what_has_lines_or_begins_like_json() -> None:
    assert names(MAP % "a") == ["a"]
    assert names('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}') == ["a"]


def test_a_mapping_is_an_object_and_stays_as_it_was() -> None:
    given: dict[str, object] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert names(given) == ["a"]
    assert given["metadata"] == {"name": "a"}


def test_a_list_stands_for_its_items() -> None:
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("a", "b")]
    assert names({"apiVersion": "v1", "kind": "List", "items": items}) == ["a", "b"]


def test_the_namespace_is_default_where_the_kind_has_one_and_none_is_named() -> None:
    given = [*read([MAP % "a", MAP % "b, namespace: shop", MAP.replace("ConfigMap", "Namespace") % "c"])]
    assert [found.tree["metadata"].get("namespace") for found in given] == ["default", "shop", None]


def test_a_date_of_yaml_is_text_as_in_the_api() -> None:
    [found] = read([MAP % "a" + "data: {day: 2026-01-02}\n"])
    assert found.tree["data"] == {"day": "2026-01-02"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [\n", "the text: while parsing"),
        (MAP % "a" + "---\n- b\n", "the text: document 2: an object has apiVersion, kind and metadata with a name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "metadata with a name"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
            r"the text: Deployment \(apps/v1\) is not served; there are .*ReplicaSet \(apps/v1\)",
        ),
        ("apiVersion: [1]\nkind: {}\nmetadata: {name: a}\n", "an object has apiVersion, kind and metadata"),
    ],
)
def test_what_is_no_object_is_refused_by_its_place(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read([text])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"maps\.yaml"):
        read([str(tmp_path / "maps.yaml")])


def test_what_is_neither_file_nor_text_is_told_what_a_manifest_is() -> None:
    with pytest.raises(FileNotFoundError, match=r"a manifest is a file, text of more than one line, .*: 'hello'$"):
        read(["hello"])
