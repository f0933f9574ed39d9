"""Connection tracking by nfnetlink (linux/netfilter/nfnetlink_conntrack.h): which flows there are, and ending one.

Addresses are packed bytes here, 4 or 16: a dump has tens of thousands and they are compared, not shown.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from pierhead.errors import AnswerMalformed
from pierhead.wire.netlink import Flag, Message, attribute, attributes, each, nested, number, u8, u32
from pierhead.wire.nftables import Family, header


class Kind(IntEnum):
    """IPCTNL_MSG_CT_* within nfnetlink's subsystem 1."""

    NEW = 0x100
    GET = 0x101
    DELETE = 0x102


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
    name: bytes
    """The attributes by which the kernel knows this very entry; ``delete`` sends them back."""


_ORIGINAL, _REPLY, _STATUS, _MARK, _ID, _ZONE, _FILTER = 1, 2, 3, 8, 12, 18, 25
_ADDRESSES, _PROTOCOL = 1, 2
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 1, 1 << 3, 1 << 5
"""CTA_FILTER_FLAG of CTA_IP_DST, CTA_PROTO_NUM and CTA_PROTO_DST_PORT."""


def dump(family: Family, protocol: int | None = None, to: tuple[bytes, int] | None = None) -> Message:
    """All flows of the family, or of one protocol, or of these those ``to`` an address and port as their clients have it. The kernel
    filters since 5.8, an older one gives all, and of IPv6 every one gives all of a port: it compares addresses the wrong way round."""
    if protocol is None:
        return Message(Kind.GET, header(family), Flag.DUMP, "connection tracking")
    flags, address, port = _BY_PROTOCOL, b"", b""
    if to is not None:
        flags |= _BY_DESTINATION_PORT
        port = attribute(3, to[1].to_bytes(2, "big"))
        if family is Family.IP:
            flags |= _BY_DESTINATION
            address = nested(_ADDRESSES, attribute(2, to[0]))
    wanted = nested(_ORIGINAL, address + nested(_PROTOCOL, u8(1, protocol) + port))
    terms = wanted + nested(_FILTER, u32(_FILTER_ORIGINAL, flags), u32(_FILTER_REPLY, 0))
    return Message(Kind.GET, header(family) + terms, Flag.DUMP, "connection tracking")


def read(message: Message) -> Flow:
    """One entry of a dump.

    Raises:
        AnswerMalformed: a tuple is missing or has no addresses.
    """
    found = attributes(message.body[4:])
    if _ORIGINAL not in found or _REPLY not in found:
        raise AnswerMalformed("a flow without its two tuples")
    name = nested(_ORIGINAL, found[_ORIGINAL]) + b"".join(
        attribute(kind, found[kind]) for kind in (_ZONE, _ID) if kind in found
    )
    status, mark = number(found.get(_STATUS, b"")), number(found.get(_MARK, b""))
    return Flow(_tuple(found[_ORIGINAL]), _tuple(found[_REPLY]), status, mark, name)


def delete(family: Family, flow: Flow) -> Message:
    """Ends this very entry; ObjectMissing when it is gone already. Of a later one with the same tuple the kernel mostly sees that it
    is another: it goes by the entry's place in memory, which may be used again at once."""
    return Message(Kind.DELETE, header(family) + flow.name, 0, "a flow")


def _tuple(data: bytes) -> Tuple:
    source = destination = b""
    protocol = source_port = destination_port = 0
    for part, value in each(data):
        if part == _ADDRESSES:
            for kind, address in each(value):
                if kind in (1, 3):
                    source = address
                elif kind in (2, 4):
                    destination = address
        elif part == _PROTOCOL:
            for kind, term in each(value):
                if kind == 1:
                    protocol = number(term)
                elif kind == 2:
                    source_port = number(term)
                elif kind == 3:
                    destination_port = number(term)
    if not source or not destination:
        raise AnswerMalformed("a tuple without addresses")
    return Tuple(source, destination, protocol, source_port, destination_port)
