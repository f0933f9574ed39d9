"""YAML bodies: what JSON they stand for, what was given twice, and bombs."""

import time

import pytest

from pierhead.api import codec
from pierhead.api.codec import text, yamltext
from pierhead.api.kinds import SERVICE
from pierhead.errors import ApiError

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports:
  - port: 80
    targetPort: web
  type: NodePort
  type: ClusterIP
  colour: red
"""


def value(body: str) -> object:
    return text.plain(yamltext.parse(body.encode())[0])


def test_a_manifest() -> None:
    found = codec.decode(SERVICE, MANIFEST.encode(), "yaml")
    assert found.tree["spec"] == {"ports": [{"port": 80, "targetPort": "web"}], "type": "ClusterIP"}
    assert found.warnings == ['line 10: key "type" already set in map', 'unknown field "spec.colour"']
    assert (
        found.strict == 'yaml: unmarshal errors:\n  line 10: key "type" already set in map, unknown field "spec.colour"'
    )


def test_json_is_yaml() -> None:
    assert codec.decode(SERVICE, b'{"metadata": {"name": "web"}}', "yaml").tree["metadata"] == {"name": "web"}


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("1", 1), ("0x10", 16), ("010", 8), ("1_000", 1000), ("1.5", 1.5), ("80.0", 80), ("1e3", "1e3"),
        ("true", True), ("yes", True), ("off", False), ("n", False), ('"yes"', "yes"), ("~", None), ("null", None),
        ("12:30:00", "12:30:00"), ("2024-01-01", "2024-01-01"), ("!!python/object:os.system x", "x"), ("text", "text"),
    ],
)  # fmt: skip
def test_scalars(scalar: str, expected: object) -> None:
    assert value(f"a: {scalar}") == {"a": expected}


def test_keys_are_text() -> None:
    assert value("{1: a, true: b, x: c}") == {"1": "a", "true": "b", "x": "c"}


def test_aliases_and_merges() -> None:
    assert value("a: &a {p: 1, q: 2}\nb: *a\nc: {<<: *a, q: 3}") == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 2},
        "c": {"q": 3, "p": 1},
    }


def test_only_the_first_document_counts() -> None:
    assert value("a: 1\n---\nb: 2") == {"a": 1}
    assert value("") is None


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
        "a: &a " + "x" * 100_000 + "\nb: [" + ",".join(["*a"] * 1000) + "]",
        "a: &a {<<: [" + "{" * 50 + "}" * 50 + "], b: *a}",
        "a: &a [*a]",
        "[" * 100_000,
        "- " * 50_000,
        "a: [" + "x," * 1_500_000 + "]",
        "a: |\n" + " x\n" * 900_000 + "b:\n" + "- x\n" * 100_000,
    ],
    ids=["laughs", "long scalar", "merge", "itself", "brackets", "dashes", "list", "text and list"],
)
def test_bombs_are_refused_at_once(bomb: str) -> None:
    began = time.monotonic()
    with pytest.raises(ApiError, match="yaml: "):
        codec.decode(SERVICE, bomb.encode(), "yaml")
    assert time.monotonic() - began < 5


def test_a_long_text_is_one_node() -> None:
    assert value("a: |\n" + "  [x, y]: - z\n" * 100_000) == {"a": "[x, y]: - z\n" * 100_000}


def test_what_is_no_yaml_names_its_line() -> None:
    with pytest.raises(ApiError) as caught:
        codec.decode(SERVICE, b"a: 1\nb: [", "yaml")
    assert caught.value.message.startswith("the object provided is unrecognized (must be of type Service): yaml: line ")
