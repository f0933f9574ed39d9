"""Strategic merge patch, by the schema of the kind."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import Tree
from pierhead.api.patch import go_text, strategic_merge_patch
from pierhead.api.schema import message
from pierhead.errors import ApiError

SERVICE, POD = message("api.core.v1.Service"), message("api.core.v1.Pod")
HTTP, HTTPS = {"name": "http", "port": 80}, {"name": "https", "port": 443}


def ports(*patch: Any, old: Any = (HTTP, HTTPS), **others: Any) -> Any:
    doc = {"spec": {"ports": list(old)}}
    return strategic_merge_patch(doc, {"spec": {"ports": list(patch)} | others}, SERVICE)["spec"].get("ports")


def spec(old: Tree, patch: Tree) -> Any:
    return strategic_merge_patch({"spec": old}, {"spec": patch}, SERVICE)["spec"]


def test_items_of_a_list_merge_by_their_key() -> None:
    assert ports({"port": 80, "name": "web"}) == [{"name": "web", "port": 80}, HTTPS]


def test_a_new_item_stands_before_what_the_patch_does_not_name() -> None:
    assert ports({"name": "x", "port": 9}) == [{"name": "x", "port": 9}, HTTP, HTTPS]


def test_an_item_is_deleted_by_its_key() -> None:
    assert ports({"$patch": "delete", "port": 80}) == [HTTPS]


def test_a_list_is_replaced() -> None:
    assert ports({"$patch": "replace"}, {"port": 9}) == [{"port": 9}]


def test_the_order_of_a_list_is_set() -> None:
    order = {"$setElementOrder/ports": [{"port": 443}, {"port": 80}]}
    assert ports({"port": 80, "targetPort": "h"}, **order) == [HTTPS, HTTP | {"targetPort": "h"}]


def test_the_order_is_set_without_a_patch_of_the_items() -> None:
    patch = {"$setElementOrder/ports": [{"port": 443}, {"port": 80}]}
    assert spec({"ports": [HTTP, HTTPS]}, patch)["ports"] == [HTTPS, HTTP]


def test_server_only_items_keep_their_place() -> None:
    old = [{"port": number} for number in (1, 2, 3, 4)]
    order = {"$setElementOrder/ports": [{"port": 4}, {"port": 2}]}
    assert [port["port"] for port in ports({"port": 2, "name": "b"}, old=old, **order)] == [1, 3, 4, 2]


def test_a_list_without_a_merge_strategy_is_replaced() -> None:
    assert spec({"externalIPs": ["192.0.2.1"]}, {"externalIPs": ["192.0.2.2"]}) == {"externalIPs": ["192.0.2.2"]}


def test_a_map_merges_is_replaced_and_emptied() -> None:
    old = {"selector": {"app": "web"}}
    assert spec(old, {"selector": {"tier": "y"}}) == {"selector": {"app": "web", "tier": "y"}}
    assert spec(old, {"selector": {"app": None}}) == {"selector": {}}
    assert spec(old, {"selector": {"$patch": "replace", "tier": "y"}}) == {"selector": {"tier": "y"}}
    assert spec(old, {"selector": {"$patch": "delete"}}) == {"selector": {}}


def test_finalizers_merge_as_a_set() -> None:
    doc = {"metadata": {"finalizers": ["x/a", "x/b"]}}
    assert strategic_merge_patch(doc, {"metadata": {"finalizers": ["x/c", "x/a"]}}, SERVICE) == {
        "metadata": {"finalizers": ["x/c", "x/a", "x/b"]}
    }
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}}
    assert strategic_merge_patch(doc, patch, SERVICE) == {"metadata": {"finalizers": ["x/b"]}}


def test_containers_merge_deeply() -> None:
    doc = {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}
    patch = {"spec": {"containers": [{"name": "c", "env": [{"name": "B", "value": "2"}]}]}}
    merged = strategic_merge_patch(doc, patch, POD)["spec"]["containers"]
    assert merged == [{"name": "c", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}]


def test_only_retained_keys_survive() -> None:
    doc = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volume = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
    patched = strategic_merge_patch(doc, {"spec": {"volumes": [volume]}}, POD)
    assert patched["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_what_is_new_comes_without_directives_and_nulls() -> None:
    patch = {"selector": {"$retainKeys": ["a"], "a": "b", "c": None}, "ports": [HTTP, {"$patch": "delete", "port": 1}]}
    assert spec({}, patch) == {"selector": {"a": "b"}, "ports": [HTTP]}


def test_null_is_no_patch() -> None:
    assert strategic_merge_patch({"a": 1}, None, SERVICE) == {"a": 1}


@pytest.mark.parametrize(
    ("patch", "code", "text"),
    [
        ([], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ({"spec": {"ports": [{"name": "x"}]}}, 500, "map: map[name:x] does not contain declared merge key: port"),
        (
            {"spec": {"ports": [{"$patch": "frob", "port": 1}]}},
            500,
            "unknown patch type: frob in map: map[$patch:frob port:1]",
        ),
        (
            {"spec": {"ports": [{"$patch": "merge", "port": 1}]}},
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        ({"spec": {"ports": ["x"]}}, 500, "list element types are not identical: [map[name:http port:80] x]"),
        ({"spec": {"ports": [[]]}}, 422, "the server rejected our request due to an error in our request"),
        ({"spec": {"$retainKeys": ["type"], "sessionAffinity": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder": []}}, 400, "invalid patch format of setElementOrder list"),
        ({"spec": {"$setElementOrder/ports": "x"}}, 500, "expected a []interface {}, but received a string"),
        (
            {"spec": {"$setElementOrder/none": []}},
            500,
            'unable to find api field in struct ServiceSpec for the json field "none"',
        ),
        (
            {"spec": {"$setElementOrder/ports": [{"port": 443}], "ports": [{"port": 80, "targetPort": "h"}]}},
            500,
            "The order in patch list:\n[map[port:80 targetPort:h]]\n doesn't match $setElementOrder list:\n[map[port:443]]\n",
        ),
    ],
)
def test_what_cannot_be_merged(patch: Any, code: int, text: str) -> None:
    with pytest.raises(ApiError) as failure:
        strategic_merge_patch({"spec": {"ports": [HTTP]}}, patch, SERVICE)
    assert (failure.value.code, failure.value.message) == (code, text)


def test_values_are_shown_as_go_prints_them() -> None:
    assert go_text({"b": [1, "x", None], "a": True}) == "map[a:true b:[1 x <nil>]]"


ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1, 4),
        "name": st.text("ab", max_size=2),
        "$patch": st.sampled_from(["delete", "replace", "x"]),
    },
)
ANYTHING: Any = st.none() | st.integers() | st.text(max_size=2) | st.lists(ITEMS | st.integers(0, 1), max_size=3)
PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "ports": st.lists(ITEMS, max_size=4) | ANYTHING,
        "$setElementOrder/ports": st.lists(ITEMS, max_size=4) | ANYTHING,
        "$deleteFromPrimitiveList/externalIPs": ANYTHING,
        "$retainKeys": ANYTHING | st.just(["ports", "type"]),
        "selector": st.dictionaries(st.sampled_from(["a", "$patch"]), st.text("ab", max_size=1), max_size=2) | ANYTHING,
        "type": ANYTHING,
    },
)
PORTS = st.lists(st.integers(1, 4), unique=True, max_size=4).map(
    lambda numbers: [{"port": number} for number in numbers]
)


@given(old=PORTS, patch=PATCHES)
def test_it_fails_only_in_its_own_words_and_changes_nothing_it_was_given(old: Any, patch: Any) -> None:
    doc, whole = {"spec": {"ports": old, "selector": {"a": "b"}}}, {"spec": patch}
    before = copy.deepcopy((doc, whole))
    with suppress(ApiError):
        strategic_merge_patch(doc, whole, SERVICE)
    assert (doc, whole) == before


@given(old=PORTS, new=PORTS)
def test_merged_ports_hold_both_in_the_order_of_the_patch(old: Any, new: Any) -> None:
    numbers = [port["port"] for port in ports(*new, old=old)]
    assert sorted(numbers) == sorted({port["port"] for port in [*old, *new]})
    assert [number for number in numbers if {"port": number} in new] == [port["port"] for port in new]
    assert ports(*new, old=ports(*new, old=old)) == ports(*new, old=old)
