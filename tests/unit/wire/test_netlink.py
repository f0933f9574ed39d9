"""Framing: lengths count what they must, padding is there, and nothing that was cut short is taken for whole."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.errors import AnswerMalformed
from pierhead.wire import netlink
from pierhead.wire.netlink import Flag, Message, Outcome

ERROR, DONE, NOOP = 2, 3, 1

attributes = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)))
messages = st.builds(Message, st.integers(16, 0xFFFF), st.binary(max_size=64), st.just(0))


def received(kind: int, body: bytes, *, flags: int = 0, sequence: int = 7) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def refused(number: int, echo: bytes = bytes(16), said: bytes = b"", flags: int = 0) -> bytes:
    return received(ERROR, struct.pack("=i", -number) + echo + said, flags=flags)


def only(data: bytes) -> Message | Outcome:
    ((_, found),) = netlink.parse(data)
    return found


def test_an_attribute_is_its_length_its_type_and_its_value_to_whole_words() -> None:
    assert netlink.attribute(1, b"abcde").hex() == "09000100" + "6162636465" + "000000"
    assert netlink.text(2, "lo").hex() == "07000200" + "6c6f00" + "00"
    assert netlink.be32(3, -100).hex() == "08000300" + "ffffff9c"
    assert netlink.u32(3, 1).hex() == "08000300" + "01000000"
    assert netlink.nested(4, netlink.u8(1, 9)).hex() == "0c000480" + "0500010009000000"


def test_an_attribute_has_an_end() -> None:
    assert len(netlink.attribute(1, bytes(netlink.LARGEST_ATTRIBUTE - 4))) == 0x10000
    with pytest.raises(struct.error):
        netlink.attribute(1, bytes(netlink.LARGEST_ATTRIBUTE - 3))


@given(attributes)
def test_attributes_come_back_in_their_order(given_: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in given_)
    assert len(data) % 4 == 0
    assert list(netlink.each(data)) == given_
    assert netlink.attributes(data) == dict(given_)


@given(st.lists(st.binary(max_size=20)))
def test_what_is_nested_comes_back(values: list[bytes]) -> None:
    ((kind, inner),) = netlink.each(netlink.nested(5, *(netlink.attribute(1, value) for value in values)))
    assert (kind, [value for _, value in netlink.each(inner)]) == (5, values)


@given(attributes.filter(bool), st.data())
def test_attributes_cut_short_are_no_attributes(given_: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = b"".join(netlink.attribute(kind, value) for kind, value in given_)
    last = 4 + len(given_[-1][1])
    cut = data.draw(st.integers(1, last - 1)) + -len(given_[-1][1]) % 4
    with pytest.raises(AnswerMalformed):
        netlink.attributes(whole[:-cut])


@given(
    st.binary(max_size=200) | st.lists(messages).map(lambda sent: b"".join(netlink.encode(one, 1) for one in sent)[:-1])
)
def test_any_bytes_are_messages_or_malformed(data: bytes) -> None:
    """Nothing else comes out of the parser, whatever comes in."""
    with suppress(AnswerMalformed):
        assert sum(16 + len(one.body) for _, one in netlink.parse(data) if isinstance(one, Message)) <= len(data)


@given(st.lists(messages), st.integers(0, 0xFFFFFFFF - 64))
def test_messages_come_back_with_their_sequence(sent: list[Message], first: int) -> None:
    data = b"".join(netlink.encode(message, first + i) for i, message in enumerate(sent))
    found = list(netlink.parse(data))
    assert [sequence for sequence, _ in found] == [first + i for i in range(len(sent))]
    assert [one for _, one in found] == [Message(each.kind, each.body, Flag.REQUEST) for each in sent]


def test_a_transaction_is_framed_and_acknowledged_once() -> None:
    sent = [Message(0xA00, b"one_", Flag.CREATE), Message(0xA03, b"two_", Flag.CREATE)]
    found = list(netlink.parse(netlink.encode_batch(sent, 100)))
    assert [(sequence, one.kind, one.flags) for sequence, one in found if isinstance(one, Message)] == [
        (100, 16, Flag.REQUEST),
        (101, 0xA00, Flag.REQUEST | Flag.CREATE),
        (102, 0xA03, Flag.REQUEST | Flag.CREATE | Flag.ACK),
        (103, 17, Flag.REQUEST),
    ]
    begin = found[0][1]
    assert isinstance(begin, Message)
    assert begin.body.hex() == "0000000a", "any family, version 0, for subsystem 10"


def test_a_transaction_may_be_for_one_generation_only() -> None:
    (_, begin), *_ = netlink.parse(netlink.encode_batch([Message(0xA00, b"")], 1, generation=258))
    assert isinstance(begin, Message)
    assert netlink.attributes(begin.body[4:]) == {1: b"\0\0\1\2"}


def test_an_acknowledgement_is_an_outcome_without_a_number() -> None:
    assert only(refused(0)) == Outcome(7, 0)


def test_a_refusal_has_the_kernels_number() -> None:
    assert only(refused(17)) == Outcome(7, 17)


@pytest.mark.parametrize("capped", [True, False])
def test_a_refusal_may_have_the_kernels_words_and_the_place(capped: bool) -> None:
    said = netlink.text(1, "Chain already has a base hook") + netlink.u32(2, 44)
    header = struct.pack("=IHHII", 24, 0xA03, 0, 7, 0)
    echo = header if capped else header + b"the body"
    flags = Flag.TLVS | (Flag.CAPPED if capped else 0)
    assert only(refused(95, echo, said, flags)) == Outcome(7, 95, "Chain already has a base hook", 44)


def test_the_attribute_at_a_place_is_found() -> None:
    message = Message(0xA00, b"head" + netlink.text(1, "one") + netlink.text(2, "two"))
    assert netlink.attribute_at(message, 28) == b"two\0"
    assert netlink.attribute_at(message, 36) == b""
    assert netlink.attribute_at(message, 0) == b"", "the kernel did not say"


def test_the_end_of_a_dump_may_say_that_it_failed_or_was_disturbed() -> None:
    assert only(received(DONE, bytes(4))) == Outcome(7, 0)
    assert only(received(DONE, b"")) == Outcome(7, 0)
    assert only(received(DONE, struct.pack("=i", -4))) == Outcome(7, 4)
    assert only(received(DONE, bytes(4), flags=Flag.DUMP_INTERRUPTED)) == Outcome(7, 0, interrupted=True)
    said = struct.pack("=i", -22) + netlink.text(1, "Invalid filter")
    assert only(received(DONE, said, flags=Flag.TLVS)) == Outcome(7, 22, "Invalid filter")


def test_what_says_nothing_is_passed_over() -> None:
    assert list(netlink.parse(received(NOOP, b"") + refused(0))) == [(7, Outcome(7, 0))]


@pytest.mark.parametrize("data", [b"\x10\0\0\0", received(20, b"body")[:-1], bytes(16), received(ERROR, b"\0\0")])
def test_a_datagram_cut_short_is_malformed(data: bytes) -> None:
    with pytest.raises(AnswerMalformed):
        list(netlink.parse(data))


def test_numbers_have_the_order_of_their_family() -> None:
    assert netlink.number(b"\0\0\1\2") == 258
    assert netlink.host_number(struct.pack("=H", 258)) == 258
    assert netlink.host_number(b"\x09") == 9
    with pytest.raises(AnswerMalformed, match="3 bytes"):
        netlink.host_number(b"abc")


def test_a_name_ends_at_its_zero() -> None:
    assert netlink.string(b"eth0\0\0\0") == "eth0"
    assert netlink.string(b"\xff0\0") == "\N{REPLACEMENT CHARACTER}0"
