"""``ForwardingTable``: which address and port leads to which endpoints, and on what terms.

Two maps make a table. ``rules`` says what a frontend (protocol, address, port) belongs to and which policy governs it; ``backends``
says where a port of a Service leads. They are apart because a port has many frontends (cluster IP, node port, external addresses)
and one set of endpoints: an endpoint that comes or goes is one change, whatever the number of frontends.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from pierhead.api import rules

Family: TypeAlias = Literal["IPv4", "IPv6"]
Policy: TypeAlias = Literal["Cluster", "Local"]
Scope: TypeAlias = Literal["cluster", "node", "external"]
Verdict: TypeAlias = Literal["forward", "reject", "drop"]

ANY_NODE_ADDRESS: Mapping[Family, str] = MappingProxyType({"IPv4": "0.0.0.0", "IPv6": "::"})
"""The address of a node port's frontend: the node's own addresses, whichever they are where the table is used."""


OCTETS: Mapping[str, int] = {str(octet): octet for octet in range(256)}
"""How a part of an IPv4 address is written: almost all are, and a region has a hundred thousand."""


def canonical(text: str) -> str:
    """An address in the one form in which addresses are compared, however it was written; empty when it is none."""
    octets = text.split(".")
    if len(octets) == 4 and octets[0] in OCTETS and octets[1] in OCTETS and octets[2] in OCTETS and octets[3] in OCTETS:
        return text
    found = rules.address(text)
    return "" if found is None else str((isinstance(found, IPv6Address) and found.ipv4_mapped) or found)


def parsed(address: str) -> IPv4Address | IPv6Address:
    """Of an address in its canonical form."""
    if ":" in address:
        return IPv6Address(address)
    first, second, third, fourth = address.split(".")
    return IPv4Address(OCTETS[first] << 24 | OCTETS[second] << 16 | OCTETS[third] << 8 | OCTETS[fourth])


def family_of(address: str) -> Family:
    """Of an address in its canonical form."""
    return "IPv6" if ":" in address else "IPv4"


class ServiceName(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class PortKey(NamedTuple):
    """One port of a Service in one family: what session affinity and node-wide accounting are kept by."""

    service: ServiceName
    port: str
    """Its name; empty where a Service has one port without a name."""
    protocol: str
    """``TCP``, ``UDP`` or ``SCTP``."""
    family: Family


class Frontend(NamedTuple):
    """What a client connects to."""

    protocol: str
    address: str
    """``ANY_NODE_ADDRESS`` for a node port."""
    port: int


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """One socket that answers for a Service."""

    address: str
    port: int
    local: bool = False
    """On a node that this proxy serves: it may meet itself (hairpin), and policy Local may choose it."""


class Backends(msgspec.Struct, frozen=True, gc=False):
    """Where new connections to a port of a Service go. All tuples are sorted and free of doubles."""

    cluster: tuple[Endpoint, ...] = ()
    """The choice under policy Cluster: ready ones, filtered by hints; else those that serve while they terminate."""
    local: tuple[Endpoint, ...] = ()
    """The choice under policy Local; empty as well where no rule of the port asks for it."""
    serving: tuple[Endpoint, ...] = ()
    """Every endpoint that still answers, whatever the policies say: a UDP flow may stay on these and on no other."""
    affinity: int = 0
    """Seconds for which a client keeps its endpoint, counted anew with each connection; 0: each connection is a new choice."""

    def chosen(self, policy: Policy) -> tuple[Endpoint, ...]:
        return self.cluster if policy == "Cluster" else self.local

    def verdict(self, policy: Policy) -> Verdict:
        """A Service without any endpoint refuses at once; one whose endpoints are only elsewhere is silent under policy Local."""
        if self.chosen(policy):
            return "forward"
        return "drop" if self.cluster else "reject"


NOWHERE = Backends()


class Rule(msgspec.Struct, frozen=True, gc=False):
    """On what terms a frontend serves a port of a Service.

    The masquerade follows from scope and policy, and so does the short-circuit: under policy Local
    at a node or external address the node itself and its pods are served as under policy Cluster.
    """

    key: PortKey
    scope: Scope
    policy: Policy
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    """Clients outside all of these are dropped before anything else; none: everybody is welcome."""

    @property
    def short_circuit(self) -> bool:
        return self.scope != "cluster" and self.policy == "Local"


class ForwardingTable(msgspec.Struct, frozen=True):
    """All frontends and where they lead. A rule's key is always in ``backends``, maybe with no endpoint."""

    rules: Mapping[Frontend, Rule] = msgspec.field(default_factory=dict)
    backends: Mapping[PortKey, Backends] = msgspec.field(default_factory=dict)

    def leading(self, rule: Rule) -> Backends:
        return self.backends.get(rule.key, NOWHERE)


class Refusal(NamedTuple):
    """A frontend or an endpoint that the proxy cannot or may not serve; the rest of its Service is served."""

    service: ServiceName
    protocol: str
    address: str
    port: int
    reason: str
    """One CamelCase word, for machines."""
    message: str
    """One sentence for whoever wrote the Service, with the next step where there is one."""
