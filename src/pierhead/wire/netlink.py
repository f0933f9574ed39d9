"""Netlink framing (linux/netlink.h, linux/netfilter/nfnetlink.h): messages, attributes, batches, and what the kernel answers.

Everything is in host byte order except where a family says otherwise (nfnetlink's numbers are big-endian); messages and attributes
are padded to four bytes, their lengths are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum, IntFlag
from typing import Final

import msgspec
from msgspec.structs import replace

from pierhead.errors import AnswerMalformed


class Protocol(IntEnum):
    """Which part of the kernel a netlink socket talks to."""

    ROUTE = 0
    NETFILTER = 12


class Flag(IntFlag):
    """NLM_F_*. ``REQUEST`` is set on everything that is sent and so never written down by a builder."""

    REQUEST = 0x1
    ACK = 0x4
    ECHO = 0x8
    """What the message does is told to its sender as it is to who listens. Of an nftables transaction the first message says whether its
    generation is told."""
    DUMP_INTERRUPTED = 0x10
    REPLACE = 0x100
    EXCLUSIVE = 0x200
    CREATE = 0x400
    APPEND = 0x800
    DUMP = 0x300
    CAPPED = 0x100
    """Of an error: it does not carry the message it is about."""
    TLVS = 0x200
    """Of an error: it carries attributes (the extended ACK)."""


class Message(msgspec.Struct, frozen=True):
    """One netlink message, without its header: to be sent, or as it came."""

    kind: int
    """nlmsg_type."""
    body: bytes
    """The family's own header and the attributes."""
    flags: int = 0
    subject: str = ""
    """What it is about, in words: errors name it. Empty in what the kernel sent."""


class Outcome(msgspec.Struct, frozen=True):
    """The kernel's last word on one message: an ACK or an error, or the end of a dump."""

    sequence: int
    errno: int
    """0: it was done."""
    text: str = ""
    """The kernel's own words (extended ACK); mostly empty."""
    offset: int = 0
    """Where in the message, header included, the attribute stands that the kernel objects to; 0: it does not say."""
    interrupted: bool = False
    """What was dumped changed meanwhile: the dump does not show one state."""


HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NESTED: Final = 0x8000
_TYPE: Final = 0x3FFF
LARGEST_ATTRIBUTE: Final = 0xFFFF
"""An attribute's length, its header included, has 16 bits."""

_ERROR, _DONE, _FIRST_OF_FAMILY = 2, 3, 16
_BATCH_BEGIN, _BATCH_END = 16, 17
_NFTABLES: Final = 10
"""The nfnetlink subsystem that knows batches."""
_BATCH_GENERATION: Final = 1
_ACK_TEXT, _ACK_OFFSET = 1, 2


# -- attributes ---------------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded. A value of more than 65,531 bytes has no form: struct.error."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A name: its bytes and a final zero."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(1, "big"))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    """A number in host byte order, as rtnetlink has them."""
    return attribute(kind, struct.pack("=I", value))


def i32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=i", value))


def be16(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(2, "big"))


def be32(kind: int, value: int) -> bytes:
    """A number in network byte order, as nfnetlink has them; negative ones (verdicts, priorities) in two's complement."""
    return attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def be64(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(8, "big"))


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of ``data`` in order: type without its flags, and value.

    Raises:
        AnswerMalformed: a length points outside ``data`` or is shorter than its own header.
    """
    at, end = 0, len(data)
    while at < end:
        if end - at < 4:
            raise AnswerMalformed("less than an attribute's header is left")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            raise AnswerMalformed(f"an attribute of {length} bytes where {end - at} are left")
        yield kind & _TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of ``data`` by type; of one that stands twice, the last.

    Raises:
        AnswerMalformed: as ``each``.
    """
    return dict(each(data))


def number(value: bytes) -> int:
    """A big-endian number of any width."""
    return int.from_bytes(value, "big")


