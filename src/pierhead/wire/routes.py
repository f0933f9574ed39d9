"""Addresses, routes, routing rules and neighbours, by rtnetlink (linux/rtnetlink.h, if_addr.h, fib_rules.h, neighbour.h).

One value type each, the same to make one, to take it away and to read it. IPv4 or IPv6 follows from the addresses in it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Final

import msgspec

from pierhead.errors import AnswerMalformed
from pierhead.wire.netlink import Flag, Message, attribute, attributes, host_number, string, text, u32

IP = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


class Kind(IntEnum):
    """RTM_NEW*: one more deletes, two more asks."""

    ADDRESS = 20
    ADDRESS_GONE = 21
    ROUTE = 24
    ROUTE_GONE = 25
    NEIGHBOUR = 28
    RULE = 32


class Table(IntEnum):
    """The routing tables that are always there."""

    MAIN = 254
    LOCAL = 255


class RouteKind(IntEnum):
    """RTN_*."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


STATIC: Final = 4
"""RTPROT_STATIC: somebody made the route by hand."""


class Address(msgspec.Struct, frozen=True):
    index: int
    """The link's."""
    interface: Interface
    """Address and the length of its network's prefix."""
    without_dad: bool = False
    """IPv6: usable at once, nobody is asked whether he has it."""
    without_route: bool = False
    """No route to the prefix is made for it."""

    def __str__(self) -> str:
        return f"address {self.interface} of link number {self.index}"


class Route(msgspec.Struct, frozen=True):
    destination: Network
    index: int = 0
    """The link that it leads to; 0: it leads to none, or its gateway says which."""
    via: IP | None = None
    """The gateway."""
    kind: RouteKind = RouteKind.UNICAST
    table: int = Table.MAIN
    """``ip`` keeps local ones in Table.LOCAL."""
    source: IP | None = None
    """The address that packets of our own take."""
    onlink: bool = False
    """The gateway is there although no route leads to it."""
    metric: int = 0
    """0: the kernel's own, which is 1,024 for IPv6."""
    protocol: int = STATIC
    """Who made it; numbers above STATIC are free to choose."""

    def __str__(self) -> str:
        return f"route to {self.destination} in table {self.table}"


class Rule(msgspec.Struct, frozen=True):
    """Which table a packet's route is looked for in."""

    version: int
    """4 or 6."""
    priority: int
    """Rules are tried from the lowest on."""
    table: int
    source: Network | None = None
    destination: Network | None = None
    link: str = ""
    """By which it came."""
    mark: int = 0
    mask: int = 0
    """Which bits of the packet's mark must be as in ``mark``; 0: the mark does not matter."""

    def __str__(self) -> str:
        return f"IPv{self.version} routing rule {self.priority}"


class Neighbour(msgspec.Struct, frozen=True):
    index: int
    """The link's."""
    address: IP
    mac: bytes = b""
    """For good: nobody is asked."""
    proxy: bool = False
    """Not whom we know, but for whom we answer on this link."""

    def __str__(self) -> str:
        return f"{'proxy ' if self.proxy else ''}neighbour {self.address} of link number {self.index}"


Anything = Address | Route | Rule | Neighbour

_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")
_FAMILIES: Final = {4: 2, 6: 10}
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_DST, _SRC, _IIF, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MARK, _TABLE, _MASK = 1, 2, 3, 4, 5, 6, 7, 10, 15, 16
_ONLINK: Final = 4
_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254
_TO_TABLE: Final = 1
_LLADDR: Final = 2
_PERMANENT, _PROXY = 0x80, 0x08


# -- making -------------------------------------------------------------------------------------------------


def add(what: Anything) -> Message:
    """Makes it; one with the same key that is there already: ObjectExists, but for proxy neighbours, which are simply there."""
    kind, body = _encoded(what)
    return Message(kind, body, Flag.CREATE | Flag.EXCLUSIVE, str(what))


def put(what: Address | Route | Neighbour) -> Message:
    """Makes it, in the place of one with the same key if there is one."""
    kind, body = _encoded(what)
    return Message(kind, body, Flag.CREATE | Flag.REPLACE, str(what))


def delete(what: Anything) -> Message:
    """What is not there: ObjectMissing."""
    kind, body = _encoded(what)
    return Message(kind + 1, body, 0, str(what))


def _encoded(what: Anything) -> tuple[int, bytes]:
    match what:
        case Address():
            return Kind.ADDRESS, _address(what)
        case Route():
            return Kind.ROUTE, _route(what)
        case Rule():
            return Kind.RULE, _rule(what)
        case Neighbour():
            return Kind.NEIGHBOUR, _neighbour(what)


def _address(what: Address) -> bytes:
    interface = what.interface
    flags = (_NODAD if what.without_dad else 0) | (_NOPREFIXROUTE if what.without_route else 0)
    scope = _SCOPE_HOST if interface.is_loopback else _UNIVERSE
    head = _IFADDR.pack(_FAMILIES[interface.version], interface.network.prefixlen, flags & 0xFF, scope, what.index)
    packed = interface.ip.packed
    return head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed) + u32(_IFA_FLAGS, flags)


def _route(what: Route) -> bytes:
    to = what.destination
    head = _RTMSG.pack(
        _FAMILIES[to.version],
        to.prefixlen,
        0,
        0,
        what.table if what.table < 256 else 0,
        what.protocol,
        _scope(what),
        what.kind,
        _ONLINK if what.onlink else 0,
    )
    return b"".join(
        (
            head,
            attribute(_DST, to.network_address.packed),
            u32(_OIF, what.index) if what.index else b"",
            attribute(_GATEWAY, what.via.packed) if what.via else b"",
            u32(_PRIORITY, what.metric) if what.metric else b"",
            attribute(_PREFSRC, what.source.packed) if what.source else b"",
            u32(_TABLE, what.table),
        )
    )


