"""``Reading``: one careful reading of a body, and everything it found wrong."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from pierhead.api.codec.text import Literal, Pairs

LIMIT = 100
"""Problems beyond this many are not told; the real server stops counting there as well."""


class Place(NamedTuple):
    """Where a value stands, in the three ways that texts name it."""

    struct: str
    """The bare Go type of the struct around it: ``ServicePort``."""
    fields: str
    """The fields on the way, without indices: ``spec.ports.port``."""
    shown: str
    """The path as users know it: ``spec.ports[0].port``."""

    def field(self, struct: str, name: str) -> Place:
        return Place(struct, f"{self.fields}.{name}" if self.fields else name, self.key(name).shown)

    def key(self, name: str) -> Place:
        return Place(self.struct, self.fields, f"{self.shown}.{name}" if self.shown else name)

    def item(self, index: int) -> Place:
        return Place(self.struct, self.fields, f"{self.shown}[{index}]")


ROOT = Place("", "", "")


class Unreadable(ValueError):
    """A type with a decoder of its own refused: the whole reading ends there, as it does in Go."""


class Reading:
    """Collects strict problems in the order of the text, and the first wrong type."""

    def __init__(self) -> None:
        self._problems: dict[str, None] = {}
        self.refusal = ""
        """Go's text for the first value of a wrong type; empty when all types are right."""

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self._problems)

    def problem(self, text: str) -> None:
        if len(self._problems) < LIMIT:
            self._problems[text] = None

    def refuse(self, text: str) -> None:
        """Of several refusals the first is told; the reading goes on."""
        self.refusal = self.refusal or text


def mismatch(value: Any, at: Place, go: str, *, spelled: bool = False) -> str:
    """Go's text for a value of the wrong type. ``spelled``: a number is quoted, because a number was wanted."""
    what = kind_of(value)
    if spelled and what == "number":
        what = f"number {spelling(value)}"
    return f"json: cannot unmarshal {what} into Go struct field {at.struct}.{at.fields} of type {go}"


def end(text: str) -> NoReturn:
    raise Unreadable(text)


def kind_of(value: Any) -> str:
    """What Go calls a JSON value."""
    if isinstance(value, (Pairs, dict)):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    return "bool" if isinstance(value, bool) else "number"


def spelling(number: Any) -> str:
    """A number as it was written, or as it would be."""
    return number.text if isinstance(number, Literal) else repr(number)
