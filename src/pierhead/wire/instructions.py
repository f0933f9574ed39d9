"""What a rule does, as values: the expressions that ``expressions`` builds, read from a rule of ours or from one that the kernel told.

The two differ in order, and in what goes without saying; as values they are equal. What this house never builds is ``Unknown``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from pierhead.errors import AnswerMalformed
from pierhead.wire.expressions import Compare, NatFlag, Verdict
from pierhead.wire.netlink import attributes, each, number, string

Terms: TypeAlias = dict[int, bytes]


class Payload(msgspec.Struct, frozen=True):
    base: int
    offset: int
    length: int
    into: int


class LoadMeta(msgspec.Struct, frozen=True):
    key: int
    into: int


class SetMeta(msgspec.Struct, frozen=True):
    key: int
    source: int


class LoadCt(msgspec.Struct, frozen=True):
    key: int
    into: int
    direction: int | None = None


class SetCt(msgspec.Struct, frozen=True):
    key: int
    source: int


class Numgen(msgspec.Struct, frozen=True):
    modulus: int
    into: int
    random: bool = True
    offset: int = 0


class Hash(msgspec.Struct, frozen=True):
    source: int
    length: int
    modulus: int
    into: int
    seed: int = 0
    """0: the kernel picked one."""
    offset: int = 0


class Fib(msgspec.Struct, frozen=True):
    flags: int
    result: int
    into: int


class Cmp(msgspec.Struct, frozen=True):
    value: bytes
    operator: Compare
    source: int


class Bitwise(msgspec.Struct, frozen=True):
    mask: bytes
    xor: bytes
    source: int
    into: int


class Immediate(msgspec.Struct, frozen=True):
    """A value for a register, or, into register 0, the verdict."""

    data: bytes | Verdict
    into: int


class Lookup(msgspec.Struct, frozen=True):
    there: str
    """The set's name, as the kernel has it."""
    source: int
    into: int | None = None
    inverse: bool = False


class Update(msgspec.Struct, frozen=True):
    there: str
    source: int
    data: int | None = None
    timeout: int = 0
    """Milliseconds; 0: the set's own."""
    add: bool = False


class Nat(msgspec.Struct, frozen=True):
    destination: bool
    """False: the source is translated."""
    family: int
    address: int
    port: int | None = None


class Masquerade(msgspec.Struct, frozen=True):
    flags: NatFlag = NatFlag(0)


class Reject(msgspec.Struct, frozen=True):
    reset: bool
    """By a TCP reset; else by an unreachable message with ``code``."""
    code: int = 0


class Count(msgspec.Struct, frozen=True):
    """Packets and bytes; how many is no matter of the rule."""


class NoTrack(msgspec.Struct, frozen=True):
    pass


class Unknown(msgspec.Struct, frozen=True):
    """Somebody else's: we know its name and not what it does."""

    name: str


Instruction: TypeAlias = (
    Payload | LoadMeta | SetMeta | LoadCt | SetCt | Numgen | Hash | Fib | Cmp | Bitwise | Immediate | Lookup | Update | Nat
    | Masquerade | Reject | Count | NoTrack | Unknown
)  # fmt: skip


def read(expressions: bytes) -> tuple[Instruction, ...]:
    """``expressions``: the list of a rule, all elements as one.

    Raises:
        AnswerMalformed: something that must be there is missing.
    """
    found = []
    for _, one in each(expressions):
        parts = attributes(one)
        name = string(_need(parts, 1))
        reader = _READERS.get(name, lambda _, name=name: Unknown(name))
        found.append(reader(attributes(parts.get(2, b""))))
    return tuple(found)


def read_data(nested: bytes) -> bytes | Verdict:
    """The data of an element or of an immediate."""
    found = attributes(nested)
    if 2 in found:
        said = attributes(found[2])
        return Verdict(int.from_bytes(_need(said, 1), "big", signed=True), string(said.get(2, b"")))
    return _need(found, 1)


