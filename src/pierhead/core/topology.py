"""Hints: for whom an endpoint is meant, so that traffic can stay in its zone or on its node.

Two sources: ``spec.trafficDistribution`` hints every ready endpoint for its own place; the older
annotation ``service.kubernetes.io/topology-mode: Auto`` shares endpoints out among zones by their CPU, or says why it cannot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from pierhead.api.quantities import parse
from pierhead.api.views import Endpoint, EndpointHints, ForNode, ForZone, Node, Service
from pierhead.core.packing import Slot

MODE_ANNOTATIONS = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")

Capacity: TypeAlias = Mapping[str, int]
"""Allocatable CPU per zone, in billionths; empty when it is not known well enough."""
UNKNOWN: Capacity = {}


class Note(NamedTuple):
    """An Event on the Service."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class Hinted(NamedTuple):
    slots: list[Slot]
    notes: tuple[Note, ...] = ()


def is_automatic(service: Service) -> bool:
    """Annotation ``Auto``; then ``trafficDistribution`` does not count."""
    found = service.metadata.annotations
    return next((found[key] for key in MODE_ANNOTATIONS if key in found), "") in ("Auto", "auto")


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


def hint(service: Service, slots: list[Slot], family: str, capacity: Capacity) -> Hinted:
    """Sets or removes the hints of every endpoint that stays or comes."""
    if not is_automatic(service):
        return Hinted([_each(slot, service.spec.traffic_distribution or "") for slot in slots])
    refused = _refusal(slots, capacity)
    if refused:
        return Hinted([_each(slot, "") for slot in slots], (_disabled(refused, family),))
    shared = _shared_out(slots, capacity)
    if any(endpoint.hints for slot in slots if slot.old for endpoint in slot.old.endpoints or ()):
        return Hinted(shared)
    text = f"Topology Aware Hints has been enabled, addressType: {family}"
    return Hinted(shared, (Note("Normal", "TopologyAwareHintsEnabled", text),))


# -- trafficDistribution ------------------------------------------------------------------------------------


def _each(slot: Slot, way: str) -> Slot:
    """Hints that depend on the endpoint alone."""
    if slot.new is None or not slot.new.endpoints:
        return slot
    hinted = tuple(_with(endpoint, _own_place(endpoint, way)) for endpoint in slot.new.endpoints)
    return Slot(slot.old, msgspec.structs.replace(slot.new, endpoints=hinted))


def _own_place(endpoint: Endpoint, way: str) -> EndpointHints | None:
    if way not in ("PreferSameZone", "PreferClose", "PreferSameNode") or not _is_ready(endpoint):
        return None
    zones = (ForZone(endpoint.zone),) if endpoint.zone else ()
    nodes = (ForNode(endpoint.node_name),) if endpoint.node_name and way == "PreferSameNode" else ()
    return EndpointHints(zones, nodes) if zones or nodes else None


def _with(endpoint: Endpoint, hints: EndpointHints | None) -> Endpoint:
    return endpoint if endpoint.hints == hints else msgspec.structs.replace(endpoint, hints=hints)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


# -- topology-mode Auto -------------------------------------------------------------------------------------


def _ready_zones(slots: Sequence[Slot]) -> list[str | None]:
    return [found.zone for slot in slots if slot.new for found in slot.new.endpoints or () if _is_ready(found)]


def _refusal(slots: Sequence[Slot], capacity: Capacity) -> str:
    """Why endpoints cannot be shared out; empty when they can."""
    zones = _ready_zones(slots)
    if not capacity:
        return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    if len(capacity) < 2:
        return "Nodes only ready in one zone"
    if len(capacity) > len(zones):
        return f"Insufficient number of endpoints ({len(zones)} endpoints, {len(capacity)} zones)"
    if sum(_minimum(capacity, zone, len(zones)) for zone in capacity) > len(zones):
        return "Minimum allocation of required endpoints exceeds overload threshold"
    if not all(zones):
        return "One or more endpoints do not have a zone specified"
    return ""


def _disabled(why: str, family: str) -> Note:
    return Note("Warning", "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")


def _minimum(capacity: Capacity, zone: str, count: int) -> int:
    """The fewest endpoints with which a zone's are loaded at most 20 % above the average."""
    return -(-count * capacity[zone] * 5 // (sum(capacity.values()) * 6))


def shares(capacity: Capacity, own: Mapping[str, int]) -> dict[str, int]:
    """How many endpoints each zone gets, in proportion to its CPU. ``own``: how many lie in it.

    Where a proportion is no whole number, zones below their minimum come first, then the largest remainder, then who has more.
    """
    count, total = sum(own.values()), sum(capacity.values())
    found = {zone: count * cpu // total for zone, cpu in capacity.items()}

    def need(zone: str) -> tuple[int, int, int, str]:
        short = max(0, _minimum(capacity, zone, count) - found[zone])
        return -short, -(count * capacity[zone] % total), -own.get(zone, 0), zone

    for zone in sorted(capacity, key=need)[: count - sum(found.values())]:
        found[zone] += 1
    return found


def _shared_out(slots: Sequence[Slot], capacity: Capacity) -> list[Slot]:
    """Each ready endpoint for its own zone, as long as that has not enough; the others for zones that lack some."""
    left = Counter(shares(capacity, Counter(zone or "" for zone in _ready_zones(slots))))
    homes: list[list[bool]] = []
    for slot in slots:
        homes.append([])
        for endpoint in (slot.new.endpoints if slot.new else None) or ():
            home = _is_ready(endpoint) and left[endpoint.zone or ""] > 0
            left[endpoint.zone or ""] -= home
            homes[-1].append(home)
    lacking = [zone for zone in sorted(left) for _ in range(left[zone])]
    return [_share(slot, at_home, lacking) for slot, at_home in zip(slots, homes, strict=True)]


def _share(slot: Slot, at_home: Sequence[bool], lacking: list[str]) -> Slot:
    """Takes zones out of ``lacking`` for endpoints that are not meant for their own."""
    if slot.new is None or not slot.new.endpoints:
        return slot
    hinted = []
    for endpoint, home in zip(slot.new.endpoints, at_home, strict=True):
        zone = "" if not _is_ready(endpoint) else (endpoint.zone or "") if home else lacking.pop(0)
        hinted.append(_with(endpoint, EndpointHints((ForZone(zone),)) if zone else None))
    return Slot(slot.old, msgspec.structs.replace(slot.new, endpoints=tuple(hinted)))
