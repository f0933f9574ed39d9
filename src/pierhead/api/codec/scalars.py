"""The shapes of single values: texts, numbers, times, quantities, and JSON without a schema.

A shape does three things with a value. ``count`` is the quick look: it recognizes a value that needs no second thought (known
fields, right types, canonical forms, nothing empty that output would drop) and returns how many object keys it holds, or raises
Odd. ``read`` is the careful reading: it prunes, drops what Go would not keep, brings values into canonical form and says what is
wrong in Go's words. ``write`` gives canonical output: Go's field order, omitempty, sorted maps.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from pierhead.api import quantities
from pierhead.api.codec import times
from pierhead.api.codec.reading import Place, Reading, end, kind_of, mismatch, spelling
from pierhead.api.codec.text import plain

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
        return value if isinstance(value, str) else reading.refuse(mismatch(value, at, self.go))


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
            return value
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