def _need(found: Terms, kind: int) -> bytes:
    if kind not in found:
        raise AnswerMalformed(f"attribute {kind} is missing")
    return found[kind]


def _number(found: Terms, kind: int) -> int:
    return number(_need(found, kind))


def _maybe(found: Terms, kind: int) -> int | None:
    return number(found[kind]) if kind in found else None


def _or_zero(found: Terms, kind: int) -> int:
    return number(found.get(kind, b""))


def _payload(found: Terms) -> Instruction:
    if 1 not in found:  # it writes into the packet
        return Unknown("payload")
    return Payload(_number(found, 2), _number(found, 3), _number(found, 4), _number(found, 1))


def _meta(found: Terms) -> Instruction:
    key, source = _number(found, 2), _maybe(found, 3)
    return LoadMeta(key, _number(found, 1)) if source is None else SetMeta(key, source)


def _ct(found: Terms) -> Instruction:
    key, source = _number(found, 2), _maybe(found, 4)
    return LoadCt(key, _number(found, 1), _maybe(found, 3)) if source is None else SetCt(key, source)


def _numgen(found: Terms) -> Instruction:
    return Numgen(_number(found, 2), _number(found, 1), bool(_number(found, 3)), _or_zero(found, 4))


def _hash(found: Terms) -> Instruction:
    if _or_zero(found, 7):  # not Jenkins'
        return Unknown("hash")
    into, source = _number(found, 2), _number(found, 1)
    return Hash(source, _number(found, 3), _number(found, 4), into, _or_zero(found, 5), _or_zero(found, 6))


def _fib(found: Terms) -> Instruction:
    return Fib(_number(found, 3), _number(found, 2), _number(found, 1))


def _cmp(found: Terms) -> Instruction:
    value = read_data(_need(found, 3))
    if isinstance(value, Verdict):
        raise AnswerMalformed("a comparison with a verdict")
    return Cmp(value, Compare(_number(found, 2)), _number(found, 1))


def _bitwise(found: Terms) -> Instruction:
    if _or_zero(found, 6):  # a shift
        return Unknown("bitwise")
    mask, xor = (attributes(_need(found, kind)) for kind in (4, 5))
    return Bitwise(_need(mask, 1), _need(xor, 1), _number(found, 1), _number(found, 2))


def _immediate(found: Terms) -> Instruction:
    return Immediate(read_data(_need(found, 2)), _number(found, 1))


def _lookup(found: Terms) -> Instruction:
    return Lookup(string(_need(found, 1)), _number(found, 2), _maybe(found, 3), bool(_or_zero(found, 5) & 1))


def _dynset(found: Terms) -> Instruction:
    operation = _number(found, 3)
    if operation > 1:
        return Unknown("dynset")
    name, timeout = string(_need(found, 1)), _or_zero(found, 6)
    return Update(name, _number(found, 4), _maybe(found, 5), timeout, add=operation == 0)


def _nat(found: Terms) -> Instruction:
    if 3 not in found:  # to a port alone
        return Unknown("nat")
    return Nat(bool(_number(found, 1)), _number(found, 2), _number(found, 3), _maybe(found, 5))


_READERS: Final[Mapping[str, Callable[[Terms], Instruction]]] = {
    "bitwise": _bitwise,
    "cmp": _cmp,
    "counter": lambda _: Count(),
    "ct": _ct,
    "dynset": _dynset,
    "fib": _fib,
    "hash": _hash,
    "immediate": _immediate,
    "lookup": _lookup,
    "masq": lambda found: Masquerade(NatFlag(_or_zero(found, 1))),
    "meta": _meta,
    "nat": _nat,
    "notrack": lambda _: NoTrack(),
    "numgen": _numgen,
    "payload": _payload,
    "reject": lambda found: Reject(bool(_number(found, 1)), _or_zero(found, 2)),
}
