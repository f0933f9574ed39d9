"""EndpointSlices for Endpoints that somebody wrote himself, so that consumers need to read slices only.

Rules: Kubernetes' endpointslicemirroring controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pierhead.api.rules import family as family_of
from pierhead.api.views import (
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    OwnerReference,
    Service,
)
from pierhead.core import backing, packing
from pierhead.core.endpoints import repack
from pierhead.core.packing import Group, Plan, Template

MANAGER = "endpointslicemirroring-controller.k8s.io"
LIMIT = 1000
"""Addresses of one subset that are mirrored, and endpoints in one slice."""
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", backing.TRIGGER_ANNOTATION)


class Note(NamedTuple):
    """A Warning Event on the Endpoints."""

    reason: str
    message: str


class Decision(NamedTuple):
    plan: Plan
    notes: tuple[Note, ...] = ()


def is_mirrored(endpoints: Endpoints | None, service: Service | None) -> bool:
    """A Service of that name exists, looks for no pods, and the Endpoints do not ask to be left alone."""
    if endpoints is None or service is None or service.spec.selector:
        return False
    meta = endpoints.metadata
    if meta.deletion_timestamp is not None or meta.labels.get(SKIP_LABEL) == "true":
        return False
    return LEADER_ANNOTATION not in meta.annotations


def decide(endpoints: Endpoints, existing: Sequence[EndpointSlice], *, limit: int = LIMIT) -> Decision:
    """``existing``: this controller's slices with the name of these Endpoints."""
    held, subsets = packing.by_family(existing), repack(endpoints.subsets)
    plans: list[Plan] = []
    for family in dict.fromkeys(("IPv4", "IPv6", *held)):
        template = template_of(endpoints, family, limit)
        groups = [_group(subset, family, limit) for subset in subsets]
        slots = packing.arrange(groups, held.get(family, []), template)
        plans.append(packing.settle(slots, template))
    return Decision(packing.joined(plans), tuple(_notes(subsets, limit)))


def template_of(endpoints: Endpoints, family: str, limit: int = LIMIT) -> Template:
    meta = endpoints.metadata
    labels = meta.labels | {packing.SERVICE_LABEL: meta.name, packing.MANAGED_BY_LABEL: MANAGER}
    annotations = {key: value for key, value in meta.annotations.items() if key not in _NOT_COPIED}
    owner = OwnerReference("v1", "Endpoints", meta.name, meta.uid, controller=True, block_owner_deletion=True)
    return Template(meta.namespace, meta.name, family, labels, annotations, owner, limit)


def _group(subset: EndpointSubset, family: str, limit: int) -> Group:
    ports = tuple(EndpointPort(port.name, port.protocol, port.port, port.app_protocol) for port in subset.ports)
    found = [
        _endpoint(address, ready=ready)
        for address, ready in _members(subset)[:limit]
        if family_of(address.ip) == family
    ]
    return Group(ports, found)


def _members(subset: EndpointSubset) -> list[tuple[EndpointAddress, bool]]:
    """Ready ones first: what exceeds the limit are the others."""
    ready = [(address, True) for address in subset.addresses]
    return ready + [(address, False) for address in subset.not_ready_addresses]


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        (address.ip,),
        EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        target_ref=address.target_ref,
        node_name=address.node_name,
    )


def _notes(subsets: Iterable[EndpointSubset], limit: int) -> Iterable[Note]:
    skipped = sum(max(0, len(_members(subset)) - limit) for subset in subsets)
    invalid = [address.ip for subset in subsets for address, _ in _members(subset) if not family_of(address.ip)]
    if invalid:
        yield Note("InvalidIPAddress", f"Skipped {len(invalid)} invalid IP addresses when mirroring to EndpointSlices")
    if skipped:
        text = f"A max of {limit} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
        yield Note("TooManyAddressesToMirror", text)
