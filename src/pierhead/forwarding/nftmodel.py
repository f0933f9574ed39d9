"""``Ruleset``: what the kernel holds of one table, as a value: as our messages make it, or as the kernel itself told it.

Both are the same messages, so that one reader does for both. Of ours it refuses what the kernel refuses. ``nftwalk`` leads packets
through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec.structs import replace

from pierhead.errors import ObjectBusy, ObjectExists, ObjectMissing
from pierhead.wire.expressions import Verdict
from pierhead.wire.instructions import Instruction, Lookup, read_data
from pierhead.wire.listing import read_instructions
from pierhead.wire.netlink import Message, attributes, each, number, string
from pierhead.wire.nftables import Hook, Kind, SetFlag, Table, TableFlag

Data: TypeAlias = bytes | Verdict | None
HeldRule: TypeAlias = tuple[Instruction, ...]

INLINE: Final = "__"
"""What the names of anonymous sets begin with. Nobody chose them."""


@dataclass(slots=True)
class HeldSet:
    key: int
    """Bytes."""
    data: int
    size: int
    key_type: int = 0
    """As ``nft`` numbers it, see ``datatypes``."""
    data_type: int = 0
    ranges: bool = False
    """It holds ranges of keys. None of ours does, and they are not read."""
    elements: dict[bytes, Data] = field(default_factory=dict)


@dataclass(slots=True)
class HeldChain:
    hook: Hook | None = None
    priority: int = 0
    kind: str = ""
    drops: bool = False
    """What no rule decided about is dropped at its end."""
    rules: list[HeldRule] = field(default_factory=list)


class Ruleset:
    """One table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.chains: dict[str, HeldChain] = {}
        self.sets: dict[str, HeldSet] = {}
        self._anonymous: dict[int, str] = {}

    def apply(self, messages: Iterable[Message]) -> None:
        """One transaction, or what dumps of chains, sets, elements and rules (in this order) told; messages about other tables are
        left out. After an error what is held is worth nothing.

        Raises:
            ObjectMissing, ObjectExists, ObjectBusy: as the kernel.
        """
        self._anonymous = {}
        for message in messages:
            found = attributes(message.body[4:])
            if message.body[0] == self.table.family and string(found[1]) == self.table.name:
                self._apply(message, found)

    def _apply(self, message: Message, found: dict[int, bytes]) -> None:
        match message.kind:
            case Kind.DELTABLE:
                self.chains, self.sets = {}, {}
            case Kind.NEWCHAIN:
                self.chains.setdefault(string(found[3]), _chain(found))
            case Kind.DELCHAIN:
                self._delete_chain(string(found[3]))
            case Kind.NEWSET:
                self._new_set(found)
            case Kind.NEWRULE:
                self._new_rule(string(found[2]), message, found.get(4, b""))
            case Kind.DELRULE:
                for name in [string(found[2])] if 2 in found else list(self.chains):
                    self.chains[name].rules.clear()
            case Kind.NEWSETELEM:
                there = self._set(found)
                self._add(there, iter(()) if there.ranges else _elements(found), message.subject)
            case Kind.DELSETELEM:
                self._remove(self._set(found), found, message.subject)

    def _delete_chain(self, name: str) -> None:
        targets = {
            data.chain for held in self.sets.values() for data in held.elements.values() if isinstance(data, Verdict)
        }
        if name in targets or self.chains[name].rules:
            raise ObjectBusy(16, f"chain {name}", "something refers to it")
        del self.chains[name]

    def _new_set(self, found: dict[int, bytes]) -> None:
        name, anonymous = string(found[2]), number(found.get(10, b""))
        if anonymous:
            name = self._anonymous[anonymous] = f"{INLINE}set{len(self.sets)}"
        size = number(attributes(found[9]).get(1, b"")) if 9 in found else 0
        key, data, key_type, data_type = (number(found.get(kind, b"")) for kind in (5, 7, 4, 6))
        ranges = bool(number(found.get(3, b"")) & SetFlag.INTERVAL)
        self.sets.setdefault(name, HeldSet(key, data, size, key_type, data_type, ranges))

    def _new_rule(self, chain: str, message: Message, expressions: bytes) -> None:
        numbers = [
            number(attributes(attributes(part).get(2, b"")).get(4, b"")) if self._anonymous else 0
            for _, part in each(expressions)
        ]
        self.chains[chain].rules.append(tuple(map(self._named, read_instructions(message), numbers)))

    def _named(self, found: Instruction, anonymous: int) -> Instruction:
        """Anonymous sets by a name of their own."""
        if isinstance(found, Lookup) and found.there == f"{INLINE}set%d":
            return replace(found, there=self._anonymous[anonymous])
        return found

    def _set(self, found: dict[int, bytes]) -> HeldSet:
        name = self._anonymous[number(found[4])] if 4 in found else string(found[2])
        if name not in self.sets:
            raise ObjectMissing(2, f"set {name}", "does not exist")
        return self.sets[name]

    def _add(self, there: HeldSet, elements: Iterator[tuple[bytes, Data]], subject: str) -> None:
        for key, data in elements:
            if there.elements.get(key, data) != data:
                raise ObjectExists(17, subject, f"{key.hex()} is there with other data")
            if isinstance(data, Verdict) and data.chain and data.chain not in self.chains:
                raise ObjectMissing(2, subject, f"chain {data.chain} does not exist")
            there.elements[key] = data

    def _remove(self, there: HeldSet, found: dict[int, bytes], subject: str) -> None:
        if 3 not in found:
            there.elements.clear()
            return
        for key, _ in _elements(found):
            if key not in there.elements:
                raise ObjectMissing(2, subject, f"{key.hex()} is not there")
            del there.elements[key]

    @property
    def dormant(self) -> bool:
        return bool(self.table.flags & TableFlag.DORMANT)

    def base(self, hook: Hook) -> list[tuple[str, HeldChain]]:
        """Chains in the order in which a packet meets them there; none in a table that sleeps."""
        if self.dormant:
            return []
        found = [(name, chain) for name, chain in self.chains.items() if chain.hook is hook]
        return sorted(found, key=lambda item: item[1].priority)


def _chain(found: dict[int, bytes]) -> HeldChain:
    if 4 not in found:
        return HeldChain()
    hook = attributes(found[4])
    priority = int.from_bytes(hook[2], "big", signed=True)
    return HeldChain(Hook(number(hook[1])), priority, string(found[7]), drops=number(found.get(5, b"\1")) == 0)


def _elements(found: dict[int, bytes]) -> Iterator[tuple[bytes, Data]]:
    for _, listed in each(found.get(3, b"")):
        terms = attributes(listed)
        if 1 not in terms:  # for every key that is not there: nobody here makes one
            continue
        yield attributes(terms[1])[1], read_data(terms[2]) if 2 in terms else None