def host_number(value: bytes) -> int:
    """A number in host byte order, of one, two, four or eight bytes.

    Raises:
        AnswerMalformed: it is of another width.
    """
    try:
        found: int = struct.unpack({1: "=B", 2: "=H", 4: "=I", 8: "=Q"}[len(value)], value)[0]
    except KeyError:
        raise AnswerMalformed(f"a number of {len(value)} bytes") from None
    return found


def string(value: bytes) -> str:
    """A name without its final zero; bytes that are no UTF-8 (an interface may be named so) are replaced."""
    return value.partition(b"\0")[0].decode(errors="replace")


def attribute_at(message: Message, offset: int) -> bytes:
    """The value of the attribute at this place of the message as it was sent, header included; empty where none is."""
    for _, value in each(message.body[max(offset - HEADER.size, 0) :] if offset else b""):
        return value
    return b""


# -- messages -----------------------------------------------------------------------------------------------


def encode(message: Message, sequence: int) -> bytes:
    """The message as it is sent, padded."""
    length = HEADER.size + len(message.body)
    header = HEADER.pack(length, message.kind, message.flags | Flag.REQUEST, sequence & 0xFFFFFFFF, 0)
    return header + message.body + bytes(-length % 4)


def encode_batch(messages: Sequence[Message], sequence: int, generation: int | None = None) -> bytes:
    """One nftables transaction: all of ``messages`` (at least one) or none. It begins with ``sequence``, message *i* has
    ``sequence + 1 + i``, and only the last asks for an ACK. With ``generation`` the kernel refuses it (ERESTART) unless that is still
    the ruleset's generation."""
    frame = struct.pack("!BBH", 0, 0, _NFTABLES)
    expected = b"" if generation is None else be32(_BATCH_GENERATION, generation)
    *first, last = messages
    ordered = [
        Message(_BATCH_BEGIN, frame + expected),
        *first,
        replace(last, flags=last.flags | Flag.ACK),
        Message(_BATCH_END, frame),
    ]
    return b"".join(encode(message, sequence + i) for i, message in enumerate(ordered))


def parse(data: bytes) -> Iterator[tuple[int, Message | Outcome]]:
    """What one datagram of the kernel holds, each with the sequence of the message that it answers.

    Raises:
        AnswerMalformed: it is cut short.
    """
    at, end = 0, len(data)
    while at < end:
        if end - at < HEADER.size:
            raise AnswerMalformed("less than a message's header is left")
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > end:
            raise AnswerMalformed(f"a message of {length} bytes where {end - at} are left")
        body = data[at + HEADER.size : at + length]
        if kind in (_ERROR, _DONE):
            yield sequence, _outcome(kind, flags, sequence, body)
        elif kind >= _FIRST_OF_FAMILY:
            yield sequence, Message(kind, body, flags)
        at += (length + 3) & ~3


def _outcome(kind: int, flags: int, sequence: int, body: bytes) -> Outcome:
    interrupted = bool(flags & Flag.DUMP_INTERRUPTED)
    if kind == _DONE and len(body) < 4:
        return Outcome(sequence, 0, interrupted=interrupted)
    if len(body) < 4:
        raise AnswerMalformed("an error without a number")
    errno = -struct.unpack_from("=i", body)[0]
    said = {}
    if flags & Flag.TLVS:
        said = attributes(body[_told_from(kind, flags, body) :])
    return Outcome(
        sequence,
        max(errno, 0),
        string(said.get(_ACK_TEXT, b"")),
        host_number(said[_ACK_OFFSET]) if _ACK_OFFSET in said else 0,
        interrupted,
    )


def _told_from(kind: int, flags: int, body: bytes) -> int:
    """Where the extended ACK's attributes begin: after the number, and after what an error echoes of the message."""
    if kind == _DONE:
        return 4
    if flags & Flag.CAPPED or len(body) < 8:
        return 4 + HEADER.size
    echoed: int = struct.unpack_from("=I", body, 4)[0]
    return 4 + ((echoed + 3) & ~3)
