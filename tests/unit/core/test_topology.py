"""Sharing endpoints out among zones."""

from __future__ import annotations

import pytest
from msgspec import structs

from builders import node, pod, service
from pierhead.api.views import EndpointSlice
from pierhead.core import slices
from pierhead.core.zones import Capacity

AUTO = service(annotations={"service.kubernetes.io/topology-mode": "Auto"})
OVERLOADED = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
NODES = {name: node(name, zone, cpu="4") for name, zone in (("n1", "za"), ("n2", "zb"), ("n3", ""))}


def named(found: EndpointSlice, name: str) -> EndpointSlice:
    return structs.replace(found, metadata=structs.replace(found.metadata, name=name))


def zones_hinted(on: list[str], capacity: Capacity) -> tuple[list[str], list[str]]:
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


def test_of_unequal_zones_each_has_its_share_of_what_there_is() -> None:
    hinted, _ = zones_hinted(["n1"] * 6, {"za": 3, "zb": 1})
    assert sorted(hinted) == ["za", "za", "za", "za", "zb", "zb"]


def test_less_than_half_an_endpoint_too_many_moves_nothing() -> None:
    hinted, _ = zones_hinted(["n1"] * 4 + ["n2"] * 3, {"za": 4, "zb": 4})
    assert hinted == ["za"] * 4 + ["zb"] * 3


def test_hints_that_still_fit_stay_and_only_what_comes_is_shared_out() -> None:
    capacity = {"za": 4, "zb": 4}
    pods = [pod(f"p{i}", f"10.1.0.{i}", node="n1") for i in range(100)]
    first = slices.decide(AUTO, pods, NODES.get, (), capacity=capacity).plan.create
    held = [named(found, f"web-{place}") for place, found in enumerate(first)]
    pods += [pod(f"q{i}", f"10.1.1.{i}", node="n2") for i in range(4)]
    second = slices.decide(AUTO, pods, NODES.get, held, capacity=capacity)
    assert (second.plan.update, second.plan.delete, second.notes) == ((), (), ())
    (added,) = second.plan.create
    assert [one.hints.for_zones[0].name for one in added.endpoints or () if one.hints] == ["za", "za", "zb", "zb"]


@pytest.mark.parametrize(
    ("on", "capacity", "why"),
    [
        (["n1", "n2"], {}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        (["n1"], {}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        (["n1"], {"za": 4, "zb": 4}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (
            ["n1", "n2"],
            {"za": 9, "zb": 1},
            f"{OVERLOADED} (2 endpoints, 2 zones)",
        ),
        (["n1", "n3"], {"za": 4, "zb": 4}, "One or more endpoints do not have a zone specified"),
    ],
)
def test_why_there_are_no_hints(on: list[str], capacity: dict[str, int], why: str) -> None:
    assert zones_hinted(on, capacity) == ([], [f"{why}, addressType: IPv4"])
