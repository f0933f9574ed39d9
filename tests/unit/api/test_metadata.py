"""Metadata of all kinds alike."""

from __future__ import annotations

from typing import Any

from pierhead.api import metadata
from pierhead.api.kinds import ENDPOINTS, NAMESPACE, SERVICE


def _texts(**found: Any) -> list[tuple[str, str]]:
    about = {"name": "web", "namespace": "default"} | found
    return [(cause.field, cause.message) for cause in metadata.validate(SERVICE, {"metadata": about})]


def test_the_name_rule_is_the_kinds() -> None:
    assert metadata.validate(ENDPOINTS, {"metadata": {"name": "a.b", "namespace": "x"}}) == []
    assert _texts(name="a.b") == [("metadata.name", 'Invalid value: "a.b": must not contain dots')]


def test_a_namespace_is_asked_for_where_there_is_one() -> None:
    assert _texts(namespace="") == [("metadata.namespace", "Required value")]
    (cause,) = metadata.validate(NAMESPACE, {"metadata": {"name": "a", "namespace": "b"}})
    assert cause.message == "Forbidden: not allowed on this type"


def test_a_beginning_may_end_with_a_hyphen() -> None:
    assert _texts(generateName="web-") == []
    assert _texts(generateName="Web-", name="")[1] == (
        "metadata.name",
        "Required value: name or generateName is required",
    )


def test_annotations_are_limited_as_a_whole() -> None:
    assert _texts(annotations={"a": "x" * (256 * 1024 - 1)}) == []
    assert _texts(annotations={"a": "x" * 256 * 1024}) == [
        ("metadata.annotations", "Too long: may not be more than 262144 bytes")
    ]
    assert _texts(annotations={"Example.com/A": ""}) == []


def test_one_owner_controls() -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u", "controller": True}
    assert _texts(ownerReferences=[owner, owner | {"controller": False}]) == []
    ((path, text),) = _texts(ownerReferences=[owner, owner | {"name": "b"}])
    assert path == "metadata.ownerReferences"
    assert text.endswith('Found "true" in references for ConfigMap/a and ConfigMap/b')


def test_finalizers_are_qualified_or_known() -> None:
    assert _texts(finalizers=["foregroundDeletion", "example.com/x"]) == []
    assert _texts(finalizers=["x"]) == [
        (
            "metadata.finalizers[0]",
            'Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified',
        )
    ]
    assert "cannot be both set" in _texts(finalizers=["orphan", "foregroundDeletion"])[0][1]


def test_identity_is_for_life_and_said_twice() -> None:
    old = {"metadata": {"name": "web", "namespace": "x", "uid": "1"}}
    new = {"metadata": {"name": "web", "namespace": "x", "uid": "2"}}
    causes = metadata.validate_update(SERVICE, new, old)
    assert [(cause.field, cause.message) for cause in causes] == 2 * [
        ("metadata.uid", 'Invalid value: "2": field is immutable')
    ]


def test_who_is_leaving_gets_no_new_finalizers() -> None:
    old = {"metadata": {"name": "a", "deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["a/b"]}}
    assert metadata.validate_update(ENDPOINTS, {"metadata": {"name": "a", "finalizers": []}}, old) == []
    causes = metadata.validate_update(ENDPOINTS, {"metadata": {"name": "a", "finalizers": ["a/b", "c/d"]}}, old)
    assert causes[0].message == (
        'Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}'
    )
