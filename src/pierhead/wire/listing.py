"""Asking nftables what it holds, and reading the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from pierhead.errors import AnswerMalformed
from pierhead.wire.expressions import Verdict
from pierhead.wire.instructions import Instruction, read, read_data
from pierhead.wire.netlink import Flag, Message, attributes, each, number, string
from pierhead.wire.nftables import (
    ARP_HOOKS,
    Base,
    Chain,
    Family,
    Hook,
    Kind,
    Rule,
    Set,
    Table,
    TableFlag,
    about,
    header,
)

_FAMILIES: Final = {bytes((found,)) for found in Family}


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


class SetState(msgspec.Struct, frozen=True):
    """What the kernel says of a set without reading its elements."""

    table: Table
    name: str
    count: int | None
    """Elements now; None: this kernel does not say."""


class Generation(msgspec.Struct, frozen=True):
    """Every commit to any table of the namespace makes a new one."""

    number: int
    """Each is one more than the last; after 2^32 - 1 comes 1."""
    pid: int
    """In a notice: who committed; in the answer to a question: who asks. As the first pid namespace counts."""
    program: str
    """Its name as ``comm`` has it: 15 characters at most."""


# -- asking -------------------------------------------------------------------------------------------------


def dump_tables(family: Family | None = None) -> Message:
    return Message(Kind.GETTABLE, header(family or 0), Flag.DUMP, "tables")


def dump_chains(table: Table) -> Message:
    """All chains of the table's family; ``read_chain`` says whose each is."""
    return Message(Kind.GETCHAIN, header(table.family), Flag.DUMP, f"chains of {table}")


def dump_sets(table: Table) -> Message:
    return about(Kind.GETSET, table, flags=Flag.DUMP)


def dump_rules(table: Table) -> Message:
    return about(Kind.GETRULE, table, flags=Flag.DUMP)


def dump_elements(there: Set) -> Message:
    return about(Kind.GETSETELEM, there, flags=Flag.DUMP)


def find_set(there: Set) -> Message:
    return about(Kind.GETSET, there)


def ask_generation() -> Message:
    return Message(Kind.GETGEN, header(0), 0, "the ruleset's generation")


# -- reading ------------------------------------------------------------------------------------------------

_COMMENT: Final = 0


def read_table(message: Message) -> Table:
    """From one answer to ``dump_tables``."""
    found = _terms(message)
    name, flags = string(_need(found, 1)), TableFlag(number(found.get(2, b"")))
    return Table(_family(message), name, _remembered(found.get(6, b"")), flags)


def read_tables(messages: Iterable[Message]) -> Iterator[Table]:
    """From the answers to ``dump_tables``, without those of families that no packet of ours meets (netdev, and what kernels to come
    have): whatever others keep there."""
    return (read_table(message) for message in messages if message.body[:1] in _FAMILIES)


def read_chain(message: Message) -> Chain:
    """From the answers to ``dump_chains``. One at a hook that is not of our ``Hook`` (ingress, of family inet) has no base: no packet
    that we judge comes to it by itself."""
    found = _terms(message)
    table = Table(_family(message), string(_need(found, 1)))
    return Chain(table, string(_need(found, 3)), _read_base(table.family, found) if 4 in found else None)


def read_set(message: Message) -> SetState:
    """From the answers to ``dump_sets`` and ``find_set``."""
    found = _terms(message)
    table = Table(_family(message), string(_need(found, 1)))
    return SetState(table, string(_need(found, 2)), number(found[20]) if 20 in found else None)


def read_rule(message: Message) -> Rule:
    """From the answers to ``dump_rules``."""
    found = _terms(message)
    chain = Chain(Table(_family(message), string(_need(found, 1))), string(_need(found, 2)))
    return Rule(chain, (found.get(4, b""),), _remembered(found.get(7, b"")), number(_need(found, 3)))


def read_instructions(message: Message) -> tuple[Instruction, ...]:
    """What a rule does, from the answers to ``dump_rules``, and from the message by which it is made."""
    return read(_terms(message).get(4, b""))


def read_elements(message: Message) -> Iterator[Held]:
    """From the answers to ``dump_elements`` and ``find_elements``."""
    for _, listed in each(_terms(message).get(3, b"")):
        found = attributes(listed)
        data = read_data(found[2]) if 2 in found else None
        timeout, expires = number(found.get(4, b"")), number(found.get(5, b""))
        yield Held(_need(attributes(_need(found, 1)), 1), data, timeout, expires, *_counted(found))


def read_key(element: bytes) -> bytes:
    """The key of one element, as ``KernelError.attribute`` has a refused one."""
    return _need(attributes(_need(attributes(element), 1)), 1)


def read_generation(message: Message) -> Generation:
    """From the answer to ``ask_generation``, and from a notice."""
    found = _terms(message)
    return Generation(number(_need(found, 1)), number(found.get(2, b"")), string(found.get(3, b"")))


def table_of(message: Message) -> Table | None:
    """The table that a notice of anything but a generation is about; None: one of a family that we know nothing of."""
    try:
        return Table(_family(message), string(_need(_terms(message), 1)))
    except AnswerMalformed:
        return None


def _terms(message: Message) -> dict[int, bytes]:
    return attributes(message.body[4:])


def _family(message: Message) -> Family:
    try:
        return Family(message.body[0])
    except (IndexError, ValueError):
        raise AnswerMalformed("nftables of a family that does not exist") from None


def _need(found: dict[int, bytes], kind: int) -> bytes:
    if kind not in found:
        raise AnswerMalformed(f"attribute {kind} is missing")
    return found[kind]


def _remembered(userdata: bytes) -> str:
    """The comment in a table's or a rule's userdata; others' may hold anything."""
    at = 0
    while at + 2 <= len(userdata):
        kind, length = userdata[at], userdata[at + 1]
        if kind == _COMMENT:
            return string(userdata[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _read_base(family: Family, found: dict[int, bytes]) -> Base | None:
    hook = attributes(found[4])
    point = number(_need(hook, 1))
    if family is Family.ARP:
        point = {there: ours for ours, there in ARP_HOOKS.items()}.get(point, Hook.FORWARD)
    if point not in set(Hook):
        return None
    priority = int.from_bytes(_need(hook, 2), "big", signed=True)
    return Base(string(_need(found, 7)), Hook(point), priority, drops=number(found.get(5, b"\1")) == 0)


def _counted(found: dict[int, bytes]) -> tuple[int, int]:
    """Packets and bytes, where the element's expression (or the first of several) is a counter."""
    said = attributes(found.get(7) or next((value for _, value in each(found.get(11, b""))), b""))
    if string(said.get(1, b"")) != "counter":
        return 0, 0
    counts = attributes(said.get(2, b""))
    return number(counts.get(2, b"")), number(counts.get(1, b""))
