"""How endpoints are packed into EndpointSlices, and what must be written for it: the same for both slice controllers.

Few writes matter more than tidy slices: changed slices are filled first, fullest first; then one unchanged slice that fits the
rest; then new ones. Nothing is rebalanced. Rules: kubernetes/endpointslice ``reconciler``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, TypeAlias

import msgspec

from pierhead.api.views import Endpoint, EndpointPort, EndpointSlice, Labels, ObjectMeta, OwnerReference

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"

Ports: TypeAlias = tuple[EndpointPort, ...] | None


class Group(msgspec.Struct, frozen=True):
    """Endpoints that share one list of ports."""

    ports: Ports
    endpoints: Sequence[Endpoint]


class Template(msgspec.Struct, frozen=True):
    """What all slices of one Service, controller and family have in common."""

    namespace: str
    prefix: str
    """The name a slice's own name begins with, without the dash."""
    family: str
    labels: Labels
    annotations: Labels | None
    """None: a slice keeps those it has."""
    owner: OwnerReference
    limit: int
    """Endpoints in one slice."""

    def owns(self, found: EndpointSlice) -> bool:
        return any(owner.uid == self.owner.uid for owner in found.metadata.owner_references)

    def fill(self, endpoints: tuple[Endpoint, ...] | None, ports: Ports, old: EndpointSlice | None) -> EndpointSlice:
        """``old`` with these contents, or a new slice."""
        if old is None:
            meta = ObjectMeta(
                generate_name=f"{self.prefix}-", namespace=self.namespace,
                labels=self.labels, annotations=self.annotations or {}, owner_references=(self.owner,),
            )  # fmt: skip
            return EndpointSlice(meta, self.family, endpoints, ports)
        annotations = old.metadata.annotations if self.annotations is None else self.annotations
        meta = msgspec.structs.replace(old.metadata, labels=self.labels, annotations=annotations)
        return EndpointSlice(meta, self.family, endpoints, ports)


class Slot(NamedTuple):
    """One slice before and after; ``old`` None: to be created, ``new`` None: no longer needed."""

    old: EndpointSlice | None
    new: EndpointSlice | None


