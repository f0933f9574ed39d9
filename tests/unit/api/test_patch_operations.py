"""JSON patch: RFC 6902 with the liberties of the real server's library."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.patch import json_patch, unknown_members
from pierhead.api.patch.operations import MOST_OPERATIONS
from pierhead.errors import ApiError

DOC = {"labels": {"a": "1"}, "ports": [{"port": 80}, {"port": 443}], "type": "ClusterIP", "a/b": {"~": 1}}


def patched(*operations: dict[str, Any]) -> Any:
    return json_patch(DOC, list(operations))


@pytest.mark.parametrize(
    ("operation", "path", "found"),
    [
        ({"op": "add", "path": "/labels/b", "value": "2"}, "labels", {"a": "1", "b": "2"}),
        ({"op": "add", "path": "/ports/-", "value": 9}, "ports", [{"port": 80}, {"port": 443}, 9]),
        ({"op": "add", "path": "/ports/1", "value": 9}, "ports", [{"port": 80}, 9, {"port": 443}]),
        ({"op": "add", "path": "/ports/2", "value": 9}, "ports", [{"port": 80}, {"port": 443}, 9]),
        ({"op": "add", "path": "/ports/-1", "value": 9}, "ports", [{"port": 80}, {"port": 443}, 9]),
        ({"op": "add", "path": "/a~1b/~0", "value": 2}, "a/b", {"~": 2}),
        ({"op": "add", "path": "/new"}, "new", None),
        ({"op": "remove", "path": "/ports/0"}, "ports", [{"port": 443}]),
        ({"op": "remove", "path": "/ports/-1"}, "ports", [{"port": 80}]),
        ({"op": "replace", "path": "/labels/none", "value": "x"}, "labels", {"a": "1", "none": "x"}),
        ({"op": "replace", "path": "/type", "value": None}, "type", None),
        ({"op": "move", "from": "/labels/a", "path": "/type"}, "type", "1"),
        ({"op": "copy", "from": "/ports/0", "path": "/labels/p"}, "labels", {"a": "1", "p": {"port": 80}}),
        ({"op": "test", "path": "/labels/none", "value": None}, "type", "ClusterIP"),
    ],
)
def test_an_operation(operation: dict[str, Any], path: str, found: Any) -> None:
    assert patched(operation)[path] == found


def test_a_path_without_its_slash_names_a_member_of_the_document() -> None:
    assert patched({"op": "add", "path": "spec/type", "value": "x"})["type"] == "x"


def test_the_whole_document_can_be_replaced() -> None:
    assert patched({"op": "replace", "path": "", "value": {"b": 1}}) == {"b": 1}


def test_no_operations_change_nothing() -> None:
    assert json_patch(DOC, []) == json_patch(DOC, None) == DOC


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/type", "value": "NodePort"},
        {"op": "test", "path": "/ports/0/port", "value": 80.0},
        {"op": "test", "path": "/ports/0/port", "value": True},
        {"op": "remove", "path": "/labels/none"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/ports/2"},
        {"op": "remove", "path": "/ports/-3"},
        {"op": "replace", "path": "/ports/2", "value": 1},
        {"op": "replace", "path": "/ports/-", "value": 1},
        {"op": "replace", "path": "/ports/7/port", "value": 1},
        {"op": "replace", "path": "", "value": 1},
        {"op": "add", "path": "/ports/3", "value": 1},
        {"op": "add", "path": "/ports/x", "value": 1},
        {"op": "add", "path": "/none/x", "value": 1},
        {"op": "add", "path": "/type/x", "value": 1},
        {"op": "add", "path": "type", "value": 1},
        {"op": "add", "value": 1},
        {"op": "move", "path": "/x"},
        {"op": "move", "from": "/labels", "path": "/labels/a"},
        {"op": "frob", "path": "/x"},
        {"path": "/x", "value": 1},
        None,
    ],
)
def test_what_cannot_be_applied(operation: Any) -> None:
    with pytest.raises(ApiError) as failure:
        patched(operation)
    assert failure.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ({}, "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (["x"], "json: cannot unmarshal string into Go value of type handlers.jsonPatchOp"),
        ([{"op": 1}], "json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"),
    ],
)
def test_what_is_no_list_of_operations(ops: Any, text: str) -> None:
    with pytest.raises(ApiError) as failure:
        json_patch(DOC, ops)
    assert (failure.value.code, failure.value.message) == (400, f"error decoding patch: {text}")


def test_copies_of_copies_end() -> None:
    doubling = [{"op": "copy", "from": "", "path": "/x"}] * 64
    with pytest.raises(ApiError) as failure:
        json_patch({"long": "x" * 100_000}, doubling)
    assert failure.value.code == 422


def test_there_are_only_so_many_operations() -> None:
    with pytest.raises(ApiError) as failure:
        json_patch({}, [{"op": "test", "path": "/x"}] * (MOST_OPERATIONS + 1))
    assert failure.value.code == 413


def test_unknown_members_are_named_by_place() -> None:
    assert unknown_members([{"op": "add"}, {"foo": 1}]) == ['json patch unknown field "[1].foo"']


KEYS = st.sampled_from(["a", "b", "0", "1", "-", "~", "-1", ""])
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | KEYS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)
PATHS = st.lists(KEYS, max_size=4).map(lambda parts: "".join(f"/{part}" for part in parts)) | st.text(max_size=4)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
        "path": PATHS,
        "from": PATHS,
        "value": VALUES,
    },
)


@given(doc=VALUES, ops=st.lists(OPERATIONS, max_size=5) | VALUES)
def test_it_fails_only_in_its_own_words_and_changes_nothing_it_was_given(doc: Any, ops: Any) -> None:
    before = copy.deepcopy((doc, ops))
    with suppress(ApiError):
        json_patch(doc, ops)
    assert (doc, ops) == before


@given(doc=st.dictionaries(KEYS, VALUES), value=VALUES, key=st.sampled_from(["a", "b"]))
def test_what_was_added_is_there_and_can_be_removed(doc: Any, value: Any, key: str) -> None:
    add, remove = {"op": "add", "path": f"/{key}", "value": value}, {"op": "remove", "path": f"/{key}"}
    test = {"op": "test", "path": f"/{key}", "value": value}
    assert json_patch(doc, [add, test])[key] == value
    assert key not in json_patch(doc, [add, remove])
