"""Links and the network namespaces at their other ends, by rtnetlink (linux/if_link.h, linux/net_namespace.h).

A link goes by its index or by its name. Messages that make and change go one after the other (``Netlink.perform``), each for itself.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from pierhead.errors import AnswerMalformed
from pierhead.wire.netlink import (
    Flag,
    Message,
    attribute,
    attributes,
    host_number,
    i32,
    nested,
    string,
    text,
    u32,
)

Which = int | str
"""A link: its index, or its name."""


class Kind(IntEnum):
    """RTM_*."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWNSID = 88
    GETNSID = 90


_IFINFO: Final = struct.Struct("=BxHiII")
_UP, _LOWER_UP = 0x1, 0x10000
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _INFO, _ALIAS, _NAMESPACE, _PEER_NAMESPACE = 1, 3, 4, 5, 10, 18, 20, 28, 37
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_NSID, _NSID_FD = 1, 3
UNKNOWN: Final = -1
"""The id of a namespace that has none here."""


class End(msgspec.Struct, frozen=True):
    """One end of a veth pair that is to be made."""

    name: str
    """15 bytes at most."""
    namespace: int | None = None
    """An open file of the network namespace in which it is to be; None: the socket's own."""
    address: bytes = b""
    """Its MAC, 6 bytes; empty: one by chance."""
    mtu: int = 0
    """Bytes; 0: the kernel's own, 1,500."""
    master: int = 0
    """The index of the bridge that it belongs to; 0: none."""


class Link(msgspec.Struct, frozen=True):
    index: int
    name: str
    kind: str
    """``veth``, ``bridge`` …; empty of hardware and of lo."""
    up: bool
    """Somebody switched it on."""
    carrier: bool
    """And there is another end that is on, too."""
    mtu: int
    address: bytes
    """Its MAC."""
    master: int
    """The index of its bridge; 0: none."""
    peer: int
    """The index of a veth's other end, in that one's namespace; 0: none."""
    peer_namespace: int
    """The id of the other end's namespace, if it is another one; UNKNOWN: it is this one, or there is no other end."""
    alias: str = ""
    """What somebody wrote on it."""


def add_bridge(name: str) -> Message:
    info = nested(_INFO, text(_INFO_KIND, "bridge"))
    return _made(_IFINFO.pack(0, 0, 0, 0, 0) + text(_NAME, name) + info, f"link {name}")


def add_veth(here: End, there: End) -> Message:
    """A pair of links, each the other's far end. Both are down: the kernel cannot make one that is up before it has the other."""
    peer = attribute(_VETH_PEER, _end(there))
    info = nested(_INFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, peer))
    return _made(_end(here) + info, f"link {here.name}")


def _made(body: bytes, subject: str) -> Message:
    return Message(Kind.NEWLINK, body, Flag.CREATE | Flag.EXCLUSIVE, subject)


def _end(end: End) -> bytes:
    return b"".join(
        (
            _IFINFO.pack(0, 0, 0, 0, 0),
            text(_NAME, end.name),
            attribute(_ADDRESS, end.address) if end.address else b"",
            u32(_MTU, end.mtu) if end.mtu else b"",
            u32(_MASTER, end.master) if end.master else b"",
            b"" if end.namespace is None else u32(_NAMESPACE, end.namespace),
        )
    )


def switch(which: Which, *, up: bool) -> Message:
    return _about(Kind.NEWLINK, which, flags=_UP if up else 0, change=_UP)


def set_mtu(which: Which, mtu: int) -> Message:
    return _about(Kind.NEWLINK, which, u32(_MTU, mtu))


def set_master(which: Which, master: int) -> Message:
    """Joins the bridge with this index; 0: leaves the one it is in."""
    return _about(Kind.NEWLINK, which, u32(_MASTER, master))


def set_alias(which: Which, alias: str) -> Message:
    """A note for who looks at it, of at most 255 bytes (linux/if.h, IFALIASZ)."""
    return _about(Kind.NEWLINK, which, text(_ALIAS, alias))


def move(which: Which, namespace: int) -> Message:
    """Into the network namespace whose file is open as ``namespace``; it is down there, and without its addresses."""
    return _about(Kind.NEWLINK, which, u32(_NAMESPACE, namespace))


def delete(which: Which) -> Message:
    """A veth's other end goes with it."""
    return _about(Kind.DELLINK, which)


def find(which: Which) -> Message:
    """Asks for one link: ObjectMissing if there is none."""
    return _about(Kind.GETLINK, which)


def dump() -> Message:
    return Message(Kind.GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), Flag.DUMP, "links")


def _about(kind: int, which: Which, terms: bytes = b"", *, flags: int = 0, change: int = 0) -> Message:
    if isinstance(which, int):
        return Message(kind, _IFINFO.pack(0, 0, which, flags, change) + terms, 0, f"link number {which}")
    return Message(kind, _IFINFO.pack(0, 0, 0, flags, change) + text(_NAME, which) + terms, 0, f"link {which}")


def read(message: Message) -> Link:
    """From the answers to ``find`` and ``dump``.

    Raises:
        AnswerMalformed: it is too short, or has no name.
    """
    if len(message.body) < _IFINFO.size:
        raise AnswerMalformed("a link cut short")
    _, _, index, flags, _ = _IFINFO.unpack_from(message.body)
    found = attributes(message.body[_IFINFO.size :])
    if _NAME not in found:
        raise AnswerMalformed("a link without a name")
    kind = string(attributes(found.get(_INFO, b"")).get(_INFO_KIND, b""))
    return Link(
        index,
        string(found[_NAME]),
        kind,
        bool(flags & _UP),
        bool(flags & _LOWER_UP),
        host_number(found.get(_MTU, bytes(4))),
        found.get(_ADDRESS, b""),
        host_number(found.get(_MASTER, bytes(4))),
        host_number(found.get(_LINK, bytes(4))) if kind == "veth" else 0,
        _signed(found[_PEER_NAMESPACE]) if _PEER_NAMESPACE in found else UNKNOWN,
        string(found.get(_ALIAS, b"")),
    )


def _signed(value: bytes) -> int:
    found = host_number(value)
    return found - (1 << 32) if found >= 1 << 31 else found


# -- namespaces ---------------------------------------------------------------------------------------------


def find_namespace(namespace: int) -> Message:
    """Asks which id the network namespace with this open file has here; ``read_namespace`` reads it."""
    return Message(Kind.GETNSID, bytes(4) + u32(_NSID_FD, namespace), 0, "a network namespace")


def number_namespace(namespace: int) -> Message:
    """Gives it an id here, the next free one; ObjectExists if it has one."""
    return Message(Kind.NEWNSID, bytes(4) + i32(_NSID, UNKNOWN) + u32(_NSID_FD, namespace), 0, "a network namespace")


def read_namespace(message: Message) -> int:
    """The id; UNKNOWN: it has none here."""
    found = attributes(message.body[4:])
    return _signed(found[_NSID]) if _NSID in found else UNKNOWN
