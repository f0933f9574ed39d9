"""nftables by nfnetlink (linux/netfilter/nf_tables.h): tables, chains, sets, rules and elements, and the messages that change
them.

They belong into one transaction (``netlink.encode_batch``). Types, comments and byte orders are written the way ``nft`` writes them, so that ``nft list ruleset`` prints what was made here.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from pierhead.wire.datatypes import Type, length_of, number_of, order_of, remark, remark_number, typeof_of
from pierhead.wire.expressions import Expression, Verdict, counter, verdict_data
from pierhead.wire.netlink import Flag, Message, attribute, be32, be64, nested, text


class Family(IntEnum):
    """NFPROTO_*."""

    INET = 1
    IP = 2
    ARP = 3
    BRIDGE = 7
    IP6 = 10


class Hook(IntEnum):
    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


ARP_HOOKS: Final = {Hook.INPUT: 0, Hook.OUTPUT: 1}
"""The arp family counts anew (linux/netfilter_arp.h)."""


class TableFlag(IntFlag):
    DORMANT = 0x1
    """Packets meet none of its chains."""
    OWNER = 0x2
    """It goes with the socket that made it."""
    PERSIST = 0x4


class Table(msgspec.Struct, frozen=True):
    family: Family
    name: str
    comment: str = ""
    flags: TableFlag = TableFlag(0)

    def __str__(self) -> str:
        return f"table {self.family.name.lower()} {self.name}"


class Base(msgspec.Struct, frozen=True):
    """What makes a chain one that packets come to by themselves."""

    kind: str
    """``filter``, ``nat`` or ``route``."""
    hook: Hook
    priority: int
    """dstnat is -100, filter 0, srcnat 100."""
    drops: bool = False
    """The policy: what becomes of a packet that no rule decided on."""


class Chain(msgspec.Struct, frozen=True):
    table: Table
    name: str
    base: Base | None = None

    def __str__(self) -> str:
        return f"chain {self.name} of {self.table}"


class SetFlag(IntFlag):
    ANONYMOUS = 0x1
    CONSTANT = 0x2
    INTERVAL = 0x4
    MAP = 0x8
    TIMEOUT = 0x10
    DYNAMIC = 0x20
    """Rules may add elements."""


class Set(msgspec.Struct, frozen=True):
    """A set, or with ``data`` a map."""

    table: Table
    name: str
    key: tuple[Type, ...]
    """More than one: a concatenation, whose parts are each padded to whole words."""
    data: tuple[Type, ...] = ()
    """``(VERDICT,)`` for a verdict map."""
    flags: SetFlag = SetFlag(0)
    """``MAP``, ``TIMEOUT`` and, of anonymous sets, ``ANONYMOUS`` and ``CONSTANT`` follow from the other fields."""
    size: int = 0
    """Elements at most (more: NoRoom); given, the kernel takes its fixed hash, which is four times as fast to fill. 0: it grows."""
    timeout: int = 0
    """Milliseconds after which an element is gone that has no timeout of its own; 0: never."""
    counts: bool = False
    """Each element counts the packets that met it: a per-CPU allocation each."""
    anonymous: int = 0
    """Not 0: it belongs to the one rule that looks it up and goes by this number, unique within the transaction; see ``inline``."""

    def __str__(self) -> str:
        if self.anonymous:
            return f"a set of {self.table}"
        kind = "map" if self.data else "set"
        return f"{kind} {self.name} of {self.table}"


def inline(table: Table, key: tuple[Type, ...], anonymous: int) -> Set:
    """An anonymous set, as ``nft`` writes ``{ tcp, udp }`` within a rule."""
    return Set(table, "__set%d", key, anonymous=anonymous)


class Rule(msgspec.Struct, frozen=True):
    chain: Chain
    expressions: tuple[Expression, ...]
    """Of a rule that was read: all of them as one."""
    comment: str = ""
    handle: int = 0
    """By which the kernel knows it; 0: not made yet."""

    def __str__(self) -> str:
        return f"a rule of {self.chain}"


class Element(NamedTuple):
    """What a set holds. Parts of a concatenated key or data are padded to whole words; a single one is not padded."""

    key: bytes
    data: bytes | Verdict | None = None
    """None of a set's element."""
    timeout: int = 0
    """Milliseconds; 0: the set's own."""


# -- changing -----------------------------------------------------------------------------------------------


