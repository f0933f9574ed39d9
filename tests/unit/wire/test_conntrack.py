"""Flows as the kernel gives them; what lacks a tuple is none."""

from __future__ import annotations

import pytest

from pierhead.errors import AnswerMalformed
from pierhead.wire import conntrack
from pierhead.wire.conntrack import Tuple
from pierhead.wire.netlink import Flag, Message, attribute, attributes, be16, be32, nested, u8, u32
from pierhead.wire.nftables import Family

CLIENT, SERVICE, ENDPOINT = b"\x0a\1\0\1", b"\x0a\x60\0\1", b"\x0a\1\0\2"


def direction(kind: int, source: bytes, destination: bytes, ports: tuple[int, int] | None = (4001, 53)) -> bytes:
    addresses = nested(1, attribute(1, source), attribute(2, destination))
    told = be16(2, ports[0]) + be16(3, ports[1]) if ports else b""
    return nested(kind, addresses, nested(2, u8(1, 17 if ports else 1), told))


def flow(*terms: bytes) -> Message:
    return Message(0x100, b"\2\0\0\0" + b"".join(terms))


WHOLE = flow(
    direction(1, CLIENT, SERVICE), direction(2, ENDPOINT, CLIENT, (53, 4001)), be32(3, 0x2A), be32(8, 7), be32(12, 99)
)


def test_a_flow_has_two_directions() -> None:
    found = conntrack.read(WHOLE)
    assert found.original == Tuple(CLIENT, SERVICE, 17, 4001, 53)
    assert found.reply == Tuple(ENDPOINT, CLIENT, 17, 53, 4001)
    assert (found.status, found.mark) == (0x2A, 7)


def test_a_flow_is_deleted_by_its_original_direction_its_zone_and_its_id() -> None:
    zone = attribute(18, b"\0\5")
    found = conntrack.read(Message(WHOLE.kind, WHOLE.body + zone))
    message = conntrack.delete(Family.IP, found)
    assert (message.kind, message.flags) == (0x102, 0)
    sent = attributes(message.body[4:])
    assert set(sent) == {1, 12, 18}
    assert sent[12] == b"\0\0\0\x63"


def test_a_protocol_without_ports_has_none() -> None:
    found = conntrack.read(flow(direction(1, CLIENT, SERVICE, None), direction(2, SERVICE, CLIENT, None)))
    assert found.original == Tuple(CLIENT, SERVICE, 1, 0, 0)


def test_a_dump_asks_for_all_or_for_one_protocol() -> None:
    assert conntrack.dump(Family.IP6).body == b"\x0a\0\0\0"
    asked = conntrack.dump(Family.IP, 17)
    assert asked.flags == Flag.DUMP
    sent = attributes(asked.body[4:])
    assert attributes(attributes(sent[1])[2]) == {1: b"\x11"}
    assert sent[25] == u32(1, 8) + u32(2, 0)


@pytest.mark.parametrize(
    "message", [flow(), flow(direction(1, CLIENT, SERVICE)), flow(nested(1), nested(2)), Message(0x100, b"")]
)
def test_what_has_no_two_tuples_with_addresses_is_malformed(message: Message) -> None:
    with pytest.raises(AnswerMalformed):
        conntrack.read(message)
