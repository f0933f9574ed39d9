"""The types of nftables' keys and data, by the numbers under which ``nft`` lists them (its datatype.h, expression.h, proto.h).

The kernel knows lengths only; number, byte order and ``typeof`` are remarks of ``nft`` to itself, kept with each set.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec


class Order(IntEnum):
    """Byte order, as ``nft`` keeps it with a set; a concatenation has none."""

    NONE = 0
    HOST = 1
    NETWORK = 2


class Type(msgspec.Struct, frozen=True):
    """A part of a set's key or data."""

    number: int
    length: int
    """Bytes; in a concatenation each part is padded to whole words."""
    order: Order
    typeof: bytes = b""
    """An expression that has this type, as ``nft`` stores it."""
    named: bool = True
    """False: it can only be listed by its ``typeof``."""


def remark(kind: int, value: bytes) -> bytes:
    """One entry of a userdata: type, length, value, unpadded; 255 bytes at most."""
    return bytes((kind, len(value))) + value


def remark_number(kind: int, value: int) -> bytes:
    return remark(kind, struct.pack("=I", value))


_PAYLOAD, _META, _CONCAT, _NUMGEN = 7, 9, 13, 23
_TH, _IP, _IP6 = 11, 12, 13


def _typeof(expression: int, *terms: int) -> bytes:
    said = b"".join(remark_number(i, term) for i, term in enumerate(terms))
    return remark_number(0, expression) + remark(1, said)


VERDICT: Final = Type(0xFFFFFF00, 16, Order.NONE)
IPV4_ADDR: Final = Type(7, 4, Order.NETWORK, _typeof(_PAYLOAD, _IP, 12))
IPV6_ADDR: Final = Type(8, 16, Order.NETWORK, _typeof(_PAYLOAD, _IP6, 9))
INET_PROTO: Final = Type(12, 1, Order.HOST, _typeof(_META, 16))
INET_SERVICE: Final = Type(13, 2, Order.NETWORK, _typeof(_PAYLOAD, _TH, 2))
MARK: Final = Type(19, 4, Order.HOST, _typeof(_META, 3))
IFNAME: Final = Type(41, 16, Order.HOST, _typeof(_META, 6))
NUMGEN: Final = Type(4, 4, Order.HOST, _typeof(_NUMGEN, 1, 0x10000, 0), named=False)
"""A number that ``numgen`` picks: an integer has no name, so that ``nft`` shows ``numgen random mod 65536``."""


def number_of(parts: tuple[Type, ...]) -> int:
    """The number of a concatenation: six bits a part."""
    found = 0
    for part in parts:
        found = found << 6 | part.number
    return found


def length_of(parts: tuple[Type, ...]) -> int:
    """Bytes of a key or data of these parts."""
    return parts[0].length if len(parts) == 1 else sum((part.length + 3) & ~3 for part in parts)


def order_of(parts: tuple[Type, ...]) -> Order:
    return parts[0].order if len(parts) == 1 else Order.NONE


def typeof_of(parts: tuple[Type, ...]) -> bytes:
    if len(parts) == 1:
        return parts[0].typeof
    said = b"".join(remark(i, part.typeof) for i, part in enumerate(parts))
    return remark_number(0, _CONCAT) + remark(1, said)
