"""The EndpointSlices of a Service, from its pods: which there should be, and what to write for it.

Rules: Kubernetes' endpointslice controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from pierhead.api.views import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Node,
    ObjectReference,
    OwnerReference,
    Pod,
    Service,
)
from pierhead.core import backing, packing, topology, zones
from pierhead.core.packing import Group, Plan, Template

MANAGER = "endpointslice-controller.k8s.io"
LIMIT = 100
"""Endpoints in one slice."""
_RESERVED = (packing.SERVICE_LABEL, packing.MANAGED_BY_LABEL, backing.HEADLESS_LABEL)

FindNode: TypeAlias = Callable[[str], Node | None]


class Decision(NamedTuple):
    """What to write, and what to say about it."""

    plan: Plan
    notes: tuple[topology.Note, ...] = ()


def decide(
    service: Service,
    pods: Iterable[Pod],
    node: FindNode,
    existing: Sequence[EndpointSlice],
    *,
    capacity: zones.Capacity = zones.UNKNOWN,
    limit: int = LIMIT,
) -> Decision:
    """``pods``: those the Service selects; one whose node does not exist is left out until it does. ``existing``: this
    controller's slices with the Service's name."""
    candidates = [pod for pod in pods if backing.is_candidate(pod, terminating=True)]
    placed = [pod for pod in candidates if service.spec.publish_not_ready_addresses or node(pod.spec.node_name)]
    held, families = packing.by_family(existing), backing.families(service)
    unwanted = [found for family, slices in held.items() if family not in families for found in slices]
    plans, notes = [Plan(delete=tuple(unwanted))], list[topology.Note]()
    for family in families:
        template = template_of(service, family, limit)
        groups = endpoint_groups(service, placed, node, family)
        slots = packing.with_placeholder(packing.arrange(groups, held.get(family, []), template), template)
        hinted = topology.hint(service, slots, family, capacity)
        notes += hinted.notes
        plans.append(packing.settle(hinted.slots, template, creates=service.metadata.deletion_timestamp is None))
    return Decision(packing.joined(plans), tuple(notes))


def template_of(service: Service, family: str, limit: int = LIMIT) -> Template:
    """Labels are the Service's but for the reserved ones."""
    meta = service.metadata
    labels = {key: value for key, value in meta.labels.items() if key not in _RESERVED}
    if service.headless:
        labels[backing.HEADLESS_LABEL] = ""
    labels |= {packing.SERVICE_LABEL: meta.name, packing.MANAGED_BY_LABEL: MANAGER}
    owner = OwnerReference("v1", "Service", meta.name, meta.uid, controller=True, block_owner_deletion=True)
    return Template(meta.namespace, meta.name, family, labels, None, owner, limit)


def triggered(found: EndpointSlice, time: str) -> EndpointSlice:
    """The same, saying which change it is written for (empty: none that is newer)."""
    annotations = {k: v for k, v in found.metadata.annotations.items() if k != backing.TRIGGER_ANNOTATION}
    if time:
        annotations[backing.TRIGGER_ANNOTATION] = time
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, annotations=annotations))


def endpoint_groups(service: Service, pods: Iterable[Pod], node: FindNode, family: str) -> list[Group]:
    """Endpoints by their lists of ports."""
    groups: dict[tuple[object, ...], tuple[packing.Ports, list[Endpoint]]] = {}
    for pod in pods:
        if found := backing.addresses(pod, family):
            ports = ports_of(service, pod)
            endpoint = _endpoint(service, pod, node(pod.spec.node_name), found)
            groups.setdefault(packing.port_key(ports), (ports, []))[1].append(endpoint)
    return [Group(ports, endpoints) for ports, endpoints in groups.values()]


def ports_of(service: Service, pod: Pod) -> packing.Ports:
    """None: the pod has none of the ports' names."""
    if not service.spec.ports and service.headless:
        return ()
    found = [(port, backing.target(pod, port)) for port in service.spec.ports]
    ports = [
        EndpointPort(port.name, port.protocol, number, port.app_protocol)
        for port, number in found
        if number is not None
    ]
    return tuple(ports) or None


def conditions_of(service: Service, pod: Pod) -> EndpointConditions:
    terminating, serving = pod.metadata.deletion_timestamp is not None, pod.ready
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    return EndpointConditions(ready, serving, terminating)


def _endpoint(service: Service, pod: Pod, node: Node | None, addresses: list[str]) -> Endpoint:
    meta = pod.metadata
    return Endpoint(
        tuple(addresses),
        conditions_of(service, pod),
        hostname=backing.hostname(pod, service) or None,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
        node_name=pod.spec.node_name or None,
        zone=(node.zone if node else "") or None,
    )
