"""Who owns which field, as ``kubectl get --show-managed-fields`` tells."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import Tree, codec
from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, POD, SERVICE
from pierhead.api.managedfields import difference, ordered, record, union
from pierhead.api.schema import message

PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}


def service(**spec: Any) -> Tree:
    return {"metadata": {"name": "web"}, "spec": spec}


def write(
    new: Tree,
    old: Tree | None = None,
    manager: str = "me",
    *,
    kind: Kind = SERVICE,
    subresource: str = "",
    now: str = "t1",
) -> Tree:
    record(
        new, old, manager=manager, operation="Update", subresource=subresource, api_version=kind.api_version, now=now,
        message=message(kind.message),
    )  # fmt: skip
    return new


def owned(obj: Tree) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


def test_a_creator_owns_what_it_wrote_and_not_the_identity() -> None:
    created = write(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "uid": "u", "labels": {"a": "b"}, "finalizers": ["x/y"]},
            "spec": {"type": "ClusterIP", "selector": {"app": "x"}, "ports": [PORT], "externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {}},
        }
    )
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "t1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:finalizers": {".": {}, 'v:"x/y"': {}}, "f:labels": {".": {}, "f:a": {}}},
                "f:spec": {
                    "f:externalIPs": {},
                    "f:ports": {
                        ".": {},
                        'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}},
                    },
                    "f:selector": {},
                    "f:type": {},
                },
            },
        }
    ]


def test_a_pod_owns_lists_that_always_exist_by_their_items() -> None:
    body = (
        b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"host"}]}}'
    )
    pod = codec.decode(POD, body, "json").tree
    containers = owned(write(pod, kind=POD))["me"]["f:spec"]["f:containers"]
    assert containers == {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}


def test_another_manager_takes_over_what_it_changes() -> None:
    old = write(service(type="ClusterIP", sessionAffinity="None"), manager="one")
    new = write(service(type="NodePort", sessionAffinity="None"), old, "two")
    assert owned(new) == {"one": {"f:spec": {"f:sessionAffinity": {}}}, "two": {"f:spec": {"f:type": {}}}}


def test_who_has_nothing_left_is_gone() -> None:
    old = write(service(type="ClusterIP"), manager="one")
    assert list(owned(write(service(type="NodePort"), old, "two"))) == ["two"]


def test_nobody_owns_what_is_no_longer_there() -> None:
    old = write(service(type="ClusterIP", ports=[PORT, PORT | {"port": 81}]), manager="one")
    new = write(service(type="ClusterIP", ports=[PORT]), old, "two")
    assert list(owned(new)) == ["one"]
    assert list(owned(new)["one"]["f:spec"]["f:ports"]) == [".", 'k:{"port":80,"protocol":"TCP"}']


def test_a_changed_member_of_an_item_is_all_that_changes_hands() -> None:
    old = write(service(ports=[PORT]), manager="one")
    new = write(service(ports=[PORT | {"targetPort": 8080}]), old, "two")
    assert owned(new)["two"] == {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:targetPort": {}}}}}


def test_an_atomic_list_changes_hands_as_a_whole() -> None:
    tree: Tree = {"metadata": {}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}]}
    old = write(tree, manager="one", kind=ENDPOINT_SLICE)
    new = write(tree | {"metadata": {}, "endpoints": [{"addresses": ["10.1.2.4"]}]}, old, "two", kind=ENDPOINT_SLICE)
    assert owned(new) == {"one": {"f:addressType": {}}, "two": {"f:endpoints": {}}}


def test_the_same_manager_adds_to_its_fields() -> None:
    old = write(service(type="ClusterIP"))
    new = write(service(type="ClusterIP", sessionAffinity="None"), old, now="t2")
    (entry,) = new["metadata"]["managedFields"]
    assert (entry["time"], entry["fieldsV1"]) == ("t2", {"f:spec": {"f:sessionAffinity": {}, "f:type": {}}})


def test_a_write_that_changes_nothing_leaves_the_time() -> None:
    old = write(service(type="ClusterIP"))
    assert write(service(type="ClusterIP"), old, now="t2") == old


def test_the_status_is_owned_through_its_subresource() -> None:
    old = write(service(type="ClusterIP"), manager="one")
    changed = service(type="NodePort") | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    new = write(changed, old, "two", subresource="status")
    entry = next(entry for entry in new["metadata"]["managedFields"] if entry["manager"] == "two")
    assert entry["subresource"] == "status"
    assert list(entry["fieldsV1"]) == ["f:status"]
    assert '"k:{' not in str(old)


def test_a_client_that_sends_none_keeps_those_there_are_and_one_that_sends_an_empty_one_forgets_them() -> None:
    old = write(service(type="ClusterIP"), manager="one")
    assert list(owned(write(service(type="ClusterIP"), old, "two"))) == ["one"]
    new = service(type="ClusterIP")
    new["metadata"]["managedFields"] = [{}]
    assert owned(write(new, old, "two")) == {}


DEEP: dict[str, Any] = {}
for _ in range(100):
    DEEP = {"f:x": DEEP}


@pytest.mark.parametrize(
    "broken",
    [
        {"operation": "Merge"},
        {"apiVersion": ""},
        {"fieldsType": "FieldsV2"},
        {"fieldsV1": 1.5},
        {"fieldsV1": {"f:spec": ["f:type"]}},
        {"fieldsV1": {"spec": {}}},
        {"fieldsV1": {'k:{"port":': {}}},
        {"fieldsV1": {'k:{"port":{}}': {}}},
        {"fieldsV1": DEEP},
    ],
)
def test_entries_that_cannot_be_read_count_as_not_sent(broken: dict[str, Any]) -> None:
    old = write(service(type="ClusterIP"), manager="one")
    (kept,) = old["metadata"]["managedFields"]
    new = service(type="ClusterIP")
    new["metadata"]["managedFields"] = [kept | {"manager": "other"}, kept | broken]
    assert write(new, old, "two")["metadata"]["managedFields"] == [kept]


def test_a_key_that_nobody_gave_is_a_zero() -> None:
    created = write(service(ports=[{"port": 80, "protocol": "TCP"}, {"protocol": "TCP"}]))
    steps = list(owned(created)["me"]["f:spec"]["f:ports"])
    assert steps == [".", 'k:{"port":0,"protocol":"TCP"}', 'k:{"port":80,"protocol":"TCP"}']


def test_items_are_written_in_the_order_of_their_keys() -> None:
    steps = ordered({'k:{"port":443}': {}, "f:x": {}, 'k:{"port":80}': {}, ".": {}})
    assert list(steps) == [".", "f:x", 'k:{"port":80}', 'k:{"port":443}']


STEPS = st.sampled_from(["f:a", "f:b", 'k:{"n":1}', "."])
SETS: Any = st.recursive(st.just({}), lambda below: st.dictionaries(STEPS, below, min_size=1, max_size=3), max_leaves=8)


def members(fields: dict[str, Any], here: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The model of a field set: the paths in it."""
    found = {here} if not fields or "." in fields else set()
    return found.union(*(members(below, (*here, step)) for step, below in fields.items() if step != "."))


@given(SETS, SETS)
def test_sets_of_fields_are_sets_of_paths(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = copy.deepcopy((one, other))
    one, other = {"f:x": one}, {"f:x": other}
    assert members(union(one, other)) == members(one) | members(other)
    left = difference(one, other)
    assert (members(left) if left else set()) == members(one) - members(other)
    assert (one["f:x"], other["f:x"]) == before