class Plan(NamedTuple):
    """What to write, in this order. Updates carry the name and resourceVersion of the slice they replace."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


def joined(plans: Iterable[Plan]) -> Plan:
    """What several plans write, as one."""
    create, update, delete = zip(Plan(), *plans, strict=True)
    return Plan(tuple(chain(*create)), tuple(chain(*update)), tuple(chain(*delete)))


def port_key(ports: Ports) -> tuple[tuple[str, int, str, str], ...]:
    """The same for two lists in any order; null and empty are the same."""
    found = ((port.name or "", port.port or 0, port.protocol or "", port.app_protocol or "") for port in ports or ())
    return tuple(sorted(found))


def arrange(groups: Iterable[Group], existing: Sequence[EndpointSlice], template: Template) -> list[Slot]:
    """Packs every group into the slices with its ports. ``existing``: those of one family. A slice with other ports, or another
    owner, is no longer needed."""
    wanted = {port_key(group.ports): group for group in groups if group.endpoints}
    held: dict[tuple[tuple[str, int, str, str], ...], list[EndpointSlice]] = {}
    slots: list[Slot] = []
    for found in existing:
        key = port_key(found.ports)
        if key in wanted and template.owns(found):
            held.setdefault(key, []).append(found)
        else:
            slots.append(Slot(found, None))
    for key, group in wanted.items():
        slots += _pack(group, held.get(key, []), template)
    return slots


def with_placeholder(slots: list[Slot], template: Template) -> list[Slot]:
    """A Service that has no endpoints of a family still has one slice of it, empty."""
    return slots if any(slot.new for slot in slots) else [*slots, Slot(None, template.fill(None, None, None))]


def settle(slots: Iterable[Slot], template: Template, *, creates: bool = True) -> Plan:
    """What must be written. A create and a delete become an update. ``creates`` False: nothing new, its Service is going."""
    slots = list(slots)
    new = [slot.new for slot in slots if slot.old is None and slot.new is not None]
    update = [
        slot.new for slot in slots if slot.old is not None and slot.new is not None and changed(slot.old, slot.new)
    ]
    delete = []
    for slot in slots:
        if slot.old is None or slot.new is not None:
            continue
        if not new or not template.owns(slot.old) or slot.old.address_type != template.family:
            delete.append(slot.old)
            continue
        replacement = new.pop()
        found = template.fill(replacement.endpoints, replacement.ports, slot.old)
        if changed(slot.old, found):
            update.append(found)
    return Plan(tuple(new if creates else ()), tuple(update), tuple(delete))


def changed(old: EndpointSlice, new: EndpointSlice) -> bool:
    """Whether a write is worth it: endpoints, ports as a set, labels or annotations differ."""
    return (
        (old.endpoints or ()) != (new.endpoints or ())
        or port_key(old.ports) != port_key(new.ports)
        or old.metadata.labels != new.metadata.labels
        or old.metadata.annotations != new.metadata.annotations
    )


# -- packing one group --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bin:
    """A slice while it is packed."""

    old: EndpointSlice | None
    endpoints: list[Endpoint]
    changed: bool


def _pack(group: Group, existing: Sequence[EndpointSlice], template: Template) -> list[Slot]:
    left = {_identity(endpoint): endpoint for endpoint in group.endpoints}
    bins = [_keep(found, left, template) for found in existing]
    rest = list(left.values())
    for found in sorted((found for found in bins if found.changed and found.endpoints), key=_fullness, reverse=True):
        rest = _pour(rest, found, template.limit)
    while rest:
        found = _roomiest(bins, len(rest), template.limit) or _Bin(None, [], changed=True)
        if found.old is None:
            bins.append(found)
        rest = _pour(rest, found, template.limit)
    return [_slot(found, group.ports, template) for found in bins]


def _keep(found: EndpointSlice, left: dict[tuple[object, ...], Endpoint], template: Template) -> _Bin:
    """What of a slice is still wanted, as it is wanted now; that is taken out of ``left``."""
    before = found.endpoints or ()
    kept = [wanted for endpoint in before if (wanted := left.pop(_identity(endpoint), None))]
    same = len(kept) == len(before) and all(map(_same_but_hints, before, kept))
    return _Bin(found, kept, changed=not same or found.metadata.labels != template.labels)


def _pour(rest: list[Endpoint], into: _Bin, limit: int) -> list[Endpoint]:
    """Fills a slice up; answers what did not fit."""
    room = limit - len(into.endpoints)
    into.endpoints += rest[:room]
    into.changed = into.changed or bool(rest[:room])
    return rest[room:]


def _roomiest(bins: Sequence[_Bin], count: int, limit: int) -> _Bin | None:
    """The fullest unchanged slice that takes all of ``count``."""
    fitting = [found for found in bins if not found.changed and len(found.endpoints) + count <= limit]
    return max(fitting, key=_fullness, default=None)


def _fullness(found: _Bin) -> int:
    return len(found.endpoints)


def _slot(found: _Bin, ports: Ports, template: Template) -> Slot:
    if not found.endpoints:
        return Slot(found.old, None)
    # Only the order of ports may differ in a slice that stays: it keeps its own.
    kept = found.old.ports if found.old is not None else ports
    return Slot(found.old, template.fill(tuple(found.endpoints), kept, found.old))


def _identity(endpoint: Endpoint) -> tuple[object, ...]:
    """What makes an endpoint the same in another state: its addresses, hostname and pod."""
    reference = endpoint.target_ref
    pod = (reference.namespace, reference.name) if reference else ()
    return tuple(sorted(endpoint.addresses)), endpoint.hostname or "", pod


def _same_but_hints(before: Endpoint, after: Endpoint) -> bool:
    return msgspec.structs.replace(before, hints=None) == msgspec.structs.replace(after, hints=None)


def by_family(existing: Iterable[EndpointSlice]) -> Mapping[str, list[EndpointSlice]]:
    found: dict[str, list[EndpointSlice]] = {}
    for slice_ in existing:
        found.setdefault(slice_.address_type, []).append(slice_)
    return found
