"""Kubernetes' protobuf bodies, read by the numbers of the schema table: ``k8s\\0`` and an Unknown{typeMeta, raw}.

Only reading: answers are JSON, which every client that sends protobuf takes as well. Go clients write every field, empty ones
too; the careful reading that follows drops those.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from typing import Any

from pierhead.api import schema
from pierhead.api.codec import text, times
from pierhead.api.schema import Field

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_EOF = "unexpected EOF"


class NoProtobuf(ValueError):
    """The bytes are no such message; the message is what Go says."""


def envelope(body: bytes) -> tuple[tuple[str, str], bytes]:
    """((apiVersion, kind), the bytes of the message).

    Raises:
        NoProtobuf: Not an envelope.
    """
    if not body:
        raise NoProtobuf("empty data")
    if not body.startswith(MAGIC):
        shown = " ".join(str(byte) for byte in MAGIC)
        raise NoProtobuf(f"provided data does not appear to be a protobuf message, expected prefix [{shown}]")
    version = kind = ""
    raw = b""
    for number, wire, value in _fields(body[len(MAGIC) :]):
        if number == 1 and wire == _LENGTH:
            named = {inner: given for inner, kind_of, given in _fields(value) if kind_of == _LENGTH}
            version, kind = (_text(named.get(place, b"")) for place in (1, 2))
        elif number == 2 and wire == _LENGTH:
            raw = value
    return (version, kind), raw


def decode(name: str, raw: bytes) -> dict[str, Any]:
    """The message of that name as a tree, empty values included.

    Raises:
        NoProtobuf: Cut off, or a field of another wire type than its own.
    """
    plan = _plan(name)
    tree: dict[str, Any] = {}
    for number, wire, value in _fields(raw):
        found = plan.get(number)
        if isinstance(found, Field):
            _put(tree, found, wire, value)
        elif found is not None:
            _need(wire, _LENGTH, name)
            for inner, inner_wire, given in _fields(value):
                if inner in found:
                    _put(tree, found[inner], inner_wire, given)
    return tree


@cache
def _plan(name: str) -> dict[int, Field | dict[int, Field]]:
    """Number → field, or → the fields of the struct that Go embeds there."""
    plan: dict[int, Field | dict[int, Field]] = {}
    for field in schema.message(name).fields.values():
        if not field.within:
            plan[field.number] = field
        else:
            inner = plan.setdefault(field.within, {})
            assert isinstance(inner, dict)
            inner[field.number] = field
    plan.pop(0, None)
    return plan


def _put(tree: dict[str, Any], field: Field, wire: int, value: Any) -> None:
    if field.map:
        _need(wire, _LENGTH, field.name)
        entry = {number: (kind, given) for number, kind, given in _fields(value)}
        key = _text(entry[1][1]) if 1 in entry else ""
        tree.setdefault(field.name, {})[key] = _value(field, *entry.get(2, (_LENGTH, b"")))
    elif field.list and wire == _LENGTH and field.type in ("int32", "int64", "bool"):
        tree.setdefault(field.name, []).extend(_value(field, _VARINT, number) for number in _packed(value))
    elif field.list:
        tree.setdefault(field.name, []).append(_value(field, wire, value))
    else:
        tree[field.name] = _value(field, wire, value)


def _value(field: Field, wire: int, value: Any) -> Any:
    kind = field.type
    if kind in ("int32", "int64", "bool"):
        _need(wire, _VARINT, field.name)
        return bool(value) if kind == "bool" else _signed(value, 32 if kind == "int32" else 64)
    _need(wire, _LENGTH, field.name)
    if kind == "message":
        return decode(field.message, value)
    if kind == "string":
        return _text(value)
    return base64.b64encode(value).decode() if kind == "bytes" else _leaf(kind, value)


def _leaf(kind: str, raw: bytes) -> Any:
    """The messages that have a JSON form of their own."""
    parts = {number: value for number, _, value in _fields(raw)}
    if kind in ("time", "microtime"):
        if not parts:
            return None
        seconds, nanos = (_signed(_whole(parts.get(place, 0)), 64) for place in (1, 2))
        try:
            return times.from_epoch(seconds, nanos, micro=kind == "microtime")
        except ValueError as error:
            raise NoProtobuf(str(error)) from error
    if kind == "intorstring":
        is_text = _whole(parts.get(1, 0)) == 1
        return _text(parts.get(3, b"")) if is_text else _signed(_whole(parts.get(2, 0)), 32)
    if kind == "quantity":
        return _text(parts.get(1, b"")) or "0"
    try:
        return text.plain(text.parse(parts[1])) if parts.get(1) else None
    except text.NoJson as error:
        raise NoProtobuf(str(error)) from error


# -- the wire -------------------------------------------------------------------------------------------------


def _fields(raw: bytes) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value): a number for varints, bytes for everything else."""
    place, size = 0, len(raw)
    while place < size:
        tag, place = _varint(raw, place)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise NoProtobuf(f"proto: illegal tag {number} (wire type {wire})")
        if wire == _VARINT:
            value, place = _varint(raw, place)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            length, place = _varint(raw, place)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise NoProtobuf(f"proto: illegal wireType {wire}")
        if length > size - place:
            raise NoProtobuf(_EOF)
        yield number, wire, raw[place : place + length]
        place += length


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        if place >= len(raw):
            raise NoProtobuf(_EOF)
        byte = raw[place]
        place += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & (2**64 - 1), place
        shift += 7
        if shift >= 64:
            raise NoProtobuf("proto: integer overflow")


def _packed(raw: bytes) -> Iterator[int]:
    place = 0
    while place < len(raw):
        found, place = _varint(raw, place)
        yield found


def _signed(value: int, bits: int) -> int:
    value &= 2**bits - 1
    return value - 2**bits if value >> (bits - 1) else value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise NoProtobuf(f"proto: wrong wireType = {_LENGTH}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise NoProtobuf(f"proto: wrong wireType = {_VARINT}")
    return value.decode("utf-8", "replace")


def _need(wire: int, wanted: int, name: str) -> None:
    if wire != wanted:
        raise NoProtobuf(f"proto: wrong wireType = {wire} for field {name[:1].upper()}{name[1:]}")
