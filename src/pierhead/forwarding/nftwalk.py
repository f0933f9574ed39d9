"""``Walk``: one packet on its way through a ``Ruleset``, and each rule that said something about it.

It computes as the kernel does, in registers and bytes, so that it says whether compiled rules do what the ForwardingTable means, and
of a table that was read from the kernel which rule decides.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.forwarding.nftmodel import Data, HeldRule, Ruleset
from pierhead.wire import instructions as i
from pierhead.wire.expressions import (
    ACCEPT,
    LOCAL,
    Base,
    Compare,
    Ct,
    FibFlag,
    FibResult,
    Meta,
    State,
    Status,
    Verdict,
    interface,
)
from pierhead.wire.nftables import Hook

Address: TypeAlias = IPv4Address | IPv6Address
Pick: TypeAlias = Callable[[int], int]
"""A number below the given one."""


class Sent(msgspec.Struct, frozen=True):
    """The first packet of a connection, as a hook sees it."""

    source: Address
    destination: Address
    protocol: int
    port: int
    source_port: int = 40000
    link: str = ""
    """The interface by which it came; empty: the node sent it."""


class Looked(NamedTuple):
    """A set that was asked, or told."""

    there: str
    key: bytes
    data: Data
    found: bool


class Step(NamedTuple):
    """A rule that the packet met."""

    chain: str
    position: int
    """From 1."""
    rule: HeldRule
    looked: tuple[Looked, ...]
    """In the order of the rule's expressions; those behind the one that ended it are missing."""
    done: bool
    """It was for this packet up to its end."""
    verdict: Verdict | None

    def __str__(self) -> str:
        return f"{self.chain} {self.position}"


class Fate(msgspec.Struct, frozen=True):
    """What became of it."""

    verdict: str
    """``forward`` (translated), ``pass`` (let through as it was), ``reject`` or ``drop``."""
    why: tuple[Step, ...]
    """The rules that did something or asked a set, the one that decided last."""
    destination: Address
    port: int
    masquerade: bool = False
    learnt: tuple[Looked, ...] = ()
    """What the rules themselves add to sets. The walk leaves them as they are."""


class Unwalkable(Exception):
    """A rule of somebody else's stands in the way, and nobody here knows what it does."""


class _Stop(Exception):
    """The rest of the rule is not for this packet."""


@dataclass(slots=True)
class _Ended(Exception):
    verdict: str


UNICAST: Final = struct.pack("=I", 1)
"""What ``fib … type`` gives for an address of somebody else's (RTN_UNICAST)."""
LO: Final = interface("lo")
DEPTH: Final = 16
"""Jumps within jumps, at most: the kernel's own limit."""


