"""How endpoints are packed into slices: as few writes as possible."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.views import Endpoint, EndpointConditions, EndpointPort, EndpointSlice, OwnerReference
from pierhead.core import packing
from pierhead.core.packing import Group, Plan, Template

HTTP, DNS = (EndpointPort("http", "TCP", 80),), (EndpointPort("dns", "UDP", 53),)
OWNER = OwnerReference("v1", "Service", "web", "uid-web", controller=True)


def template(limit: int = 3, labels: dict[str, str] | None = None) -> Template:
    return Template("default", "web", "IPv4", labels or {"l": "1"}, None, OWNER, limit)


def endpoint(number: int, *, ready: bool = True) -> Endpoint:
    return Endpoint((f"10.1.0.{number}",), EndpointConditions(ready=ready))


def held(name: str, numbers: list[int], ports: packing.Ports = HTTP, **changes: object) -> EndpointSlice:
    found = template().fill(tuple(map(endpoint, numbers)), ports, None)
    meta = msgspec.structs.replace(found.metadata, name=name, resource_version="1", **changes)
    return msgspec.structs.replace(found, metadata=meta)


def plan(existing: list[EndpointSlice], numbers: list[int], *, ports: packing.Ports = HTTP, limit: int = 3) -> Plan:
    shape = template(limit)
    return packing.settle(packing.arrange([Group(ports, list(map(endpoint, numbers)))], existing, shape), shape)


def sizes(slices: tuple[EndpointSlice, ...]) -> dict[str, int]:
    return {found.metadata.name: len(found.endpoints or ()) for found in slices}


def test_a_first_packing_fills_slices_to_the_limit() -> None:
    found = plan([], [1, 2, 3, 4])
    assert [len(made.endpoints or ()) for made in found.create] == [3, 1]
    assert found.create[0].metadata.generate_name == "web-"


def test_what_is_right_is_not_written() -> None:
    assert not plan([held("a", [1, 2])], [2, 1])


def test_a_changed_slice_takes_the_new_endpoint() -> None:
    """b lost one anyway: it is written in any case, so a is left alone."""
    found = plan([held("a", [1, 2]), held("b", [3, 4])], [1, 2, 3, 5])
    assert (found.create, sizes(found.update), found.delete) == ((), {"b": 2}, ())


def test_of_changed_slices_the_fullest_is_filled_first() -> None:
    found = plan([held("a", [1, 2]), held("b", [3, 4, 5])], [1, 3, 4, 6])
    assert sizes(found.update) == {"a": 1, "b": 3}


def test_the_rest_goes_into_the_fullest_slice_that_takes_all_of_it() -> None:
    found = plan([held("a", [1]), held("b", [2, 3])], [1, 2, 3, 4])
    assert sizes(found.update) == {"b": 3}
    found = plan([held("a", [1]), held("b", [2, 3])], [1, 2, 3, 4, 5])
    assert sizes(found.update) == {"a": 3}


def test_slices_are_never_joined_only_to_be_tidy() -> None:
    assert not plan([held("a", [1]), held("b", [2]), held("c", [3])], [1, 2, 3])


def test_an_emptied_slice_is_deleted() -> None:
    found = plan([held("a", [1]), held("b", [2])], [1])
    assert [gone.metadata.name for gone in found.delete] == ["b"]


def test_a_create_and_a_delete_become_an_update() -> None:
    """Another port list needs another slice; the old one is no longer needed: it is rewritten."""
    found = plan([held("a", [1])], [1], ports=DNS)
    assert (found.create, found.delete) == ((), ())
    assert [(made.metadata.name, made.ports) for made in found.update] == [("a", DNS)]


def test_a_slice_of_a_service_that_had_the_name_before_is_not_reused() -> None:
    stranger = held("a", [1], owner_references=(OwnerReference("v1", "Service", "web", "uid-old"),))
    found = plan([stranger], [1])
    assert len(found.create) == 1
    assert found.delete == (stranger,)


def test_ports_in_another_order_are_the_same_ports() -> None:
    both = (*HTTP, *DNS)
    assert not plan([held("a", [1], both)], [1], ports=(*DNS, *HTTP))


def test_other_labels_are_written() -> None:
    shape = template(labels={"l": "2"})
    found = packing.settle(packing.arrange([Group(HTTP, [endpoint(1)])], [held("a", [1])], shape), shape)
    assert [made.metadata.labels for made in found.update] == [{"l": "2"}]


def test_the_placeholder_comes_when_nothing_is_left_and_stays() -> None:
    shape = template()
    slots = packing.with_placeholder(packing.arrange([], [held("a", [1])], shape), shape)
    (empty,) = packing.settle(slots, shape).update
    assert (empty.metadata.name, empty.endpoints, empty.ports) == ("a", None, None)
    again = packing.with_placeholder(packing.arrange([], [empty], shape), shape)
    assert not packing.settle(again, shape)


def test_nothing_is_created_for_a_service_that_is_going() -> None:
    shape = template()
    slots = packing.arrange([Group(HTTP, [endpoint(1)])], [], shape)
    assert not packing.settle(slots, shape, creates=False)


# -- properties ---------------------------------------------------------------------------------------------

numbers = st.lists(st.integers(1, 12), unique=True, max_size=12)


def carried_out(existing: list[EndpointSlice], found: Plan, names: Iterator[str]) -> list[EndpointSlice]:
    gone = {deleted.metadata.name for deleted in found.delete}
    after = {one.metadata.name: one for one in existing if one.metadata.name not in gone}
    after |= {one.metadata.name: one for one in found.update}
    after |= {name: named(one, name) for one, name in zip(found.create, names, strict=False)}
    return list(after.values())


def named(found: EndpointSlice, name: str) -> EndpointSlice:
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, name=name))


@given(st.lists(numbers, min_size=1, max_size=6))
def test_whatever_happened_before_each_endpoint_is_in_exactly_one_slice_and_no_slice_overflows(
    steps: list[list[int]],
) -> None:
    slices: list[EndpointSlice] = []
    names = (f"web-{number}" for number in count())
    for wanted in steps:
        slices = carried_out(slices, plan(slices, wanted), names)
        present = [one.addresses[0] for found in slices for one in found.endpoints or ()]
        assert sorted(present) == sorted(f"10.1.0.{number}" for number in wanted)
        assert all(0 < len(found.endpoints or ()) <= 3 for found in slices)
        assert not plan(slices, wanted)
