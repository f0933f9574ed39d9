"""The Endpoints object of a Service, from its pods; and the canonical form of subsets.

Rules: Kubernetes' endpoints controller and ``RepackSubsets``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import msgspec

from pierhead.api.views import (
    EndpointAddress,
    Endpoints,
    EndpointSubset,
    EndpointSubsetPort,
    ObjectMeta,
    ObjectReference,
    Pod,
    Service,
)
from pierhead.core import backing

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000
"""Addresses in one object; more are cut off."""

_Ports = tuple[EndpointSubsetPort, ...]


def desired(service: Service, pods: Iterable[Pod], current: Endpoints | None) -> Endpoints:
    """What the Endpoints of a Service should be; its annotations are kept, its name and namespace are the Service's."""
    subsets, truncated = truncate(subsets_of(service, pods))
    labels = dict(service.metadata.labels)
    labels.pop(backing.HEADLESS_LABEL, None)
    if service.spec.cluster_ip in ("", "None"):
        labels[backing.HEADLESS_LABEL] = ""
    labels[MANAGED_BY_LABEL] = MANAGER
    found = current.metadata if current else ObjectMeta(service.metadata.name, namespace=service.metadata.namespace)
    annotations = {key: value for key, value in found.annotations.items() if key != OVER_CAPACITY}
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    return Endpoints(msgspec.structs.replace(found, labels=labels, annotations=annotations), subsets)


def changed(current: Endpoints, wanted: Endpoints) -> bool:
    """Whether a write is worth it: other addresses or ports, labels, or the remark about capacity."""
    remarks = [found.metadata.annotations.get(OVER_CAPACITY) for found in (current, wanted)]
    same = current.subsets == wanted.subsets and remarks[0] == remarks[1]
    return not same or current.metadata.labels != wanted.metadata.labels


def triggered(endpoints: Endpoints, time: str) -> Endpoints:
    """The same, saying which change it is written for (empty: none that is newer)."""
    annotations = {k: v for k, v in endpoints.metadata.annotations.items() if k != backing.TRIGGER_ANNOTATION}
    if time:
        annotations[backing.TRIGGER_ANNOTATION] = time
    metadata = msgspec.structs.replace(endpoints.metadata, annotations=annotations)
    return msgspec.structs.replace(endpoints, metadata=metadata)


def subsets_of(service: Service, pods: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """Every candidate with each port it has, repacked. Addresses are of the Service's first family."""
    family, unready_too = backing.families(service)[0], service.spec.publish_not_ready_addresses
    found: list[EndpointSubset] = []
    for pod in pods:
        if not backing.is_candidate(pod, terminating=unready_too):
            continue
        for ip in backing.addresses(pod, family)[:1]:
            address = _address(service, pod, ip)
            found += [_single(address, ports, ready=unready_too or pod.ready) for ports in _ports(service, pod)]
    return repack(found)


def _address(service: Service, pod: Pod, ip: str) -> EndpointAddress:
    meta = pod.metadata
    reference = ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    # A pod that has an address but no node keeps the empty name, which the API refuses: such an object never appears.
    return EndpointAddress(ip, backing.hostname(pod, service), pod.spec.node_name, reference)


def _ports(service: Service, pod: Pod) -> Iterable[_Ports]:
    """One port at a time, repacking joins them; a headless Service without ports has one empty list."""
    if not service.spec.ports and service.headless:
        yield ()
    for port in service.spec.ports:
        number = backing.target(pod, port)
        if number is not None:
            yield (EndpointSubsetPort(number, port.name, port.protocol, port.app_protocol),)


def _single(address: EndpointAddress, ports: _Ports, *, ready: bool) -> EndpointSubset:
    return EndpointSubset((address,), (), ports) if ready else EndpointSubset((), (address,), ports)


# -- the canonical form -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Offer:
    """An address and, per port, whether it is ready there."""

    address: EndpointAddress
    ports: dict[EndpointSubsetPort | None, bool]


def repack(subsets: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """The same addresses and ports with addresses grouped by identical port sets, each (IP, pod) once, everything sorted.

    An address that is ready and not ready on one port is not ready there.
    """
    offers: dict[tuple[str, str], _Offer] = {}
    for subset in subsets:
        for ready, group in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in group:
                offer = offers.setdefault(_identity(address), _Offer(address, {}))
                for port in subset.ports or (None,):
                    offer.ports[port] = ready and offer.ports.get(port, True)
    return _grouped(_by_members(offers))


def _identity(address: EndpointAddress) -> tuple[str, str]:
    return address.ip, address.target_ref.uid if address.target_ref else ""


def _by_members(
    offers: Mapping[tuple[str, str], _Offer],
) -> dict[EndpointSubsetPort | None, tuple[tuple[EndpointAddress, ...], tuple[EndpointAddress, ...]]]:
    """Port → (ready addresses, others), in order."""
    members: dict[EndpointSubsetPort | None, tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    for _, offer in sorted(offers.items()):
        for port, ready in offer.ports.items():
            members.setdefault(port, ([], []))[0 if ready else 1].append(offer.address)
    return {port: (tuple(ready), tuple(others)) for port, (ready, others) in members.items()}


def _grouped(
    members: Mapping[EndpointSubsetPort | None, tuple[tuple[EndpointAddress, ...], tuple[EndpointAddress, ...]]],
) -> tuple[EndpointSubset, ...]:
    """Ports with the same members share a subset."""
    groups: dict[tuple[tuple[EndpointAddress, ...], tuple[EndpointAddress, ...]], list[EndpointSubsetPort]] = {}
    for port, found in members.items():
        groups.setdefault(found, [])
        if port is not None:
            groups[found].append(port)
    subsets = [EndpointSubset(ready, others, _sorted(ports)) for (ready, others), ports in groups.items()]
    return tuple(sorted(subsets, key=lambda subset: [_port_order(port) for port in subset.ports]))


def _sorted(ports: Iterable[EndpointSubsetPort]) -> _Ports:
    return tuple(sorted(ports, key=_port_order))


def _port_order(port: EndpointSubsetPort) -> tuple[str, int, str, str]:
    return port.name, port.port, port.protocol, port.app_protocol or ""


def truncate(subsets: Sequence[EndpointSubset], capacity: int = CAPACITY) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most ``capacity`` addresses, ready ones first, each subset in proportion; and whether anything was cut off."""
    ready = sum(len(subset.addresses) for subset in subsets)
    others = sum(len(subset.not_ready_addresses) for subset in subsets)
    if ready + others <= capacity:
        return tuple(subsets), False
    cut_ready = ready > capacity
    total, room = (ready, capacity) if cut_ready else (others, capacity - ready)
    left, found = room, []
    for subset in subsets:
        candidates = subset.addresses if cut_ready else subset.not_ready_addresses
        share = min(left, ceil(len(candidates) / total * room))
        left -= share
        kept = candidates[:share]
        found.append(
            EndpointSubset(kept, (), subset.ports)
            if cut_ready
            else EndpointSubset(subset.addresses, kept, subset.ports)
        )
    return tuple(subset for subset in found if subset.addresses or subset.not_ready_addresses), True