class Kind(IntEnum):
    """NFT_MSG_* within nfnetlink's subsystem 10."""

    NEWTABLE = 0xA00
    GETTABLE = 0xA01
    DELTABLE = 0xA02
    NEWCHAIN = 0xA03
    GETCHAIN = 0xA04
    DELCHAIN = 0xA05
    NEWRULE = 0xA06
    GETRULE = 0xA07
    DELRULE = 0xA08
    NEWSET = 0xA09
    GETSET = 0xA0A
    DELSET = 0xA0B
    NEWSETELEM = 0xA0C
    GETSETELEM = 0xA0D
    DELSETELEM = 0xA0E
    NEWGEN = 0xA0F
    GETGEN = 0xA10


_ROOM: Final = 0xFFFF - 4
"""Bytes of elements in one attribute: its length, header included, has 16 bits."""
_COMMENT: Final = 0


def add(what: Table | Chain | Set | Rule, *, fresh: bool = False) -> Message:
    """Makes it. One that is there already, alike, is no error unless ``fresh``; a rule is always another one, at its chain's end."""
    flags = Flag.CREATE | (Flag.EXCLUSIVE if fresh else 0)
    match what:
        case Table():
            terms = (be32(2, what.flags) if what.flags else b"") + _comment(6, what.comment)
            return about(Kind.NEWTABLE, what, terms, flags)
        case Chain():
            return about(Kind.NEWCHAIN, what, b"" if what.base is None else _base(what.table.family, what.base), flags)
        case Set():
            return about(Kind.NEWSET, what, _description(what), flags)
        case Rule():
            terms = nested(4, *what.expressions) + _comment(7, what.comment)
            return about(Kind.NEWRULE, what, terms, Flag.CREATE | Flag.APPEND)


def delete(what: Table | Chain | Set | Rule) -> Message:
    """Takes it away; a table with all that is in it, a chain or a set only when nothing refers to it, a rule by its handle."""
    match what:
        case Table():
            return about(Kind.DELTABLE, what)
        case Chain():
            return about(Kind.DELCHAIN, what)
        case Set():
            return about(Kind.DELSET, what)
        case Rule():
            return about(Kind.DELRULE, what, be64(3, what.handle))


def flush(what: Table | Chain | Set) -> Message:
    """Empties it: a set of its elements, a chain of its rules, a table of all rules."""
    match what:
        case Table():
            return about(Kind.DELRULE, what)
        case Chain():
            return replace(about(Kind.DELRULE, Rule(what, ())), subject=str(what))
        case Set():
            return about(Kind.DELSETELEM, what)


def add_elements(there: Set, elements: Iterable[Element]) -> list[Message]:
    """As few messages as there can be: each holds less than 64 KiB of elements. A key that is there already with the same data is
    left alone; with other data: ObjectExists."""
    return _with_elements(Kind.NEWSETELEM, there, (_element(*element) for element in elements), Flag.CREATE)


def add_columns(there: Set, keys: bytes, data: bytes = b"") -> list[Message]:
    """As ``add_elements``, for very many: their keys one after the other, and their data. No object is made for any of them."""
    return _with_columns(Kind.NEWSETELEM, there, keys, data, Flag.CREATE)