class Walk:
    """One packet on its way through the hooks of a ruleset."""

    def __init__(self, rules: Ruleset, packet: Sent, pick: Pick, is_local: Callable[[Address], bool]) -> None:
        self._rules, self._packet, self._pick, self._is_local = rules, packet, pick, is_local
        self._original = packet
        self._registers = bytearray(64)
        self._leaving: int | None = None
        """The register that holds the link by which it leaves, where that is not known."""
        self._mark = 0
        self._status = 0
        self._masquerade = False
        self._link = packet.link
        self._why: list[Step] = []
        self._looked: list[Looked] = []
        self._learnt: list[Looked] = []
        self._does: Mapping[type[Any], Callable[[Any], Verdict | None]] = {
            i.Bitwise: self._bitwise,
            i.Cmp: self._cmp,
            i.Count: lambda _: None,
            i.Fib: self._fib,
            i.Immediate: self._immediate,
            i.LoadCt: self._ct,
            i.LoadMeta: self._meta,
            i.Lookup: self._lookup,
            i.Masquerade: self._masq,
            i.Nat: self._nat,
            i.Numgen: self._numgen,
            i.Payload: self._payload,
            i.Reject: self._reject,
            i.SetMeta: self._set_meta,
            i.Update: self._update,
        }

    def run(self) -> Fate:
        """Raises: Unwalkable."""
        try:
            self._hooks()
        except _Ended as ended:
            return self._fate(ended.verdict)
        return self._fate("forward" if self._status & Status.DNAT else "pass")

    def _hooks(self) -> None:
        self._hook(Hook.PREROUTING if self._original.link else Hook.OUTPUT)
        here = self._is_local(self._packet.destination)
        if self._original.link and here:
            self._hook(Hook.INPUT)
            return
        if self._original.link:
            self._hook(Hook.FORWARD)
        self._hook(Hook.POSTROUTING)
        if here:
            self._link = "lo"
            self._hook(Hook.PREROUTING, nat=False)
            self._hook(Hook.INPUT)

    def _fate(self, verdict: str) -> Fate:
        packet = self._packet
        return Fate(verdict, tuple(self._why), packet.destination, packet.port, self._masquerade, tuple(self._learnt))

    def _hook(self, hook: Hook, *, nat: bool = True) -> None:
        for name, chain in self._rules.base(hook):
            if (nat or chain.kind != "nat") and not self._chain(name) and chain.drops:
                raise _Ended("drop")

    def _chain(self, name: str, depth: int = 0) -> bool:
        """True: decided for this base chain, the packet goes on to the next one."""
        assert depth < DEPTH, "the kernel refuses loops"
        for position, rule in enumerate(self._rules.chains[name].rules, 1):
            verdict = self._rule(name, position, rule)
            if verdict is None:
                continue
            match verdict.code:
                case 0:
                    raise _Ended("drop")
                case 1:
                    return True
                case -1:  # go on with the next rule: somebody else's
                    continue
                case -5:
                    return False
                case -3:
                    if self._chain(verdict.chain, depth + 1):
                        return True
                case -4:
                    return self._chain(verdict.chain, depth + 1)
                case other:
                    raise Unwalkable(f"verdict {other}")
        return False

    def _rule(self, chain: str, position: int, rule: HeldRule) -> Verdict | None:
        """Its verdict, noted with what led to it."""
        self._looked = []
        verdict, done, ended = None, True, None
        try:
            verdict = self._perform(rule)
        except _Stop:
            done = False
        except _Ended as error:
            ended = error
        if done or self._looked:
            self._why.append(Step(chain, position, rule, tuple(self._looked), done, verdict))
        if ended:
            raise ended
        return verdict

    def _perform(self, rule: HeldRule) -> Verdict | None:
        for instruction in rule:
            does = self._does.get(type(instruction))
            if does is None:
                raise Unwalkable(f"{instruction}")
            verdict = does(instruction)
            if verdict is not None:
                return verdict
        return None

    # -- instructions

    def _get(self, register: int, length: int) -> bytes:
        at = _offset(register)
        return bytes(self._registers[at : at + length])

    def _put(self, register: int, value: bytes) -> None:
        if register == self._leaving:
            self._leaving = None
        at = _offset(register)
        padded = value + bytes(-len(value) % 4)
        self._registers[at : at + len(padded)] = padded

    def _payload(self, found: i.Payload) -> None:
        for base, start, data in self._headers():
            at = found.offset - start
            if found.base == base and at >= 0 and at + found.length <= len(data):
                self._put(found.into, data[at : at + found.length])
                return
        raise Unwalkable(f"{found}")

    def _headers(self) -> Iterator[tuple[Base, int, bytes]]:
        """What is known of them, and where it begins."""
        packet = self._packet
        protocol, addresses = (9, 12) if packet.source.version == 4 else (6, 8)
        yield Base.NETWORK, protocol, bytes((packet.protocol,))
        yield Base.NETWORK, addresses, packet.source.packed + packet.destination.packed
        yield Base.TRANSPORT, 0, struct.pack("!HH", packet.source_port, packet.port)

    def _meta(self, found: i.LoadMeta) -> None:
        match found.key:
            case Meta.MARK:
                value = self._mark.to_bytes(4, _HOST)
            case Meta.L4PROTO:
                value = bytes((self._packet.protocol,))
            case Meta.IIFNAME:
                value = interface(self._link)
            case Meta.OIFNAME:
                self._leave(found.into)
                return
            case _:
                raise Unwalkable(f"meta {found.key}")
        self._put(found.into, value)

    def _leave(self, register: int) -> None:
        """By which link it leaves the node is for routes to say; known is only that it does."""
        here = self._is_local(self._packet.destination)
        self._put(register, LO if here else bytes(len(LO)))
        self._leaving = None if here else register

    def _fib(self, found: i.Fib) -> None:
        if found.result != FibResult.TYPE or found.flags not in (FibFlag.SADDR, FibFlag.DADDR):
            raise Unwalkable(f"fib {found.flags} {found.result}")
        asked = self._packet.source if found.flags == FibFlag.SADDR else self._packet.destination
        self._put(found.into, LOCAL if self._is_local(asked) else UNICAST)

    def _set_meta(self, found: i.SetMeta) -> None:
        if found.key == Meta.MARK:
            self._mark = int.from_bytes(self._get(found.source, 4), _HOST)

    def _ct(self, found: i.LoadCt) -> None:
        match found.key:
            case Ct.STATE:
                value = int(State.NEW).to_bytes(4, _HOST)
            case Ct.STATUS:
                value = self._status.to_bytes(4, _HOST)
            case Ct.DST_IP | Ct.DST_IP6:
                value = self._original.destination.packed
            case _:
                raise Unwalkable(f"ct {found.key}")
        self._put(found.into, value)

    def _cmp(self, found: i.Cmp) -> None:
        if found.source == self._leaving and found.value != LO:
            raise Unwalkable(f"{found}")
        there = self._get(found.source, len(found.value))
        if not _COMPARES[found.operator](there, found.value):
            raise _Stop

    def _bitwise(self, found: i.Bitwise) -> None:
        value = self._get(found.source, len(found.mask))
        self._put(found.into, bytes((a & b) ^ c for a, b, c in zip(value, found.mask, found.xor, strict=True)))

    def _lookup(self, found: i.Lookup) -> Verdict | None:
        there = self._rules.sets[found.there]
        if there.ranges:
            raise Unwalkable(f"set {found.there} holds ranges")
        if found.source == self._leaving:
            raise Unwalkable(f"{found}")
        key = self._get(found.source, there.key)
        data, hit = there.elements.get(key), key in there.elements
        self._looked.append(Looked(found.there, key, data, hit))
        if hit is found.inverse:
            raise _Stop
        if isinstance(data, Verdict):
            return data
        if found.into is not None and data is not None:
            self._put(found.into, data)
        return None

    def _numgen(self, found: i.Numgen) -> None:
        self._put(found.into, (self._pick(found.modulus) + found.offset).to_bytes(4, _HOST))

    def _immediate(self, found: i.Immediate) -> Verdict | None:
        if isinstance(found.data, Verdict):
            return found.data
        self._put(found.into, found.data)
        return None

    def _nat(self, found: i.Nat) -> Verdict:
        packet = self._packet
        address = type(packet.destination)(self._get(found.address, len(packet.destination.packed)))
        port = packet.port if found.port is None else int.from_bytes(self._get(found.port, 2), "big")
        if not found.destination:
            raise Unwalkable("snat")
        self._packet = replace(packet, destination=address, port=port)
        self._status |= Status.DNAT
        return ACCEPT

    def _masq(self, _: i.Masquerade) -> Verdict:
        self._masquerade = True
        return ACCEPT

    def _reject(self, _: i.Reject) -> None:
        raise _Ended("reject")

    def _update(self, found: i.Update) -> None:
        there = self._rules.sets[found.there]
        key = self._get(found.source, there.key)
        data = None if found.data is None else self._get(found.data, there.data)
        self._learnt.append(Looked(found.there, key, data, key in there.elements))


def fates(rules: Ruleset, packet: Sent, is_local: Callable[[Address], bool]) -> Iterator[Fate]:
    """What becomes of packets like this one, whatever the dice say: one for each number that they can show.

    Raises:
        Unwalkable: see there.
    """
    dice = _Dice()
    while dice.number < dice.sides:
        yield Walk(rules, packet, dice, is_local).run()
        dice.number += 1


class _Dice:
    """Shows one number, and remembers how many it could have shown."""

    number = 0
    sides = 1

    def __call__(self, below: int) -> int:
        self.sides = max(self.sides, below)
        return self.number % below


_HOST: Final = "little" if struct.pack("=H", 1)[0] else "big"
_COMPARES: Final[Mapping[Compare, Callable[[bytes, bytes], bool]]] = {
    Compare.EQUAL: bytes.__eq__,
    Compare.NOT_EQUAL: bytes.__ne__,
    Compare.LESS: bytes.__lt__,
    Compare.LESS_OR_EQUAL: bytes.__le__,
    Compare.GREATER: bytes.__gt__,
    Compare.GREATER_OR_EQUAL: bytes.__ge__,
}


def _offset(register: int) -> int:
    return (register - 8) * 4 if register >= 8 else (register - 1) * 16
