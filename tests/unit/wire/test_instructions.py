"""What a rule's expressions are read as: whatever a builder was told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.errors import AnswerMalformed
from pierhead.wire import datatypes as of
from pierhead.wire import expressions as x
from pierhead.wire import instructions as i
from pierhead.wire.nftables import Family, Set, Table

MARKS = Set(Table(Family.IP, "t"), "m", (of.MARK,), (of.IPV4_ADDR,))

registers = st.integers(0, 15).map(x.register)
numbers = st.integers(1, 0xFFFFFFFF)
values = st.binary(min_size=1, max_size=16)
verdicts = st.sampled_from([x.ACCEPT, x.DROP, x.RETURN, x.jump("there"), x.goto("elsewhere")])


def read(*built: x.Expression) -> tuple[i.Instruction, ...]:
    return i.read(b"".join(built))


@given(st.sampled_from(x.Base), st.integers(0, 255), st.integers(1, 16), registers)
def test_a_part_of_the_packet(base: x.Base, offset: int, length: int, into: int) -> None:
    assert read(x.payload(base, offset, length).into(into)) == (i.Payload(base, offset, length, into),)


@given(st.sampled_from(x.Meta), st.sampled_from(x.Ct), st.none() | st.sampled_from([x.ORIGINAL, x.REPLY]), registers)
def test_what_is_known_of_it(meta: x.Meta, ct: x.Ct, direction: int | None, register: int) -> None:
    assert read(x.meta(meta).into(register), x.set_meta(meta, register)) == (
        i.LoadMeta(meta, register),
        i.SetMeta(meta, register),
    )
    assert read(x.ct(ct, direction).into(register), x.set_ct(ct, register)) == (
        i.LoadCt(ct, register, direction),
        i.SetCt(ct, register),
    )


@given(numbers, numbers, registers, registers, st.integers(1, 64), st.sampled_from(x.FibResult))
def test_what_is_computed(modulus: int, seed: int, source: int, into: int, length: int, result: x.FibResult) -> None:
    assert read(x.numgen(modulus).into(into)) == (i.Numgen(modulus, into),)
    assert read(x.jhash(source, length, modulus, seed).into(into)) == (i.Hash(source, length, modulus, into, seed),)
    assert read(x.fib(x.FibFlag.DADDR, result).into(into)) == (i.Fib(x.FibFlag.DADDR, result, into),)


@given(values, st.sampled_from(x.Compare), registers, registers)
def test_what_is_compared(value: bytes, operator: x.Compare, source: int, into: int) -> None:
    assert read(x.cmp(value, operator, source=source)) == (i.Cmp(value, operator, source),)
    masked = i.Bitwise(value, bytes(len(value)), source, into)
    assert read(x.bitwise(value, source=source, into=into)) == (masked,)
    assert read(x.bitwise(value, value, source=source, into=into)) == (i.Bitwise(value, value, source, into),)
    assert read(x.immediate(value, into)) == (i.Immediate(value, into),)


@given(registers, st.none() | registers | st.just(0), st.booleans(), st.integers(0, 1 << 40), st.booleans())
def test_what_sets_are_asked_and_told(source: int, data: int | None, inverse: bool, timeout: int, add: bool) -> None:
    assert read(x.lookup(MARKS, source=source, into=data, inverse=inverse)) == (i.Lookup("m", source, data, inverse),)
    built = x.update(MARKS, source=source, data=data, timeout=timeout, add=add)
    assert read(built) == (i.Update("m", source, data, timeout, add),)


@given(verdicts, registers, st.none() | registers, st.sampled_from([2, 10]), st.integers(0, 28), st.integers(0, 255))
def test_what_becomes_of_it(
    verdict: x.Verdict, address: int, port: int | None, family: int, flags: int, code: int
) -> None:
    assert read(x.verdict(verdict)) == (i.Immediate(verdict, 0),)
    assert read(x.dnat(family, address, port), x.snat(family, address, port)) == (
        i.Nat(True, family, address, port),
        i.Nat(False, family, address, port),
    )
    assert read(x.masquerade(x.NatFlag(flags))) == (i.Masquerade(x.NatFlag(flags)),)
    assert read(x.reject(code), x.reset()) == (i.Reject(False, code), i.Reject(True))
    assert read(x.counter(), x.notrack()) == (i.Count(), i.NoTrack())


def test_what_this_house_never_builds_has_a_name_and_no_more() -> None:
    assert read(x.expression("limit", b"")) == (i.Unknown("limit"),)


def test_an_expression_without_its_terms_is_malformed() -> None:
    with pytest.raises(AnswerMalformed):
        read(x.expression("cmp"))
