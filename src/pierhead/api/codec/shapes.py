"""The shapes of structs, lists and maps, compiled from the schema table; what a shape does is told in ``scalars``."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from pierhead.api import schema
from pierhead.api.codec.reading import Place, Reading, mismatch
from pierhead.api.codec.scalars import (
    Bytes,
    Integer,
    IntOrString,
    Odd,
    Quantity,
    Real,
    Shape,
    Text,
    Time,
    Truth,
)
from pierhead.api.codec.text import members
from pierhead.api.schema import Field


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
                found[key] = got
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
