"""How many endpoints each zone should have by its share of CPU, and which zones give some to others.

Rules: kubernetes/endpointslice ``topologycache``, floating point included, so that the same numbers come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import NamedTuple, TypeAlias

from pierhead.api.quantities import parse
from pierhead.api.views import Node

OVERLOAD = 0.2
"""By how much more than the average a zone's endpoints may be loaded."""
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")

Capacity: TypeAlias = Mapping[str, int]
"""Allocatable CPU per zone, in billionths; empty when it is not known well enough."""
UNKNOWN: Capacity = {}


class Allocation(NamedTuple):
    """What one zone should have."""

    desired: float
    """Its share of all endpoints, and never less than keeps it from overload."""
    most: int
    """With more, another zone would have too few."""


class Transfers(NamedTuple):
    """How many endpoints zones give away and get, as many in all."""

    giving: Counter[str]
    receiving: Counter[str]


def capacity_of(nodes: Iterable[Node]) -> Capacity:
    """CPU per zone over ready nodes that carry pods. Unknown when one of them does not say its zone or CPU."""
    found: Counter[str] = Counter()
    for node in nodes:
        if not node.ready or any(label in node.metadata.labels for label in CONTROL_PLANE_LABELS):
            continue
        cpu = parse(node.status.allocatable.get("cpu", "0")).nano
        if not node.zone or not cpu:
            return UNKNOWN
        found[node.zone] += cpu
    return found


def refusal(capacity: Capacity, count: int) -> str:
    """Why so many endpoints cannot be shared out; empty when they can. One zone alone is told in the same words as none."""
    if len(capacity) < 2:
        return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    counts = f"({count} endpoints, {len(capacity)} zones)"
    if len(capacity) > count:
        return f"Insufficient number of endpoints {counts}"
    if sum(_least(share) for share in _shares(capacity, count).values()) > count:
        text = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
        return f"{text} {counts}"
    return ""


def allocate(capacity: Capacity, count: int) -> dict[str, Allocation]:
    """What each zone should have of so many endpoints. Only where there is no `refusal`."""
    shares = _shares(capacity, count)
    spare = count - sum(map(_least, shares.values()))
    return {zone: Allocation(max(share, _least(share)), _least(share) + spare) for zone, share in shares.items()}


def _shares(capacity: Capacity, count: int) -> dict[str, float]:
    total = sum(capacity.values())
    return {zone: cpu / total * count for zone, cpu in capacity.items()}


def _least(share: float) -> int:
    return ceil(share * (1 / (1 + OVERLOAD)))


def transfers(allocations: Mapping[str, Allocation], given: Mapping[str, int]) -> Transfers:
    """Who gives and who gets, the most needful first. ``given``: how many endpoints each zone has now.

    One endpoint moves as long as it is at least half too much here and half too little there, and whole on one of the sides.
    """
    apart = {zone: given.get(zone, 0) - wanted.desired for zone, wanted in sorted(allocations.items())}
    surplus = {zone: much for zone, much in apart.items() if much > 0}
    shortage = {zone: -much for zone, much in apart.items() if much < 0}
    giving, receiving = Counter[str](), Counter[str]()
    while surplus and shortage:
        giver, getter = max(surplus, key=surplus.__getitem__), max(shortage, key=shortage.__getitem__)
        much, little = surplus[giver], shortage[getter]
        if min(much, little) < 0.5 or max(much, little) < 1.0:
            break
        giving[giver] += 1
        receiving[getter] += 1
        surplus[giver] -= 1
        shortage[getter] -= 1
    return Transfers(giving, receiving)
