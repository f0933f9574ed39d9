"""Shapes: the JSON types of the API, compiled from the schema table. Each shape does three things with a value.

``count`` is the quick look: it recognizes a value that needs no second thought (known fields, right types, canonical forms,
nothing empty that output would drop) and returns how many object keys it holds, or raises Odd. ``read`` is the careful reading:
it prunes, drops what Go would not keep, brings values into canonical form and says what is wrong in Go's words. ``write``
gives canonical output: Go's field order, omitempty, sorted maps.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import Any, NamedTuple

from pierhead.api import quantities, schema
from pierhead.api.codec import times
from pierhead.api.codec.reading import Place, Reading, end, kind_of, mismatch, spelling
from pierhead.api.codec.text import members, plain, whole
from pierhead.api.schema import Field

_INTEGER = re.compile(r"-?[0-9]{1,20}\Z", re.ASCII)
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class Odd(Exception):
    """Not recognized at a glance: read it carefully."""


class Shape:
    """Values of one type. The base is JSON without a schema."""

    go = "interface {}"
    """The Go type, for error texts."""
    plain: type | None = None
    """The Python type whose every value is fine; None when a value has to be looked at."""
    blank: Any = None
    """What null is as an item of a list or map."""
    zero: Any = None
    """What output has for a missing value that is always written."""
    scalar = True
    """``write`` has nothing to do."""

    def count(self, value: Any) -> int:
        """Raises: Odd."""
        if isinstance(value, dict):
            return len(value) + sum(map(self.count, value.values()))
        return sum(map(self.count, value)) if isinstance(value, list) else 0

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        """``value`` is never null. What cannot be read is None.

        Raises:
            Unreadable: The reading ends here.
        """
        return plain(value)

    def write(self, value: Any) -> Any:
        return value


class Text(Shape):
    plain = str
    blank = zero = ""

    def __init__(self, go: str = "") -> None:
        self.go = go or "string"

    def count(self, value: Any) -> int:
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        if isinstance(value, str):
            return whole(value)
        return reading.refuse(mismatch(value, at, self.go))


class Truth(Shape):
    go = "bool"
    plain = bool
    blank = zero = False

    def count(self, value: Any) -> int:
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        return value if isinstance(value, bool) else reading.refuse(mismatch(value, at, self.go))


class Integer(Shape):
    blank = zero = 0

    def __init__(self, bits: int) -> None:
        self.go = f"int{bits}"
        self.most = 2 ** (bits - 1) - 1

    def count(self, value: Any) -> int:
        if value.__class__ is int and -self.most <= value <= self.most:
            return 0
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        found = self.number(value)
        return reading.refuse(mismatch(value, at, self.go, spelled=True)) if found is None else found

    def number(self, value: Any) -> int | None:
        """The integer, or None when it is none or does not fit."""
        if kind_of(value) != "number" or not _INTEGER.match(spelling(value)):
            return None
        found = int(spelling(value))
        return found if -self.most - 1 <= found <= self.most else None


class Real(Shape):
    go = "float64"
    blank = zero = 0

    def count(self, value: Any) -> int:
        if value.__class__ in (int, float):
            return 0
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        return plain(value) if kind_of(value) == "number" else reading.refuse(mismatch(value, at, self.go))


class Time(Shape):
    def __init__(self, *, micro: bool = False) -> None:
        self.micro = micro
        self.canonical = times.CANONICAL_MICRO if micro else times.CANONICAL

    def count(self, value: Any) -> int:
        if value.__class__ is str and self.canonical.match(value):
            return 0
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        if not isinstance(value, str):
            end(mismatch(value, at, "string"))
        try:
            return times.canonical(value, micro=self.micro)
        except ValueError as error:
            end(str(error))


class Quantity(Shape):
    blank = zero = "0"

    def count(self, value: Any) -> int:
        try:
            if value.__class__ is str and quantities.canonical(value) == value:
                return 0
        except ValueError as error:
            raise Odd from error
        raise Odd

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        text = value if isinstance(value, str) else spelling(value) if kind_of(value) == "number" else kind_of(value)
        try:
            return quantities.canonical(text.strip())
        except ValueError as error:
            end(str(error))


class IntOrString(Shape):
    blank = zero = 0
    _number = Integer(32)

    def count(self, value: Any) -> int:
        return 0 if value.__class__ is str else self._number.count(value)

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        if isinstance(value, str):
            return whole(value)
        found = self._number.number(value)
        if found is None:
            end(mismatch(value, at, "int32", spelled=True))
        return found


class Bytes(Shape):
    """Base64."""

    go = "[]uint8"
    blank = zero = ""

    def count(self, value: Any) -> int:
        if value.__class__ is not str or _base64_fault(value) is not None or "\n" in value or "\r" in value:
            raise Odd
        return 0

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        if not isinstance(value, str):
            return reading.refuse(mismatch(value, at, self.go))
        text = value.replace("\n", "").replace("\r", "")
        fault = _base64_fault(text)
        return text if fault is None else reading.refuse(f"illegal base64 data at input byte {fault}")


def _base64_fault(text: str) -> int | None:
    """The place of the first mistake, as Go counts it; None when there is none."""
    try:
        if base64.b64encode(base64.b64decode(text, validate=True)).decode() == text:
            return None
    except (binascii.Error, ValueError):
        pass
    bare = text.rstrip("=")
    for place, sign in enumerate(bare):
        if sign not in _BASE64:
            return place
    left, padding = len(bare) % 4, len(text) - len(bare)
    if left in (2, 3) and padding == 4 - left:
        return None
    return len(bare) if (padding and left < 2) or padding > 4 - left else len(text) - len(text) % 4


class Many(Shape):
    """A list."""

    def __init__(self, inner: Shape) -> None:
        self.inner = inner
        self.go = f"[]{inner.go}"
        self.scalar = inner.scalar

    def count(self, value: Any) -> int:
        if value.__class__ is not list:
            raise Odd
        expected, look = self.inner.plain, self.inner.count
        total = 0
        for item in value:
            if item.__class__ is not expected:
                total += look(item)
        return total

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        if not isinstance(value, list):
            return reading.refuse(mismatch(value, at, self.go))
        found = (
            self.inner.blank if item is None else self.inner.read(item, at.item(index), reading)
            for index, item in enumerate(value)
        )
        return [item for item in found if item is not None]

    def write(self, value: Any) -> Any:
        return [self.inner.write(item) for item in value]


class Table(Shape):
    """A map from strings."""

    scalar = False

    def __init__(self, inner: Shape, go: str = "") -> None:
        self.inner = inner
        self.go = go or f"map[string]{inner.go}"

    def count(self, value: Any) -> int:
        if value.__class__ is not dict:
            raise Odd
        expected, look = self.inner.plain, self.inner.count
        total = len(value)
        for item in value.values():
            if item.__class__ is not expected:
                total += look(item)
        return total

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        pairs = members(value)
        if pairs is None:
            return reading.refuse(mismatch(value, at, self.go))
        found: dict[str, Any] = {}
        for key, item in pairs:
            if key in found:
                reading.problem(f'duplicate field "{at.key(key).shown}"')
            got = self.inner.blank if item is None else self.inner.read(item, at.key(key), reading)
            if got is not None:
                found[whole(key)] = got
        return found

    def write(self, value: Any) -> Any:
        if self.inner.scalar:
            return {key: value[key] for key in sorted(value)}
        return {key: self.inner.write(value[key]) for key in sorted(value)}


class Slot(NamedTuple):
    """A field of a struct, as the shapes need it."""

    name: str
    shape: Shape
    plain: type | None
    drops: bool
    """Empty values are dropped."""
    nullable: bool
    """Null removes what an earlier occurrence of the key gave; otherwise null is no value at all."""
    always: bool


class Struct(Shape):
    """A message."""

    scalar = False

    def __init__(self, message: schema.Message, *, stored: bool = False) -> None:
        """``stored``: the metadata of an object of its own, whose resourceVersion has a place even while it is unknown."""
        self.name = message.go
        self.go = f"v1.{message.go}"
        self.slots = {name: _slot(field) for name, field in message.fields.items()}
        if stored:
            self.slots["resourceVersion"] = self.slots["resourceVersion"]._replace(always=True)

    @property
    def blank(self) -> Any:
        return {}

    @property
    def zero(self) -> Any:
        return self.write({})

    def count(self, value: Any) -> int:
        if value.__class__ is not dict:
            raise Odd
        total = len(value)
        slots = self.slots
        for key, given in value.items():
            slot = slots.get(key)
            if slot is None or (not given and slot.drops):
                raise Odd
            if given.__class__ is not slot.plain:
                total += slot.shape.count(given)
        return total

    def read(self, value: Any, at: Place, reading: Reading) -> Any:
        pairs = members(value)
        if pairs is None:
            return reading.refuse(mismatch(value, at, self.go))
        found: dict[str, Any] = {}
        seen = set()
        for key, given in pairs:
            slot = self.slots.get(key)
            if slot is None:
                reading.problem(f'unknown field "{at.key(key).shown}"')
                continue
            if key in seen:
                reading.problem(f'duplicate field "{at.key(key).shown}"')
            seen.add(key)
            if given is None:
                if slot.nullable:
                    found.pop(key, None)
                continue
            got = slot.shape.read(given, at.field(self.name, key), reading)
            if got is not None:
                found[key] = _merged(found.get(key), got)
        return {key: got for key, got in found.items() if got or not self.slots[key].drops}

    def write(self, value: Any) -> Any:
        out = {}
        for name, shape, _, drops, _, always in self.slots.values():
            given = value.get(name)
            if given or (given is not None and not drops):
                out[name] = given if shape.scalar else shape.write(given)
            elif always:
                out[name] = shape.zero
        return out


def _merged(earlier: Any, later: Any) -> Any:
    """A repeated key: Go decodes the later object into the earlier one; anything else is replaced."""
    return earlier | later if isinstance(earlier, dict) and isinstance(later, dict) else later


# -- from the schema table ------------------------------------------------------------------------------------

_SCALARS: dict[str, Shape] = {
    "bool": Truth(),
    "int32": Integer(32),
    "int64": Integer(64),
    "double": Real(),
    "bytes": Bytes(),
    "time": Time(),
    "microtime": Time(micro=True),
    "quantity": Quantity(),
    "intorstring": IntOrString(),
    "any": Shape(),
}


def _slot(field: Field) -> Slot:
    shape = _shape(field)
    keeps = field.pointer or field.always
    nullable = field.pointer or field.list or field.map
    return Slot(field.name, shape, shape.plain, not keeps, nullable, field.always)


def _shape(field: Field) -> Shape:
    if field.type == "message":
        inner: Shape = of_message(field.message)
    else:
        inner = _SCALARS.get(field.type) or Text("" if field.map else field.go)
    if field.list:
        return Many(inner)
    return Table(inner, field.go) if field.map else inner


@cache
def of_message(name: str) -> Struct:
    """The shape of a message of the schema table."""
    return Struct(schema.message(name))


@cache
def of_object(name: str) -> Struct:
    """The shape of a message that is an object of its own, with kind, apiVersion and metadata."""
    found = Struct(schema.message(name))
    metadata = Struct(schema.message(schema.message(name).fields["metadata"].message), stored=True)
    found.slots["metadata"] = found.slots["metadata"]._replace(shape=metadata)
    return found
