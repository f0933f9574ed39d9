"""Rules, keys and elements in words, for who has to read them and is no kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntFlag
from ipaddress import ip_address, ip_network
from typing import Final, Literal, NamedTuple

from pierhead.forwarding.nftmodel import INLINE, HeldSet, Ruleset
from pierhead.forwarding.nftwalk import Looked, Step
from pierhead.wire import instructions as i
from pierhead.wire.datatypes import IFNAME, INET_PROTO, INET_SERVICE, IPV4_ADDR, IPV6_ADDR, MARK, NUMGEN, Type
from pierhead.wire.expressions import LOCAL, Base, Compare, Ct, FibFlag, FibResult, Meta, State, Status, Verdict
from pierhead.wire.netlink import host_number, number, string

_TYPES: Final = {kind.number: kind for kind in (IPV4_ADDR, IPV6_ADDR, INET_PROTO, INET_SERVICE, MARK, IFNAME, NUMGEN)}
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_VERDICTS: Final = {
    0: "drop it",
    1: "let it pass",
    -1: "go on",
    -5: "back to the chain before",
    -3: "jump to",
    -4: "go to",
}
_OPERATORS: Final = {
    Compare.EQUAL: "is",
    Compare.NOT_EQUAL: "is not",
    Compare.LESS: "is below",
    Compare.LESS_OR_EQUAL: "is at most",
    Compare.GREATER: "is above",
    Compare.GREATER_OR_EQUAL: "is at least",
}
_BITS: Final[Mapping[IntFlag, str]] = {Status.DNAT: "translated"}
_BITS_OF_A_PART: Final = 6


class _Name(NamedTuple):
    """What a register holds."""

    text: str
    kind: Type | type[IntFlag] | Literal["whose"] | None = None
    """``whose``: a kind of address, as routes tell it."""
    mask: bytes = b""


_PAYLOADS: Final[Mapping[tuple[int, int, int], _Name]] = {
    (Base.NETWORK, 9, 1): _Name("its protocol", INET_PROTO),
    (Base.NETWORK, 6, 1): _Name("its protocol", INET_PROTO),
    (Base.NETWORK, 12, 4): _Name("its source", IPV4_ADDR),
    (Base.NETWORK, 16, 4): _Name("its destination", IPV4_ADDR),
    (Base.NETWORK, 8, 16): _Name("its source", IPV6_ADDR),
    (Base.NETWORK, 24, 16): _Name("its destination", IPV6_ADDR),
    (Base.TRANSPORT, 0, 2): _Name("its source port", INET_SERVICE),
    (Base.TRANSPORT, 2, 2): _Name("its port", INET_SERVICE),
}
_METAS: Final[Mapping[int, _Name]] = {
    Meta.MARK: _Name("its mark", MARK),
    Meta.L4PROTO: _Name("its protocol", INET_PROTO),
    Meta.IIFNAME: _Name("the link it came by", IFNAME),
    Meta.OIFNAME: _Name("the link it leaves by", IFNAME),
}
_CTS: Final[Mapping[int, _Name]] = {
    Ct.STATE: _Name("its connection", State),
    Ct.STATUS: _Name("its connection", Status),
    Ct.DST_IP: _Name("its first destination", IPV4_ADDR),
    Ct.DST_IP6: _Name("its first destination", IPV6_ADDR),
}


def words(step: Step, rules: Ruleset) -> str:
    """What a rule looks at, and what it does then; of a rule that a packet met also what its sets held for this packet."""
    said = _Said(step, rules)
    for instruction in step.rule:
        said.add(instruction)
        if said.missed:
            return ", ".join(said.conditions)
    return f"{', '.join(said.conditions)}: {said.outcome}" if said.conditions else said.outcome


def element(looked: Looked, rules: Ruleset) -> str:
    """``10.96.0.5 . tcp . 80``, and the value to which a map leads it."""
    there = rules.sets[looked.there]
    leads = f" → {_value(there.data_type, looked.data)}" if isinstance(looked.data, bytes) else ""
    return _value(there.key_type, looked.key) + leads


class _Said:
    """A rule on its way into words."""

    def __init__(self, step: Step, rules: Ruleset) -> None:
        self._rules, self._verdict = rules, step.verdict
        self._looked = iter(step.looked)
        self._named: dict[int, _Name] = {}
        self.conditions: list[str] = []
        self.outcome = "go on"
        self.missed = False
        """A set did not hold what it was asked for: the packet met no more of the rule."""

    def add(self, found: i.Instruction) -> None:
        match found:
            case i.Payload(base, offset, length, into):
                self._named[into] = _PAYLOADS.get((base, offset, length), _Name(f"its bytes from {offset} on"))
            case i.LoadMeta(key, into):
                self._named[into] = _METAS.get(key, _Name(f"meta {key}"))
            case i.LoadCt(key, into):
                self._named[into] = _CTS.get(key, _Name(f"ct {key}"))
            case i.Fib(flags, FibResult.TYPE, into):
                text = "its source" if flags & FibFlag.SADDR else "its destination"
                self._named[into] = _Name(text, "whose")
            case i.Bitwise(mask, _, source, into):
                self._named[into] = self._name(source)._replace(mask=mask)
            case i.Cmp(value, operator, source):
                self.conditions.append(_compared(self._name(source), operator, value))
            case i.Lookup():
                self._look(found)
            case i.Numgen(modulus):
                self.conditions.append(f"by chance one of {modulus}")
            case i.Unknown(name):
                self.conditions.append(f"{name} (not known here)")
            case _:
                self.outcome = self._outcome(found)

    def _name(self, register: int) -> _Name:
        return self._named.get(register, _Name(f"register {register}"))

    def _look(self, found: i.Lookup) -> None:
        there, looked = self._rules.sets.get(found.there), next(self._looked, None)
        if there is None:
            return
        if found.there.startswith(INLINE):
            if looked is None:  # else it held what the packet has, which the rest of the way tells
                self.conditions.append(f"{self._name(found.source).text} is {'not ' * found.inverse}{_listed(there)}")
            return
        if looked is None:
            self.conditions.append(f"{'not ' if found.inverse else ''}in {found.there}")
            if found.into is not None:
                self._named[found.into] = _Name(f"what {found.there} holds")
            return
        self.conditions.append(f"{element(looked, self._rules)} is {'' if looked.found else 'not '}in {found.there}")
        self.missed = looked.found is found.inverse
        if isinstance(looked.data, Verdict):
            self.outcome = _verdict(looked.data)
        elif looked.data is not None:
            self._named[found.into or 0] = _Name(_value(there.data_type, looked.data))

    def _outcome(self, found: i.Instruction) -> str:
        match found:
            case i.Immediate(Verdict() as verdict):
                return _verdict(verdict)
            case i.Nat(_, _, address):
                return f"its destination becomes {self._name(address).text}"
            case i.Masquerade():
                return "its source becomes the node's address"
            case i.Reject():
                return "refuse it"
            case i.SetMeta():
                return "mark it" if self.outcome == "go on" else self.outcome
            case i.Update(name):
                return f"note it in {name}"
            case _:
                return self.outcome


def _compared(name: _Name, operator: Compare, value: bytes) -> str:
    match name.kind:
        case "whose":
            whose = "the node's own" if value == LOCAL else f"of type {host_number(value)}"
            return f"{name.text} {_OPERATORS[operator]} {whose}"
        case Type() as kind if name.mask and kind in (IPV4_ADDR, IPV6_ADDR):
            inside = f"{ip_address(value)}/{sum(byte.bit_count() for byte in name.mask)}"
            return f"{name.text} is {_not(operator)}in {ip_network(inside, strict=False)}"
        case Type() as kind:
            masked = f" & {host_number(name.mask):#010x}" if len(name.mask) == 4 else ""
            return f"{name.text}{masked} {_OPERATORS[operator]} {_part(kind, value)}"
        case None:
            return f"{name.text} {_OPERATORS[operator]} {value.hex()}"
        case flags if not any(value):
            none = operator is Compare.EQUAL
            return f"{name.text} is {'not ' if none else ''}{' or '.join(_bits(flags, name.mask))}"
        case flags:
            return f"{name.text} {_OPERATORS[operator]} {' and '.join(_bits(flags, value))}"


def _bits(flags: type[IntFlag], mask: bytes) -> Iterator[str]:
    held = host_number(mask) if mask else 0
    return (_BITS.get(found, str(found.name).lower()) for found in flags if found & held)


def _not(operator: Compare) -> str:
    return "not " if operator is Compare.NOT_EQUAL else ""


def _listed(there: HeldSet) -> str:
    """The elements of a set that has no name."""
    return (
        "in some ranges"
        if there.ranges
        else f"one of {', '.join(_value(there.key_type, key) for key in there.elements)}"
    )


def _verdict(verdict: Verdict) -> str:
    return f"{_VERDICTS.get(verdict.code, f'verdict {verdict.code}')} {verdict.chain}".rstrip()


def _value(numbered: int, value: bytes) -> str:
    """A key or data of these types; an address and a port are written as one."""
    kinds = list(_kinds(numbered))
    if len(kinds) == 1:
        return _part(kinds[0], value)
    if kinds in ([IPV4_ADDR, INET_SERVICE], [IPV6_ADDR, INET_SERVICE]):
        return _socket(value)
    return " . ".join(_parts(kinds, value))


def _socket(value: bytes) -> str:
    address = ip_address(value[:-4])
    port = number(value[-4:-2])
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _kinds(numbered: int) -> Iterator[Type | None]:
    shift = (numbered.bit_length() - 1) // _BITS_OF_A_PART * _BITS_OF_A_PART
    for at in range(shift, -1, -_BITS_OF_A_PART):
        yield _TYPES.get(numbered >> at & (1 << _BITS_OF_A_PART) - 1)


def _parts(kinds: Iterable[Type | None], value: bytes) -> Iterator[str]:
    at = 0
    for kind in kinds:
        if kind is None:
            yield value[at:].hex()
            return
        yield _part(kind, value[at : at + kind.length])
        at += (kind.length + 3) & ~3


def _part(kind: Type | None, value: bytes) -> str:
    if kind in (IPV4_ADDR, IPV6_ADDR):
        return str(ip_address(value))
    if kind == INET_PROTO:
        return _PROTOCOLS.get(number(value), str(number(value)))
    if kind == INET_SERVICE:
        return str(number(value))
    if kind == MARK:
        return f"{host_number(value):#010x}"
    if kind == NUMGEN:
        return str(host_number(value))
    return string(value) if kind == IFNAME else value.hex()
