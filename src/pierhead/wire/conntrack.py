"""Connection tracking by nfnetlink (linux/netfilter/nfnetlink_conntrack.h): which flows there are, and ending one.

Addresses are packed bytes here, 4 or 16: a dump has tens of thousands and they are compared, not shown.
"""

from __future__ import annotations

from typing import NamedTuple

from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Family


class Tuple(NamedTuple):
    """One direction of a flow."""

    source: bytes
    destination: bytes
    protocol: int
    """IPPROTO_*."""
    source_port: int
    """0 of a protocol without ports."""
    destination_port: int


class Flow(NamedTuple):
    original: Tuple
    """As the client sent it: the destination is the Service."""
    reply: Tuple
    """As answers come: after DNAT its source is the endpoint."""
    status: int
    """Bits of ``expressions.Status``."""
    mark: int
    number: int
    """The kernel's id of this very entry."""
    terms: bytes
    """The original tuple's attribute (and the zone's) as the kernel gave it; ``delete`` sends it back."""


def dump(family: Family, protocol: int | None = None) -> Message:
    """All flows of the family; only those of ``protocol`` where the kernel filters (5.8): look at what comes."""
    raise NotImplementedError


def read(message: Message) -> Flow:
    raise NotImplementedError


def delete(family: Family, flow: Flow) -> Message:
    """Ends this very entry, not a later one with the same tuple; ObjectMissing when it is gone already."""
    raise NotImplementedError
