"""The expressions of nftables rules (linux/netfilter/nf_tables.h), as the bytes of one list element each.

A rule computes in registers. There are sixteen words of four bytes, which have two names: a value that starts at a multiple of four
words is in register 1 to 4, any other in register 8 + its word. ``nft`` prints only rules whose values stand where it would have put
them itself: one value in register 1, the parts of a concatenation one behind the other from register 1 on (``concat``). Numbers that
the host computes with (marks, numgen, hash) are in host byte order there, what comes from a packet is as on the wire.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

import msgspec

from pierhead.wire.netlink import attribute, be32, be64, nested, text, u8

if TYPE_CHECKING:
    from pierhead.wire.nftables import Set

Expression = bytes
VERDICT_REGISTER: Final = 0


def register(word: int) -> int:
    """The number by which ``nft`` calls the register that begins at ``word``, 0 to 15."""
    return 1 + word // 4 if word % 4 == 0 else 8 + word


def expression(name: str, *attributes: bytes) -> Expression:
    return nested(1, text(1, name), nested(2, *attributes))


# -- loading ------------------------------------------------------------------------------------------------


class Base(IntEnum):
    """Where a payload's offset counts from."""

    LINK = 0
    NETWORK = 1
    TRANSPORT = 2


class Meta(IntEnum):
    PROTOCOL = 1
    MARK = 3
    IIF = 4
    OIF = 5
    IIFNAME = 6
    OIFNAME = 7
    SKUID = 10
    NFTRACE = 12
    NFPROTO = 15
    L4PROTO = 16
    PKTTYPE = 19


class Ct(IntEnum):
    STATE = 0
    DIRECTION = 1
    STATUS = 2
    MARK = 3
    L3PROTOCOL = 7
    PROTOCOL = 10
    PROTO_SRC = 11
    PROTO_DST = 12
    SRC_IP = 19
    DST_IP = 20
    SRC_IP6 = 21
    DST_IP6 = 22


class State(IntFlag):
    """Bits of ``ct state``."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64


class Status(IntFlag):
    """Bits of ``ct status``."""

    SEEN_REPLY = 0x2
    ASSURED = 0x4
    CONFIRMED = 0x8
    SNAT = 0x10
    DNAT = 0x20
    DYING = 0x200


class FibResult(IntEnum):
    OIF = 1
    OIFNAME = 2
    TYPE = 3


class FibFlag(IntFlag):
    SADDR = 1
    DADDR = 2
    MARK = 4
    IIF = 8
    OIF = 16


LOCAL: Final = struct.pack("=I", 2)
"""What ``fib … type`` gives for an address of this host (RTN_LOCAL)."""
ORIGINAL, REPLY = 0, 1
"""Directions of a connection."""


class Load(msgspec.Struct, frozen=True):
    """Something that a rule can read into a register: ``into`` says which, ``concat`` puts several in their places."""

    name: str
    length: int
    """Bytes."""
    terms: bytes
    """The expression's attributes but the destination register."""

    def into(self, destination: int = 1) -> Expression:
        return expression(self.name, be32(2 if self.name == "hash" else 1, destination), self.terms)


def payload(base: Base, offset: int, length: int) -> Load:
    """Bytes of the packet."""
    return Load("payload", length, be32(2, base) + be32(3, offset) + be32(4, length))


def meta(key: Meta) -> Load:
    length = (
        16 if key in (Meta.IIFNAME, Meta.OIFNAME) else 1 if key in (Meta.L4PROTO, Meta.NFPROTO, Meta.PKTTYPE) else 4
    )
    return Load("meta", 2 if key is Meta.PROTOCOL else length, be32(2, key))


def ct(key: Ct, direction: int | None = None) -> Load:
    """``direction``: which of a connection's two tuples, for its addresses, ports and protocol."""
    lengths = {Ct.SRC_IP6: 16, Ct.DST_IP6: 16, Ct.PROTO_SRC: 2, Ct.PROTO_DST: 2}
    one = (Ct.DIRECTION, Ct.L3PROTOCOL, Ct.PROTOCOL)
    terms = be32(2, key) + (b"" if direction is None else u8(3, direction))
    return Load("ct", 1 if key in one else lengths.get(key, 4), terms)


def numgen(modulus: int) -> Load:
    """A random number from 0 to ``modulus`` - 1."""
    return Load("numgen", 4, be32(2, modulus) + be32(3, 1) + be32(4, 0))


def jhash(source: int, length: int, modulus: int, seed: int = 0) -> Load:
    """Jenkins' hash of ``length`` bytes from register ``source`` on, from 0 to ``modulus`` - 1; without a seed the kernel picks one."""
    seeded = be32(5, seed) if seed else b""
    return Load("hash", 4, be32(1, source) + be32(3, length) + be32(4, modulus) + seeded + be32(6, 0) + be32(7, 0))


def fib(flags: FibFlag, result: FibResult) -> Load:
    """What the routing table says of the packet's source or destination."""
    return Load("fib", 16 if result is FibResult.OIFNAME else 4, be32(2, result) + be32(3, flags))


def concat(*loads: Load) -> tuple[Expression, ...]:
    """Each in its place for a lookup by all of them: every part begins at a whole word."""
    found, word = [], 0
    for load in loads:
        found.append(load.into(register(word)))
        word += (load.length + 3) // 4
    return tuple(found)


IP_SADDR: Final = payload(Base.NETWORK, 12, 4)
IP_DADDR: Final = payload(Base.NETWORK, 16, 4)
IP6_SADDR: Final = payload(Base.NETWORK, 8, 16)
IP6_DADDR: Final = payload(Base.NETWORK, 24, 16)
SPORT: Final = payload(Base.TRANSPORT, 0, 2)
DPORT: Final = payload(Base.TRANSPORT, 2, 2)
L4PROTO: Final = meta(Meta.L4PROTO)
MARK: Final = meta(Meta.MARK)


