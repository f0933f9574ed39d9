"""``Port``: one port of a Service as the compiler knows it, and the forms in which what it leads to is written."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Set
from typing import Final

import msgspec

from pierhead.forwarding.assign import Assigned
from pierhead.forwarding.nftlayout import DROP, REFUSE, TERMS_SHIFT, packed
from pierhead.forwarding.table import NOWHERE, Backends, Frontend, Policy, PortKey, Rule

_PORT: Final = struct.Struct("!H2x")
_SLOT: Final = struct.Struct("=II")
_NOBODY: Final[Set[str]] = frozenset()


class Port(msgspec.Struct, eq=False, gc=False):
    """One port of a Service: where it leads, who leads there, and what that has been given."""

    key: PortKey
    backends: Backends | None = None
    """None: nobody has told."""
    rules: dict[Frontend, Rule] = msgspec.field(default_factory=dict)
    cluster: Assigned | None = None
    local: Assigned | None = None
    """Of each policy that somebody needs and that leaves endpoints to choose from; marked with terms and id."""

    @property
    def leading(self) -> Backends:
        return self.backends or NOWHERE

    @property
    def held(self) -> Iterator[Assigned]:
        yield from filter(None, (self.cluster, self.local))

    def holding(self, policy: Policy) -> Assigned | None:
        return self.cluster if policy == "Cluster" else self.local

    def hold(self, policy: Policy, held: Assigned | None) -> None:
        if policy == "Cluster":
            self.cluster = held
        else:
            self.local = held

    def value(self, policy: Policy, hidden: int) -> int:
        """What the packet is marked with."""
        held = self.holding(policy)
        if held is not None:
            return held.mark | hidden
        return (DROP if self.leading.verdict(policy) == "drop" else REFUSE) << TERMS_SHIFT


def local_addresses(backends: Backends | None) -> Set[str]:
    if backends is None:
        return _NOBODY
    every = (*backends.cluster, *backends.local) if backends.local else backends.cluster
    return {found.address for found in every if found.local}


def sockets(held: Assigned) -> frozenset[bytes]:
    """Its endpoints in the form of the map's data."""
    return frozenset(packed(found.address) + _PORT.pack(found.port) for found in held.endpoints)


def slots(held: Assigned) -> Iterator[tuple[bytes, bytes]]:
    """Its endpoints as elements: keys and data."""
    for number, found in enumerate(held.endpoints):
        yield _SLOT.pack(held.id, number), packed(found.address) + _PORT.pack(found.port)