def _scope(what: Route) -> int:
    """How far away a destination is; IPv6 does not know."""
    if what.destination.version == 6:
        return _UNIVERSE
    if what.kind is RouteKind.LOCAL:
        return _SCOPE_HOST
    return _SCOPE_LINK if what.kind is RouteKind.UNICAST and what.via is None else _UNIVERSE


def _rule(what: Rule) -> bytes:
    source, destination = what.source, what.destination
    head = _RTMSG.pack(
        _FAMILIES[what.version],
        destination.prefixlen if destination else 0,
        source.prefixlen if source else 0,
        0,
        what.table if what.table < 256 else 0,
        0,
        0,
        _TO_TABLE,
        0,
    )
    return b"".join(
        (
            head,
            attribute(_DST, destination.network_address.packed) if destination else b"",
            attribute(_SRC, source.network_address.packed) if source else b"",
            text(_IIF, what.link) if what.link else b"",
            u32(_PRIORITY, what.priority),
            u32(_MARK, what.mark) + u32(_MASK, what.mask) if what.mask else b"",
            u32(_TABLE, what.table),
        )
    )


def _neighbour(what: Neighbour) -> bytes:
    state = _PERMANENT if what.mac else 0
    head = _NDMSG.pack(_FAMILIES[what.address.version], what.index, state, _PROXY if what.proxy else 0, 0)
    return head + attribute(_DST, what.address.packed) + (attribute(_LLADDR, what.mac) if what.mac else b"")


# -- asking and reading -------------------------------------------------------------------------------------


def dump_addresses() -> Message:
    return Message(Kind.ADDRESS + 2, _IFADDR.pack(0, 0, 0, 0, 0), Flag.DUMP, "addresses")


def dump_routes(version: int, index: int = 0) -> Message:
    """All routes of all tables, those that the kernel made by itself included. ``index``: only those over this link, where the kernel is
    asked strictly; else it passes over that."""
    body = _RTMSG.pack(_FAMILIES[version], *[0] * 8) + (u32(_OIF, index) if index else b"")
    return Message(Kind.ROUTE + 2, body, Flag.DUMP, f"IPv{version} routes")


def dump_rules(version: int) -> Message:
    return Message(Kind.RULE + 2, _RTMSG.pack(_FAMILIES[version], *[0] * 8), Flag.DUMP, f"IPv{version} routing rules")


def dump_neighbours(version: int, *, proxy: bool = False) -> Message:
    head = _NDMSG.pack(_FAMILIES[version], 0, 0, _PROXY if proxy else 0, 0)
    return Message(Kind.NEIGHBOUR + 2, head, Flag.DUMP, f"IPv{version} neighbours")


def read_address(message: Message) -> Address:
    (_, length, flags, _, index), found = _parts(message, _IFADDR)
    flags = host_number(found[_IFA_FLAGS]) if _IFA_FLAGS in found else flags
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    try:
        interface = ip_interface((_ip(packed), length))
    except ValueError as error:
        raise AnswerMalformed(str(error)) from None
    return Address(index, interface, bool(flags & _NODAD), bool(flags & _NOPREFIXROUTE))


def read_route(message: Message) -> Route | None:
    """None: one of several gateways, or of a kind that nobody here makes."""
    (family, length, _, _, table, protocol, _, kind, flags), found = _parts(message, _RTMSG)
    if family not in _FAMILIES.values() or kind not in set(RouteKind):
        return None
    return Route(
        _network(found.get(_DST, b""), length, family),
        _number(found, _OIF),
        _ip(found[_GATEWAY]) if _GATEWAY in found else None,
        RouteKind(kind),
        _number(found, _TABLE) or table,
        _ip(found[_PREFSRC]) if _PREFSRC in found else None,
        bool(flags & _ONLINK),
        _number(found, _PRIORITY),
        protocol,
    )


def read_rule(message: Message) -> Rule:
    (family, to, off, _, table, _, _, _, _), found = _parts(message, _RTMSG)
    return Rule(
        6 if family == _FAMILIES[6] else 4,
        _number(found, _PRIORITY),
        _number(found, _TABLE) or table,
        _network(found[_SRC], off, family) if _SRC in found else None,
        _network(found[_DST], to, family) if _DST in found else None,
        string(found.get(_IIF, b"")),
        _number(found, _MARK),
        _number(found, _MASK),
    )


def read_neighbour(message: Message) -> Neighbour:
    (_, index, _, flags, _), found = _parts(message, _NDMSG)
    return Neighbour(index, _ip(found.get(_DST, b"")), found.get(_LLADDR, b""), bool(flags & _PROXY))


def _parts(message: Message, head: struct.Struct) -> tuple[tuple[int, ...], dict[int, bytes]]:
    if len(message.body) < head.size:
        raise AnswerMalformed("a header cut short")
    return head.unpack_from(message.body), attributes(message.body[head.size :])


def _number(found: dict[int, bytes], kind: int) -> int:
    return host_number(found[kind]) if kind in found else 0


def _ip(packed: bytes) -> IP:
    try:
        return ip_address(packed)
    except ValueError:
        raise AnswerMalformed(f"an address of {len(packed)} bytes") from None


def _network(packed: bytes, length: int, family: int) -> Network:
    """A default route's destination is left out."""
    whole = packed or bytes(16 if family == _FAMILIES[6] else 4)
    try:
        return ip_network((whole, length))
    except ValueError as error:
        raise AnswerMalformed(str(error)) from None