# -- computing and comparing --------------------------------------------------------------------------------


class Compare(IntEnum):
    EQUAL = 0
    NOT_EQUAL = 1
    LESS = 2
    LESS_OR_EQUAL = 3
    GREATER = 4
    GREATER_OR_EQUAL = 5


def cmp(value: bytes, operator: Compare = Compare.EQUAL, *, source: int = 1) -> Expression:
    """Goes on with the rule only if the register compares so with ``value``, which is compared byte by byte."""
    return expression("cmp", be32(1, source), be32(2, operator), nested(3, attribute(1, value)))


def interface(name: str) -> bytes:
    """An interface's name as ``iifname`` and ``oifname`` have it."""
    return name.encode().ljust(16, b"\0")


def bitwise(mask: bytes, xor: bytes = b"", *, source: int = 1, into: int = 1) -> Expression:
    """``(source & mask) ^ xor``; without ``xor`` only the mask."""
    return expression(
        "bitwise",
        be32(1, source),
        be32(2, into),
        be32(3, len(mask)),
        nested(4, attribute(1, mask)),
        nested(5, attribute(1, xor or bytes(len(mask)))),
    )


def immediate(value: bytes, into: int = 1) -> Expression:
    return expression("immediate", be32(1, into), nested(2, attribute(1, value)))


def set_meta(key: Meta, source: int = 1) -> Expression:
    """Writes the register into the packet's mark (or another meta key that can be written)."""
    return expression("meta", be32(2, key), be32(3, source))


def set_ct(key: Ct, source: int = 1) -> Expression:
    return expression("ct", be32(2, key), be32(4, source))


# -- sets ---------------------------------------------------------------------------------------------------


def lookup(there: Set, *, source: int = 1, into: int | None = None, inverse: bool = False) -> Expression:
    """Goes on only if the key in ``source`` is in the set (``inverse``: is not); ``into`` takes a map's data, register 0 its verdict."""
    data = b"" if into is None else be32(3, into)
    flags = be32(5, 1) if inverse else b""
    return expression("lookup", text(1, there.name), be32(2, source), data, _number_of(there), flags)


def update(there: Set, *, source: int = 1, data: int | None = None, timeout: int = 0, add: bool = False) -> Expression:
    """Puts the key in ``source`` (and a map's data) into a dynamic set, or renews its timeout; ``add``: leaves a present one alone.

    A present key keeps its data. ``timeout`` in milliseconds; 0: the set's own.
    """
    return expression(
        "dynset",
        text(1, there.name),
        _number_of(there),
        be32(3, 0 if add else 1),
        be32(4, source),
        b"" if data is None else be32(5, data),
        be64(6, timeout) if timeout else b"",
    )


def _number_of(there: Set) -> bytes:
    """Anonymous sets have no name yet when the rule is written: within the transaction they go by number."""
    return be32(4, there.anonymous) if there.anonymous else b""


# -- verdicts and statements --------------------------------------------------------------------------------


class Verdict(msgspec.Struct, frozen=True):
    code: int
    chain: str = ""
    """Where ``jump`` and ``goto`` go."""


ACCEPT: Final = Verdict(1)
DROP: Final = Verdict(0)
RETURN: Final = Verdict(-5)
_JUMP, _GOTO = -3, -4


def jump(chain: str) -> Verdict:
    return Verdict(_JUMP, chain)


def goto(chain: str) -> Verdict:
    return Verdict(_GOTO, chain)


def verdict_data(verdict: Verdict) -> bytes:
    """The verdict as nf_tables has it in an element's or an immediate's data."""
    return nested(2, be32(1, verdict.code), text(2, verdict.chain) if verdict.chain else b"")


def verdict(what: Verdict) -> Expression:
    return expression("immediate", be32(1, VERDICT_REGISTER), nested(2, verdict_data(what)))


class NatFlag(IntFlag):
    RANDOM = 4
    PERSISTENT = 8
    FULLY_RANDOM = 16


def dnat(family: int, address: int = 1, port: int | None = None) -> Expression:
    """To the address and the port in these registers; ``family``: NFPROTO_IPV4 (2) or NFPROTO_IPV6 (10)."""
    return _nat(1, family, address, port)


def snat(family: int, address: int = 1, port: int | None = None) -> Expression:
    return _nat(0, family, address, port)


def _nat(kind: int, family: int, address: int, port: int | None) -> Expression:
    ports = b"" if port is None else be32(5, port) + be32(6, port)
    return expression("nat", be32(1, kind), be32(2, family), be32(3, address), be32(4, address), ports)


def masquerade(flags: NatFlag = NatFlag(0)) -> Expression:  # noqa: B008 - an immutable number
    return expression("masq", be32(1, flags) if flags else b"")


PORT_UNREACHABLE_IP, PORT_UNREACHABLE_IP6 = 3, 4
PROHIBITED_IP, PROHIBITED_IP6 = 13, 1
"""Codes of ICMP and of ICMPv6 for ``reject``."""


def reject(code: int) -> Expression:
    """By an ICMP (or ICMPv6) unreachable message with this code."""
    return expression("reject", be32(1, 0), u8(2, code))


def reset() -> Expression:
    """Rejects by a TCP reset; only after the rule has matched TCP."""
    return expression("reject", be32(1, 1), u8(2, 0))


def counter() -> Expression:
    """Packets and bytes that came here, from 0 on."""
    return expression("counter", be64(1, 0), be64(2, 0))


def notrack() -> Expression:
    """No connection tracking for this packet; only in a chain before it (priority -300)."""
    return expression("notrack")
