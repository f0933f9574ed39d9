"""``Ruleset``: what the kernel holds after nftables messages, as a value, and what its rules do to a packet.

It reads the same bytes the kernel reads, and refuses what the kernel refuses. So it says whether compiled rules do what the
ForwardingTable means, and of a table that was read from the kernel which rule decides about a packet.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.errors import ObjectBusy, ObjectExists, ObjectMissing
from pierhead.wire.expressions import Base, Ct, Meta, State, Status, Verdict, interface
from pierhead.wire.netlink import Message, attributes, each, number, string
from pierhead.wire.nftables import Family, Hook, Kind

Address: TypeAlias = IPv4Address | IPv6Address
Data: TypeAlias = bytes | Verdict | None
Pick: TypeAlias = Callable[[int], int]
"""A number below the given one."""

ACCEPT: Final = 1


@dataclass(slots=True)
class HeldSet:
    key: int
    """Bytes."""
    data: int
    size: int
    elements: dict[bytes, Data] = field(default_factory=dict)


@dataclass(slots=True)
class HeldChain:
    hook: Hook | None = None
    priority: int = 0
    kind: str = ""
    rules: list[tuple[tuple[str, dict[int, bytes]], ...]] = field(default_factory=list)


class Ruleset:
    """One table of one family."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.chains: dict[str, HeldChain] = {}
        self.sets: dict[str, HeldSet] = {}
        self._anonymous: dict[int, str] = {}

    def apply(self, messages: Iterable[Message]) -> None:
        """One transaction; messages of other families are left out. After an error what is held is worth nothing.

        Raises:
            ObjectMissing, ObjectExists, ObjectBusy: as the kernel.
        """
        self._anonymous = {}
        for message in messages:
            if message.body[0] == self.family:
                self._apply(message, attributes(message.body[4:]))

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
                self._new_rule(string(found[2]), found[4])
            case Kind.DELRULE:
                for name in [string(found[2])] if 2 in found else list(self.chains):
                    self.chains[name].rules.clear()
            case Kind.NEWSETELEM:
                self._add(self._set(found), _elements(found), message.subject)
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
        name, anonymous = string(found[2]), number(found[10])
        if anonymous:
            name = self._anonymous[anonymous] = f"{name} {len(self.sets)}"
        size = number(attributes(found[9])[1]) if 9 in found else 0
        self.sets.setdefault(name, HeldSet(number(found[5]), number(found.get(7, b"")), size))

    def _new_rule(self, chain: str, expressions: bytes) -> None:
        parts = [attributes(part) for _, part in each(expressions)]
        rule = tuple((string(part[1]), self._named(attributes(part.get(2, b"")))) for part in parts)
        self.chains[chain].rules.append(rule)

    def _named(self, terms: dict[int, bytes]) -> dict[int, bytes]:
        """Anonymous sets by a name of their own."""
        if 4 in terms and terms.get(1, b"").startswith(b"__set"):
            return terms | {1: self._anonymous[number(terms[4])].encode() + b"\0"}
        return terms

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

    def base(self, hook: Hook) -> list[tuple[str, HeldChain]]:
        """Chains in the order in which a packet meets them there."""
        found = [(name, chain) for name, chain in self.chains.items() if chain.hook is hook]
        return sorted(found, key=lambda item: item[1].priority)


def _chain(found: dict[int, bytes]) -> HeldChain:
    if 4 not in found:
        return HeldChain()
    hook = attributes(found[4])
    priority = int.from_bytes(hook[2], "big", signed=True)
    return HeldChain(Hook(number(hook[1])), priority, string(found[7]))


def _elements(found: dict[int, bytes]) -> Iterator[tuple[bytes, Data]]:
    for _, listed in each(found[3]):
        terms = attributes(listed)
        yield attributes(terms[1])[1], _data(terms[2]) if 2 in terms else None


def _data(nested: bytes) -> bytes | Verdict:
    found = attributes(nested)
    if 2 in found:
        said = attributes(found[2])
        return Verdict(int.from_bytes(said[1], "big", signed=True), string(said.get(2, b"")))
    return found[1]


# -- a packet -----------------------------------------------------------------------------------------------


