"""Endpoints and EndpointSlices."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product, starmap
from sys import intern
from types import MappingProxyType

from msgspec.structs import force_setattr

from pierhead.api.views.meta import Labels, Object, ObjectReference, View


class EndpointAddress(View, frozen=True):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubsetPort(View, frozen=True):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(View, frozen=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointSubsetPort, ...] = ()


class Endpoints(Object, frozen=True):
    subsets: tuple[EndpointSubset, ...] = ()


class EndpointConditions(View, frozen=True):
    """None of each: as ready, serving and not terminating are read when they are unknown (true, ready's value, false)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


_CONDITIONS: Mapping[EndpointConditions, EndpointConditions] = MappingProxyType(
    {found: found for found in starmap(EndpointConditions, product((None, False, True), repeat=3))}
)
"""All that there can be."""


class ForZone(View, frozen=True):
    name: str


class ForNode(View, frozen=True):
    name: str


class EndpointHints(View, frozen=True):
    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class Endpoint(View, frozen=True):
    addresses: tuple[str, ...]
    """Consumers use the first one only."""
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: Labels | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None

    def __post_init__(self) -> None:
        """What a hundred thousand endpoints have in common is held once, in every process that shows them."""
        force_setattr(self, "conditions", _CONDITIONS[self.conditions])
        if self.node_name is not None:
            force_setattr(self, "node_name", intern(self.node_name))
        if self.zone is not None:
            force_setattr(self, "zone", intern(self.zone))
        if self.target_ref is not None:
            force_setattr(self.target_ref, "kind", intern(self.target_ref.kind))
            force_setattr(self.target_ref, "namespace", intern(self.target_ref.namespace))


class EndpointPort(View, frozen=True):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    """None: every port, which a proxy cannot program."""
    app_protocol: str | None = None

    def __post_init__(self) -> None:
        self.hold_once("name", "protocol")


class EndpointSlice(Object, frozen=True):
    address_type: str = ""
    """``IPv4``, ``IPv6`` or ``FQDN``."""
    endpoints: tuple[Endpoint, ...] | None = None
    """None is JSON's null, as in a placeholder: no endpoints."""
    ports: tuple[EndpointPort, ...] | None = None
    """None is JSON's null: pods that have none of the ports' names; an empty list: a headless Service without ports."""

    @property
    def service(self) -> str:
        """The name of its Service; empty when it belongs to none."""
        return self.metadata.labels.get("kubernetes.io/service-name", "")
