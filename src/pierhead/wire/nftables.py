"""nftables by nfnetlink (linux/netfilter/nf_tables.h): tables, chains, sets, rules and elements, and the messages about them.

Messages that change something belong into one transaction (``netlink.encode_batch``); those that ask do not. Types, comments and byte
orders are written the way ``nft`` writes them, so that ``nft list ruleset`` prints what was made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from pierhead.wire.datatypes import Type
from pierhead.wire.expressions import Expression, Verdict
from pierhead.wire.netlink import Message


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


_ARP_HOOKS: Final = {Hook.INPUT: 0, Hook.OUTPUT: 1}
"""The arp family counts anew (linux/netfilter_arp.h)."""


@dataclass(frozen=True, slots=True)
class Table:
    family: Family
    name: str
    comment: str = ""

    def __str__(self) -> str:
        return f"table {self.family.name.lower()} {self.name}"


@dataclass(frozen=True, slots=True)
class Base:
    """What makes a chain one that packets come to by themselves."""

    kind: str
    """``filter``, ``nat`` or ``route``."""
    hook: Hook
    priority: int
    """dstnat is -100, filter 0, srcnat 100."""
    drops: bool = False
    """The policy: what becomes of a packet that no rule decided on."""


@dataclass(frozen=True, slots=True)
class Chain:
    table: Table
    name: str
    base: Base | None = None


class SetFlag(IntFlag):
    ANONYMOUS = 0x1
    CONSTANT = 0x2
    MAP = 0x8
    TIMEOUT = 0x10
    DYNAMIC = 0x20
    """Rules may add elements."""


@dataclass(frozen=True, slots=True)
class Set:
    """A set, or with ``data`` a map."""

    table: Table
    name: str
    key: tuple[Type, ...]
    """More than one: a concatenation, whose parts are each padded to whole words."""
    data: tuple[Type, ...] = ()
    """``(VERDICT,)`` for a verdict map."""
    flags: SetFlag = SetFlag(0)  # noqa: RUF009 - an immutable number
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
        kind = "map" if self.data else "set"
        return f"{kind} {self.name} of {self.table}"


def inline(table: Table, key: tuple[Type, ...], number: int) -> Set:
    """An anonymous set, as ``nft`` writes ``{ tcp, udp }`` within a rule."""
    return Set(table, "__set%d", key, anonymous=number)


@dataclass(frozen=True, slots=True)
class Rule:
    chain: Chain
    expressions: tuple[Expression, ...]
    """Of a rule that was read: all of them as one."""
    comment: str = ""
    handle: int = 0
    """By which the kernel knows it; 0: not made yet."""


class Element(NamedTuple):
    """What a set holds. Parts of a concatenated key or data are padded to whole words; a single one is not padded."""

    key: bytes
    data: bytes | Verdict | None = None
    """None of a set's element."""
    timeout: int = 0
    """Milliseconds; 0: the set's own."""


class Held(NamedTuple):
    """An element as the kernel holds it."""

    key: bytes
    data: bytes | Verdict | None
    timeout: int
    """Milliseconds from its last renewal until it goes; 0: never, or the set's own."""
    expires: int
    """Milliseconds left; 0: never."""
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Generation:
    """Every commit to any table of the namespace makes a new generation."""

    number: int
    pid: int
    program: str
    """Who asked for it: as ``comm`` has it, 15 characters at most."""


@dataclass(frozen=True, slots=True)
class SetState:
    """What the kernel says of a set without reading its elements."""

    table: Table
    name: str
    count: int | None
    """Elements now; None: this kernel does not say."""


# -- changing -----------------------------------------------------------------------------------------------

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = (
    (10 << 8) | x for x in range(9)
)
NEWSET, GETSET, DELSET, NEWELEMENT, GETELEMENT, DELELEMENT, NEWGENERATION, GETGENERATION = (
    (10 << 8) | x for x in range(9, 17)
)


def add(what: Table | Chain | Set | Rule, *, fresh: bool = False) -> Message:
    """Makes it. One that is there already, alike, is no error unless ``fresh``; a rule is always another one, at its chain's end."""
    raise NotImplementedError


def delete(what: Table | Chain | Set | Rule) -> Message:
    """Takes it away; a table with all that is in it, a chain or a set only when nothing refers to it, a rule by its handle."""
    raise NotImplementedError


def flush(what: Table | Chain | Set) -> Message:
    """Empties it: a set of its elements, a chain of its rules, a table of all rules."""
    raise NotImplementedError


def add_elements(there: Set, elements: Iterable[Element]) -> list[Message]:
    """As few messages as there can be: each holds less than 64 KiB of elements."""
    raise NotImplementedError


def delete_elements(there: Set, keys: Iterable[bytes]) -> list[Message]:
    raise NotImplementedError


# -- asking -------------------------------------------------------------------------------------------------


def dump_tables(family: Family | None = None) -> Message:
    raise NotImplementedError


def dump_chains(table: Table) -> Message:
    """All chains of the table's family; ``read_chain`` says whose each is."""
    raise NotImplementedError


def dump_sets(table: Table) -> Message:
    raise NotImplementedError


def dump_rules(table: Table) -> Message:
    raise NotImplementedError


def dump_elements(there: Set) -> Message:
    raise NotImplementedError


def find_elements(there: Set, keys: Sequence[bytes]) -> Message:
    """The elements with these keys, all of which must be there (ObjectMissing)."""
    raise NotImplementedError


def ask_generation() -> Message:
    raise NotImplementedError


# -- reading ------------------------------------------------------------------------------------------------


def read_table(message: Message) -> Table:
    raise NotImplementedError


def read_chain(message: Message) -> Chain:
    raise NotImplementedError


def read_set(message: Message) -> SetState:
    raise NotImplementedError


def read_rule(message: Message) -> Rule:
    raise NotImplementedError


def read_elements(message: Message) -> Iterator[Held]:
    raise NotImplementedError


def read_generation(message: Message) -> Generation:
    raise NotImplementedError