class Sent(msgspec.Struct, frozen=True):
    """The first packet of a connection, as a hook sees it."""

    source: Address
    destination: Address
    protocol: int
    port: int
    source_port: int = 40000
    link: str = ""
    """The interface by which it came; empty: the node sent it."""


class Fate(msgspec.Struct, frozen=True):
    """What became of it."""

    verdict: str
    """``forward`` (translated), ``pass`` (let through as it was), ``reject`` or ``drop``."""
    why: tuple[str, ...]
    """The rules that did something, as ``chain rule``."""
    destination: Address
    port: int
    masquerade: bool = False


class _Stop(Exception):
    """The rest of the rule is not for this packet."""


@dataclass(slots=True)
class _Ended(Exception):
    verdict: str


DEPTH: Final = 16
"""Jumps within jumps, at most: the kernel's own limit."""


class Walk:
    """One packet on its way through the hooks of a ruleset."""

    def __init__(self, rules: Ruleset, packet: Sent, pick: Pick, is_local: Callable[[Address], bool]) -> None:
        self._rules, self._packet, self._pick, self._is_local = rules, packet, pick, is_local
        self._original = packet
        self._registers = bytearray(64)
        self._mark = 0
        self._status = 0
        self._masquerade = False
        self._link = packet.link
        self._why: list[str] = []
        self._expressions: Mapping[str, Callable[[dict[int, bytes]], Verdict | None]] = {
            "bitwise": self._bitwise,
            "cmp": self._cmp,
            "ct": self._ct,
            "dynset": self._dynset,
            "immediate": self._immediate,
            "lookup": self._lookup,
            "masq": self._masq,
            "meta": self._meta,
            "nat": self._nat,
            "numgen": self._numgen,
            "payload": self._payload,
            "reject": self._reject,
        }

    def run(self) -> Fate:
        try:
            if self._original.link:
                self._hook(Hook.PREROUTING)
            else:
                self._hook(Hook.OUTPUT)
            here = self._is_local(self._packet.destination)
            if self._original.link and here:
                self._hook(Hook.INPUT)
            else:
                if self._original.link:
                    self._hook(Hook.FORWARD)
                self._hook(Hook.POSTROUTING)
                if here:
                    self._link = "lo"
                    self._hook(Hook.PREROUTING, nat=False)
                    self._hook(Hook.INPUT)
        except _Ended as ended:
            return self._fate(ended.verdict)
        return self._fate("forward" if self._status & Status.DNAT else "pass")

    def _fate(self, verdict: str) -> Fate:
        packet = self._packet
        return Fate(verdict, tuple(self._why), packet.destination, packet.port, self._masquerade)

    def _hook(self, hook: Hook, *, nat: bool = True) -> None:
        for name, chain in self._rules.base(hook):
            if nat or chain.kind != "nat":
                self._chain(name)

    def _chain(self, name: str, depth: int = 0) -> bool:
        """True: decided for this base chain, the packet goes on to the next one."""
        assert depth < DEPTH, "the kernel refuses loops"
        for position, rule in enumerate(self._rules.chains[name].rules, 1):
            verdict = self._rule(rule)
            if verdict is None:
                continue
            self._why.append(f"{name} {position}")
            match verdict.code:
                case 0:
                    raise _Ended("drop")
                case 1:
                    return True
                case -5:
                    return False
                case -3:
                    if self._chain(verdict.chain, depth + 1):
                        return True
                case _:
                    return self._chain(verdict.chain, depth + 1)
        return False

    def _rule(self, rule: tuple[tuple[str, dict[int, bytes]], ...]) -> Verdict | None:
        try:
            for name, terms in rule:
                verdict = self._expressions[name](terms)
                if verdict is not None:
                    return verdict
        except _Stop:
            pass
        return None

    # -- expressions

    def _get(self, register: int, length: int) -> bytes:
        at = _offset(register)
        return bytes(self._registers[at : at + length])

    def _put(self, register: int, value: bytes) -> None:
        at = _offset(register)
        padded = value + bytes(-len(value) % 4)
        self._registers[at : at + len(padded)] = padded

    def _payload(self, terms: dict[int, bytes]) -> None:
        base, offset, length = number(terms[2]), number(terms[3]), number(terms[4])
        data = self._network() if base == Base.NETWORK else self._transport()
        if base == Base.LINK or offset + length > len(data):
            raise _Stop
        self._put(number(terms[1]), data[offset : offset + length])

    def _network(self) -> bytes:
        packet = self._packet
        before = 12 if packet.source.version == 4 else 8
        return bytes(before) + packet.source.packed + packet.destination.packed

    def _transport(self) -> bytes:
        packet = self._packet
        return struct.pack("!HH", packet.source_port, packet.port) + bytes(20)

    def _meta(self, terms: dict[int, bytes]) -> None:
        if 3 in terms:
            self._mark = int.from_bytes(self._get(number(terms[3]), 4), _HOST)
            return
        self._put(number(terms[1]), self._met(Meta(number(terms[2]))))

    def _met(self, key: Meta) -> bytes:
        match key:
            case Meta.MARK:
                return self._mark.to_bytes(4, _HOST)
            case Meta.L4PROTO:
                return bytes((self._packet.protocol,))
            case Meta.IIFNAME:
                return interface(self._link)
            case Meta.OIFNAME:
                return interface("lo" if self._is_local(self._packet.destination) else "")
        raise KeyError(key)

    def _ct(self, terms: dict[int, bytes]) -> None:
        key = Ct(number(terms[2]))
        values = {
            Ct.STATE: int(State.NEW).to_bytes(4, _HOST),
            Ct.STATUS: self._status.to_bytes(4, _HOST),
            Ct.DST_IP: self._original.destination.packed,
            Ct.DST_IP6: self._original.destination.packed,
        }
        self._put(number(terms[1]), values[key])

    def _cmp(self, terms: dict[int, bytes]) -> None:
        value = attributes(terms[3])[1]
        equal = self._get(number(terms[1]), len(value)) == value
        if equal is bool(number(terms[2])):
            raise _Stop

    def _bitwise(self, terms: dict[int, bytes]) -> None:
        mask, xor = attributes(terms[4])[1], attributes(terms[5])[1]
        value = self._get(number(terms[1]), len(mask))
        found = bytes((a & b) ^ c for a, b, c in zip(value, mask, xor, strict=True))
        self._put(number(terms[2]), found)

    def _lookup(self, terms: dict[int, bytes]) -> Verdict | None:
        there = self._rules.sets[string(terms[1])]
        key = self._get(number(terms[2]), there.key)
        inverse = bool(number(terms.get(5, b"")))
        if (key in there.elements) is inverse:
            raise _Stop
        data = there.elements.get(key)
        if isinstance(data, Verdict):
            return data
        if 3 in terms and data is not None:
            self._put(number(terms[3]), data)
        return None

    def _numgen(self, terms: dict[int, bytes]) -> None:
        self._put(number(terms[1]), self._pick(number(terms[2])).to_bytes(4, _HOST))

    def _immediate(self, terms: dict[int, bytes]) -> Verdict | None:
        data = _data(terms[2])
        if isinstance(data, Verdict):
            return data
        self._put(number(terms[1]), data)
        return None

    def _nat(self, terms: dict[int, bytes]) -> Verdict:
        packet = self._packet
        address = self._get(number(terms[3]), len(packet.destination.packed))
        port = int.from_bytes(self._get(number(terms[5]), 2), "big")
        self._packet = replace(packet, destination=type(packet.destination)(address), port=port)
        self._status |= Status.DNAT
        return Verdict(ACCEPT)

    def _masq(self, _: dict[int, bytes]) -> Verdict:
        self._masquerade = True
        return Verdict(ACCEPT)

    def _reject(self, _: dict[int, bytes]) -> None:
        self._why.append("reject")
        raise _Ended("reject")

    def _dynset(self, terms: dict[int, bytes]) -> None:
        there = self._rules.sets[string(terms[1])]
        key = self._get(number(terms[4]), there.key)
        data = self._get(number(terms[5]), there.data) if 5 in terms else None
        there.elements.setdefault(key, data)


_HOST: Final = "little" if struct.pack("=H", 1)[0] else "big"


def _offset(register: int) -> int:
    return (register - 8) * 4 if register >= 8 else (register - 1) * 16