def columns(parts: tuple[Type, ...], *given: bytes) -> bytes:
    """Keys or data of very many elements one after the other, each part padded: from all first parts, all second parts, and so on."""
    size = length_of(parts)
    whole = bytearray(len(given[0]) // parts[0].length * size)
    at = 0
    for part, column in zip(parts, given, strict=True):
        for byte in range(part.length):
            whole[at + byte :: size] = column[byte :: part.length]
        at += part.length + 3 & ~3
    return bytes(whole)


def delete_elements(there: Set, keys: Iterable[bytes]) -> list[Message]:
    """All of the keys must be there, else ObjectMissing."""
    return _with_elements(Kind.DELSETELEM, there, (_element(key, None, 0) for key in keys))


def delete_columns(there: Set, keys: bytes) -> list[Message]:
    """As ``delete_elements``, for very many: their keys one after the other."""
    return _with_columns(Kind.DELSETELEM, there, keys, b"")


def find_elements(there: Set, keys: Iterable[bytes]) -> list[Message]:
    """Questions, not changes: the elements with these keys, all of which must be there, else ObjectMissing."""
    return _with_elements(Kind.GETSETELEM, there, (_element(key, None, 0) for key in keys))


def about(kind: int, what: Table | Chain | Set | Rule, terms: bytes = b"", flags: int = 0) -> Message:
    """A message that names its object: in all of them attribute 1 is the table's name."""
    match what:
        case Table():
            table, name = what, b""
        case Chain():
            table, name = what.table, text(3, what.name)
        case Set():
            table, name = what.table, text(2, what.name)
        case Rule():
            table, name = what.chain.table, text(2, what.chain.name)
    return Message(kind, header(table.family) + text(1, table.name) + name + terms, flags, str(what))


def header(family: int) -> bytes:
    """struct nfgenmsg: family, version, and a number that only batches use."""
    return bytes((family, 0, 0, 0))


def _with_elements(kind: int, there: Set, packed: Iterable[bytes], flags: int = 0) -> list[Message]:
    """Messages that carry these elements of the set."""
    head = _head(there)
    found: list[Message] = []
    held: list[bytes] = []
    room = _ROOM
    for element in packed:
        room -= len(element)
        if room < 0:
            found.append(Message(kind, head + nested(3, *held), flags, str(there)))
            held, room = [], _ROOM - len(element)
        held.append(element)
    if held:
        found.append(Message(kind, head + nested(3, *held), flags, str(there)))
    return found


def _with_columns(kind: int, there: Set, keys: bytes, data: bytes, flags: int = 0) -> list[Message]:
    """The same for elements of one shape: in each message the attributes of one as often as there are elements, and in them the first
    byte of all keys at once, then the second, and so on to the last of the data."""
    width, beside = length_of(there.key), length_of(there.data) if data else 0
    frame = _element(bytes(width), bytes(beside) if data else None, 0)
    size, key_at = len(frame), len(nested(1, nested(1, attribute(1, b""))))
    data_at = size - (beside + 3 & ~3)
    head, most, subject = _head(there), _ROOM // size, str(there)
    found: list[Message] = []
    for first in range(0, len(keys) // width, most):
        part = keys[first * width : (first + most) * width]
        elements = bytearray(frame * (len(part) // width))
        for at, column, step in (
            (key_at, part, width),
            (data_at, data[first * beside : (first + most) * beside], beside),
        ):
            for byte in range(step):
                elements[at + byte :: size] = column[byte::step]
        found.append(Message(kind, head + nested(3, bytes(elements)), flags, subject))
    return found


def _head(there: Set) -> bytes:
    """What every message about a set's elements begins with."""
    found = header(there.table.family) + text(1, there.table.name) + text(2, there.name)
    return found + be32(4, there.anonymous) if there.anonymous else found


def _element(key: bytes, data: bytes | Verdict | None, timeout: int) -> bytes:
    found = nested(1, attribute(1, key))
    if isinstance(data, Verdict):
        found += nested(2, verdict_data(data))
    elif data is not None:
        found += nested(2, attribute(1, data))
    if timeout:
        found += be64(4, timeout)
    return nested(1, found)


def _comment(kind: int, comment: str) -> bytes:
    return attribute(kind, remark(_COMMENT, comment.encode() + b"\0")) if comment else b""


def _base(family: Family, base: Base) -> bytes:
    hook = ARP_HOOKS[base.hook] if family is Family.ARP else base.hook
    return nested(4, be32(1, hook), be32(2, base.priority)) + be32(5, 0 if base.drops else 1) + text(7, base.kind)


def _description(there: Set) -> bytes:
    flags = there.flags
    flags |= SetFlag.ANONYMOUS | SetFlag.CONSTANT if there.anonymous else 0
    flags |= SetFlag.MAP if there.data else 0
    flags |= SetFlag.TIMEOUT if there.timeout else 0
    terms = [be32(3, flags), be32(4, number_of(there.key)), be32(5, length_of(there.key))]
    if there.data:
        terms += [be32(6, number_of(there.data)), be32(7, length_of(there.data))]
    if there.size:
        terms.append(nested(9, be32(1, there.size)))
    terms.append(be32(10, there.anonymous))
    if there.timeout:
        terms.append(be64(11, there.timeout))
    terms.append(attribute(13, _remarks(there)))
    if there.counts:
        terms.append(nested(17, counter()[4:]))
    return b"".join(terms)


def _remarks(there: Set) -> bytes:
    """What ``nft`` wants to find again with a set."""
    found = [remark_number(0, order_of(there.key))]
    if there.data:
        found.append(remark_number(1, order_of(there.data)))
    if not all(part.named for part in (*there.key, *there.data)):
        found.append(remark(3, typeof_of(there.key)))
        if there.data:
            found.append(remark(4, typeof_of(there.data)))
    return b"".join(found)
