"""JSON merge patch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.patch import merge_patch
from pierhead.errors import ApiError


@pytest.mark.parametrize(
    ("doc", "patch", "found"),
    [  # RFC 7386, appendix A, where the patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(doc: Any, patch: Any, found: Any) -> None:
    assert merge_patch(doc, patch) == found


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ([], "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("x", "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (True, "error decoding patch: json: cannot unmarshal bool into Go value of type map[string]interface {}"),
        (1.5, "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (None, "Invalid JSON Patch"),
    ],
)
def test_a_patch_is_an_object(patch: Any, text: str) -> None:
    with pytest.raises(ApiError) as failure:
        merge_patch({}, patch)
    assert (failure.value.code, failure.value.reason, failure.value.message) == (400, "BadRequest", text)


def test_a_patch_that_is_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(ApiError):
        merge_patch({}, deep)


def difference(old: Any, new: Any) -> Any:
    """The patch that turns ``old`` into ``new``."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    gone = {key: None for key in old if key not in new}
    return gone | {
        key: difference(old.get(key), value) for key, value in new.items() if key not in old or old[key] != value
    }


LEAVES = st.booleans() | st.integers(0, 3) | st.text(max_size=2) | st.lists(st.integers(0, 3), max_size=2)
OBJECTS: Any = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), LEAVES, max_size=3),
    lambda below: st.dictionaries(st.sampled_from("abcd"), below | LEAVES, max_size=3),
    max_leaves=8,
)


@given(old=OBJECTS, new=OBJECTS)
def test_the_difference_of_two_documents_turns_one_into_the_other(old: Any, new: Any) -> None:
    assert merge_patch(old, difference(old, new)) == new


@given(doc=OBJECTS, patch=OBJECTS)
def test_a_patch_twice_is_a_patch_once(doc: Any, patch: Any) -> None:
    before = copy.deepcopy((doc, patch))
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once
    assert (doc, patch) == before
