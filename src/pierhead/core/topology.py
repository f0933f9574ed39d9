"""Hints: for whom an endpoint is meant, so that traffic can stay in its zone or on its node.

Two sources: ``spec.trafficDistribution`` hints every ready endpoint for its own place; the older
annotation ``service.kubernetes.io/topology-mode: Auto`` shares endpoints out among zones by their CPU, or says why it cannot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from pierhead.api.services_validation import TOPOLOGY_HINTS, TOPOLOGY_MODE
from pierhead.api.views import Endpoint, EndpointHints, EndpointSlice, ForNode, ForZone, Service
from pierhead.core import packing, zones
from pierhead.core.packing import Slot
from pierhead.core.zones import Allocation, Capacity, Transfers


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
    return found.get(TOPOLOGY_MODE, found.get(TOPOLOGY_HINTS, "")) in ("Auto", "auto")


def hint(service: Service, slots: list[Slot], family: str, capacity: Capacity) -> Hinted:
    """Sets or removes the hints of every endpoint that stays or comes."""
    if not is_automatic(service):
        return Hinted([_each(slot, service.spec.traffic_distribution or "") for slot in slots])
    count = sum(1 for slot in slots for _ in _ready(slot.new))
    refused, shared = zones.refusal(capacity, count), None
    if not refused:
        shared = _shared_out(slots, zones.allocate(capacity, count))
        refused = "" if shared else "One or more endpoints do not have a zone specified"
    if shared is None:
        text = f"{refused}, addressType: {family}"
        return Hinted([_each(slot, "") for slot in slots], (Note("Warning", "TopologyAwareHintsDisabled", text),))
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


def _ready(found: EndpointSlice | None) -> Iterator[Endpoint]:
    return filter(_is_ready, (found.endpoints if found else None) or ())


# -- topology-mode Auto -------------------------------------------------------------------------------------


def _shared_out(slots: Sequence[Slot], allocations: Mapping[str, Allocation]) -> list[Slot] | None:
    """Slices that stay as they are keep their hints while these fit; of the others each ready endpoint is for its own zone first,
    then some are given to zones that lack some. None: an endpoint does not say its zone."""
    given = Counter[str]()
    kept = [_kept(slot, allocations, given) for slot in slots]
    moving = [found for slot, held in zip(slots, kept, strict=True) if held is None for found in _ready(slot.new)]
    if not all(endpoint.zone for endpoint in moving):
        return None
    given.update(endpoint.zone or "" for endpoint in moving)
    moves = zones.transfers(allocations, given)
    return [Slot(slot.old, held) if held else _moved(slot, moves) for slot, held in zip(slots, kept, strict=True)]


def _kept(slot: Slot, allocations: Mapping[str, Allocation], given: Counter[str]) -> EndpointSlice | None:
    """The slice with the hints it has, which are added to ``given``; None when it changes anyway or they no longer fit."""
    found = _as_it_was(slot)
    if found is None:
        return None
    hinted = Counter[str]()
    for endpoint in _ready(found):
        names = [zone.name for zone in endpoint.hints.for_zones] if endpoint.hints else []
        if not names or any(name not in allocations for name in names):
            return None
        hinted.update(names)
    if any(given[zone] + count > allocations[zone].most for zone, count in hinted.items()):
        return None
    given.update(hinted)
    return found


def _as_it_was(slot: Slot) -> EndpointSlice | None:
    """The slice with its hints when nothing else about it changes."""
    before, after = ((found.endpoints if found else None) or () for found in slot)
    if slot.old is None or slot.new is None or len(before) != len(after):
        return None
    hinted = tuple(_with(new, old.hints) for old, new in zip(before, after, strict=True))
    found = msgspec.structs.replace(slot.new, endpoints=hinted)
    return None if packing.changed(slot.old, found) else found


def _moved(slot: Slot, moves: Transfers) -> Slot:
    """Takes what it moves out of ``moves``."""
    if slot.new is None or not slot.new.endpoints:
        return slot
    hinted = []
    for endpoint in slot.new.endpoints:
        zone = endpoint.zone or ""
        if moves.giving[zone] and _is_ready(endpoint):
            moves.giving[zone] -= 1
            zone = min(+moves.receiving)
            moves.receiving[zone] -= 1
        hinted.append(_with(endpoint, EndpointHints((ForZone(zone),)) if _is_ready(endpoint) else None))
    return Slot(slot.old, msgspec.structs.replace(slot.new, endpoints=tuple(hinted)))
