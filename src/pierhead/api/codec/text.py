"""JSON text as it was written: repeated keys, the spelling of numbers, and Go's words for what is no JSON.

Clean bodies never come here (``pierhead.api.codec`` reads them with msgspec); this is the careful reading for the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

TOO_DEEP = "exceeded max depth"

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What half a surrogate pair looks like; so does half of a whole pair."""
_HEX = frozenset("0123456789abcdefABCDEF")


class NoJson(ValueError):
    """The text is not JSON; the message is what Go's decoder says about it."""


class Literal:
    """A number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Pairs:
    """An object as it was written: its members in order, repeated keys included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_decoder = json.JSONDecoder(object_pairs_hook=Pairs, parse_int=Literal, parse_float=Literal, parse_constant=_refuse)


def parse(body: bytes) -> Any:
    """The value, with Pairs for objects and Literals for numbers.

    Raises:
        NoJson: Not one JSON value, or nested too deeply.
    """
    text = body.decode("utf-8", "replace")
    try:
        start = _SPACE.match(text)
        value, end = _decoder.raw_decode(text, start.end() if start else 0)
        value = _without_halves(value) if _HALF.search(text) else value
    except RecursionError as error:
        raise NoJson(TOO_DEEP) from error
    except ValueError as error:
        raise NoJson(complaint(text)) from error
    if text[end:].strip(" \t\n\r"):
        raise NoJson(complaint(text))
    return value


def keys(body: bytes) -> int:
    """How many object keys the text has. It must be JSON."""
    return sum(1 for colon in _STRING.findall(body) if colon)


def members(value: Any) -> Iterable[tuple[str, Any]] | None:
    """The members of an object, in order; None for any other value."""
    if value.__class__ is Pairs:
        pairs: list[tuple[str, Any]] = value.pairs
        return pairs
    return value.items() if isinstance(value, dict) else None


def plain(value: Any) -> Any:
    """The value as ordinary JSON data; of repeated keys the last counts."""
    if value.__class__ is Literal:
        return _number(value.text)
    if isinstance(value, list):
        return [plain(item) for item in value]
    found = members(value)
    return value if found is None else {key: plain(item) for key, item in found}


def whole(text: str) -> str:
    """The text without lone surrogates, which JSON can escape and UTF-8 cannot say; Go replaces them as well."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _without_halves(value: Any) -> Any:
    """An exact value all of whose texts are whole."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, Pairs):
        return Pairs([(whole(key), _without_halves(item)) for key, item in value.pairs])
    return value


def _number(text: str) -> int | float:
    short = len(text) <= 19 and not set(text) & set(".eE")
    return int(text) if short else float(text)


def repeated(value: Any, shown: str = "") -> list[str]:
    """``duplicate field "metadata.labels.x"`` for each key that an object of an exact value holds twice."""
    if isinstance(value, list):
        return [text for index, item in enumerate(value) for text in repeated(item, f"{shown}[{index}]")]
    texts: list[str] = []
    seen = set()
    for key, item in members(value) or ():
        path = f"{shown}.{key}" if shown else key
        if key in seen:
            texts.append(f'duplicate field "{path}"')
        seen.add(key)
        texts += repeated(item, path)
    return list(dict.fromkeys(texts))


# -- what is wrong with a text --------------------------------------------------------------------------------


def complaint(text: str) -> str:
    """Go's words (encoding/json, scanner.go) for the first thing that makes this text no JSON value."""
    with suppress(RecursionError):
        try:
            _Scanner(text).scan()
        except NoJson as error:
            return str(error)
    return TOO_DEEP


class _Scanner:
    """Walks a text up to its first mistake. Nested deeper than the interpreter goes, it raises RecursionError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.open: list[str] = []

    def scan(self) -> None:
        """Raises: NoJson at the first mistake."""
        self.value()
        while self.open:
            closing = "}" if self.open[-1] == "{" else "]"
            sign = self.look()
            if sign == closing:
                self.place += 1
                self.open.pop()
            elif sign == ",":
                self.place += 1
                self.item(first=False)
            else:
                self.fail("after object key:value pair" if closing == "}" else "after array element")
        if self.look(required=False):
            self.fail("after top-level value")

    def look(self, *, required: bool = True) -> str:
        """The next sign that is no space, not consumed."""
        space = _SPACE.match(self.text, self.place)
        self.place = space.end() if space else self.place
        sign = self.text[self.place : self.place + 1]
        if required and not sign:
            raise NoJson("unexpected end of JSON input")
        return sign

    def fail(self, where: str) -> None:
        if self.place >= len(self.text):
            raise NoJson("unexpected end of JSON input")
        sign = self.text[self.place]
        shown = {"'": r"'\''", '"': "'\"'", "\\": r"'\\'"}.get(sign) or f"'{sign.encode('unicode_escape').decode()}'"
        raise NoJson(f"invalid character {shown if sign.isascii() else repr(sign)} {where}")

    def value(self) -> None:
        sign = self.look()
        if sign in "{[":
            self.place += 1
            self.open.append(sign)
            self.item(first=True)
        elif sign == '"':
            self.string()
        elif sign in "-0123456789":
            self.number()
        else:
            self.word(sign)

    def item(self, *, first: bool) -> None:
        """What follows an opening bracket or a comma."""
        sign = self.look()
        if first and sign == ("}" if self.open[-1] == "{" else "]"):
            return
        if self.open[-1] == "{":
            if sign != '"':
                self.fail("looking for beginning of object key string")
            self.string()
            if self.look() != ":":
                self.fail("after object key")
            self.place += 1
        self.value()

    def string(self) -> None:
        found = _PLAIN.match(self.text, self.place)
        self.place = found.end() if found else self.place
        sign = self.text[self.place : self.place + 1]
        if sign == '"':
            self.place += 1
            return
        if sign != "\\":
            self.fail("in string literal")
        self.place += 1
        if self.text[self.place : self.place + 1] != "u":
            self.fail("in string escape code")
        self.place += 1
        while self.text[self.place : self.place + 1] in _HEX:
            self.place += 1
        self.fail(r"in \u hexadecimal character escape")

    def number(self) -> None:
        found = _NUMBER.match(self.text, self.place)
        if found is None:
            self.place += 1
            self.fail("in numeric literal")
        else:
            self.place = found.end()
            following = self.text[self.place : self.place + 1]
            if following in (".", "e", "E") and following:
                self.place += 1
                self.fail(
                    "after decimal point in numeric literal" if following == "." else "in exponent of numeric literal"
                )

    def word(self, sign: str) -> None:
        word = {"t": "true", "f": "false", "n": "null"}.get(sign)
        if word is None:
            self.fail("looking for beginning of value")
        else:
            for letter in word:
                if self.text[self.place : self.place + 1] != letter:
                    self.fail(f"in literal {word} (expecting '{letter}')")
                self.place += 1
