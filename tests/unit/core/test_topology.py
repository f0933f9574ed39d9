"""Sharing endpoints out among zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import node, pod, service
from pierhead.core import slices, topology

AUTO = service(annotations={"service.kubernetes.io/topology-mode": "Auto"})
NODES = {name: node(name, zone, cpu="4") for name, zone in (("n1", "za"), ("n2", "zb"))}


def zones_hinted(on: list[str], capacity: topology.Capacity) -> tuple[list[str], list[str]]:
    pods = [pod(f"p{i}", f"10.1.0.{i}", node=name) for i, name in enumerate(on)]
    found = slices.decide(AUTO, pods, NODES.get, (), capacity=capacity)
    endpoints = found.plan.create[0].endpoints or ()
    return [one.hints.for_zones[0].name for one in endpoints if one.hints], [note.message for note in found.notes]


def test_endpoints_stay_at_home_where_every_zone_has_its_share() -> None:
    hinted, notes = zones_hinted(["n1", "n1", "n2", "n2"], {"za": 4, "zb": 4})
    assert hinted == ["za", "za", "zb", "zb"]
    assert notes == ["Topology Aware Hints has been enabled, addressType: IPv4"]


def test_a_zone_with_too_many_gives_to_one_with_too_few() -> None:
    hinted, _ = zones_hinted(["n1", "n1", "n1", "n1"], {"za": 4, "zb": 4})
    assert sorted(hinted) == ["za", "za", "zb", "zb"]


@pytest.mark.parametrize(
    ("on", "capacity", "why"),
    [
        (["n1", "n2"], {}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        (["n1", "n2"], {"za": 4}, "Nodes only ready in one zone"),
        (["n1"], {"za": 4, "zb": 4}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (["n1", "n2"], {"za": 9, "zb": 1}, "Minimum allocation of required endpoints exceeds overload threshold"),
    ],
)
def test_why_there_are_no_hints(on: list[str], capacity: dict[str, int], why: str) -> None:
    assert zones_hinted(on, capacity) == ([], [f"{why}, addressType: IPv4"])


def test_capacity_counts_ready_nodes_and_is_unknown_when_one_is_silent() -> None:
    assert topology.capacity_of(NODES.values()) == {"za": 4 * 10**9, "zb": 4 * 10**9}
    assert topology.capacity_of([*NODES.values(), node("n3", "zc", ready=False)]) == topology.capacity_of(
        NODES.values()
    )
    assert topology.capacity_of([*NODES.values(), node("n3", "zc")]) == {}
    assert topology.capacity_of([*NODES.values(), node("n3", "", cpu="1")]) == {}


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 64), min_size=2), st.data())
def test_shares_add_up_and_are_nearly_proportional(capacity: dict[str, int], data: st.DataObject) -> None:
    own = {zone: data.draw(st.integers(0, 9)) for zone in capacity}
    found, count = topology.shares(capacity, own), sum(own.values())
    assert sum(found.values()) == count
    for zone, share in found.items():
        assert abs(share - count * capacity[zone] / sum(capacity.values())) < 1
