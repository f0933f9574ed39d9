"""Label and field selectors: what they say, and whether an object is meant.

Texts of queries follow the real server's parsers, errors included (k8s.io/apimachinery ``labels`` and ``fields``). A selector shows
itself (``str``) in the form that parses to it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, NoReturn, TypeAlias

import msgspec

from pierhead.api import Tree
from pierhead.api.rules import (
    forbidden_field,
    invalid_value,
    invalid_values,
    label_causes,
    label_value,
    qualified_name,
    required,
)
from pierhead.errors import Cause, bad_request

Operator: TypeAlias = Literal["in", "notin", "=", "==", "!=", "exists", "!", "gt", "lt"]

_BINARY: Mapping[str, Operator] = {
    "in": "in", "notin": "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt",
}  # fmt: skip
_TREE_OPERATORS: Mapping[str, Operator] = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt",
}  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_INT64 = range(-(2**63), 2**63)


# -- label selectors ----------------------------------------------------------------------------------------


class Requirement(msgspec.Struct, frozen=True):
    """One term of a label selector."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "notin" | "!=":
                return value is None or value not in self.values
            case "gt" | "lt":
                return value is not None and self._compares(value)
            case _:
                return value is not None and value in self.values

    def _compares(self, value: str) -> bool:
        found, bound = _integer(value), _integer(self.values[0])
        if found is None or bound is None:
            return False
        return found > bound if self.operator == "gt" else found < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


class LabelSelector(msgspec.Struct, frozen=True):
    """All of its requirements must hold; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Selects no object at all: the meaning of a selector that is absent where one is expected."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(found.matches(labels) for found in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def from_labels(labels: Mapping[str, str]) -> LabelSelector:
    """A plain map of labels, like a Service's ``spec.selector``."""
    return LabelSelector(tuple(Requirement(key, "=", (value,)) for key, value in sorted(labels.items())))


def from_tree(tree: Tree | None) -> LabelSelector:
    """A ``LabelSelector`` object with matchLabels and matchExpressions, already validated. None selects nothing."""
    if tree is None:
        return LabelSelector(nothing=True)
    exact = from_labels(tree.get("matchLabels") or {}).requirements
    return LabelSelector(exact + tuple(map(_from_expression, tree.get("matchExpressions") or ())))


def _from_expression(tree: Tree) -> Requirement:
    return Requirement(tree["key"], _TREE_OPERATORS[tree["operator"]], tuple(sorted(tree.get("values") or ())))


def selector_causes(path: str, tree: Tree) -> list[Cause]:
    """Everything wrong with a ``LabelSelector`` object. ``path``: of the object."""
    causes = label_causes(f"{path}.matchLabels", tree.get("matchLabels") or {})
    for place, expression in enumerate(tree.get("matchExpressions") or ()):
        causes += expression_causes(f"{path}.matchExpressions[{place}]", expression)
    return causes


def expression_causes(path: str, expression: Tree, *, compares: bool = False) -> list[Cause]:
    """Everything wrong with one of ``matchExpressions``. ``compares``: ``Gt`` and ``Lt`` are operators too, as of labels of nodes."""
    operator, values, causes = expression.get("operator") or "", expression.get("values") or [], []
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden_field(f"{path}.values", text))
    elif compares and operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes.append(required(f"{path}.values", text))
    else:
        causes.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    key = expression.get("key") or ""
    causes += invalid_values(f"{path}.key", key, qualified_name(key))
    for place, value in enumerate(values):
        causes += invalid_values(f"{path}.values[{place}]", value, label_value(value))
    return causes


def parse_labels(text: str) -> LabelSelector:
    """``a=b,c!=d,e in (f,g),!h,i>1``: the value of ``labelSelector``.

    Raises:
        ApiError: 400 with the real parser's text.
    """
    return LabelSelector(_LabelParser(text).parse())


class _Token(NamedTuple):
    kind: str
    """``identifier``, ``end``, or the symbol or keyword itself."""
    text: str


_LEXEME = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>]+))")


def _tokens(text: str) -> list[_Token]:
    found = []
    for symbol, word in _LEXEME.findall(text):
        if symbol:
            found.append(_Token(symbol, symbol))
        else:
            found.append(_Token(word if word in ("in", "notin") else "identifier", word))
    return [*found, _Token("end", "")]


class _LabelParser:
    """A recursive-descent parser. ``in`` and ``notin`` are keywords only where an operator is expected."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def parse(self) -> tuple[Requirement, ...]:
        found: list[Requirement] = []
        while self._next().kind != "end":
            if self._next().kind not in ("identifier", "!"):
                _fail(f"found '{self._next().text}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            token = self._take()
            if token.kind == "end":
                break
            if token.kind != ",":
                _fail(f"found '{token.text}', expected: ',' or 'end of string'")
            if self._next().kind not in ("identifier", "!"):
                _fail(f"found '{self._next().text}', expected: identifier after ','")
        return tuple(found)

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        return _Token("identifier", token.text) if token.kind in ("in", "notin") else token

    def _take(self) -> _Token:
        token = self._next()
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _requirement(self) -> Requirement:
        absent = self._next().kind == "!"
        if absent:
            self._take()
        token = self._take()
        if token.kind != "identifier":
            _refuse(f"found '{token.text}', expected: identifier")
        problems = qualified_name(token.text)
        if problems:
            _refuse(f'<nil>: Invalid value: "{token.text}": {"; ".join(problems)}')
        if absent:
            return Requirement(token.text, "!")
        if self._next().kind in ("end", ","):
            return Requirement(token.text, "exists")
        return self._comparison(token.text)

    def _comparison(self, key: str) -> Requirement:
        token = self._tokens[self._at]
        self._take()
        operator = _BINARY.get(token.kind)
        if operator is None:
            _refuse(f"found '{token.text}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if operator in ("in", "notin") else self._value()
        _check_values(key, operator, values)
        return Requirement(key, operator, values)

    def _value(self) -> tuple[str, ...]:
        if self._next().kind in ("end", ","):
            return ("",)
        token = self._take()
        if token.kind != "identifier":
            _refuse(f"found '{token.text}', expected: identifier")
        return (token.text,)

    def _values(self) -> tuple[str, ...]:
        token = self._take()
        if token.kind != "(":
            _refuse(f"found '{token.text}' expected: '('")
        first = self._next()
        if first.kind not in ("identifier", ",", ")"):
            _refuse(f"found '{first.text}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            values.add(self._listed())
            token = self._take()
            if token.kind == ")":
                return tuple(sorted(values))
            if token.kind != ",":
                _refuse(f"found '{token.text}', expected: ',' or ')'")

    def _listed(self) -> str:
        """One value of a list; between two commas it is the empty one."""
        if self._next().kind in (",", ")"):
            return ""
        token = self._take()
        if token.kind != "identifier":
            _refuse(f"found '{token.text}', expected: ',', or identifier")
        return token.text


def _check_values(key: str, operator: Operator, values: Sequence[str]) -> None:
    problems = []
    for place, value in enumerate(values):
        if operator in ("gt", "lt") and _integer(value) is None:
            text = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(f'values[{place}]: Invalid value: "{value}": {text}')
    for place, value in enumerate(values):
        texts = label_value(value)
        if texts:
            problems.append(f'values[{place}][{key}]: Invalid value: "{value}": {"; ".join(texts)}')
    if problems:
        _refuse(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _integer(text: str) -> int | None:
    """An int64 in decimal, else None."""
    if len(text) > 20 or not _INTEGER.match(text):
        return None
    return int(text) if int(text) in _INT64 else None


def _refuse(why: str) -> NoReturn:
    _fail(f"unable to parse requirement: {why}")


def _fail(why: str) -> NoReturn:
    raise bad_request(why)


# -- field selectors ----------------------------------------------------------------------------------------


class FieldTerm(NamedTuple):
    """``path`` equals ``value``, or (``negated``) does not."""

    path: str
    negated: bool
    value: str


class FieldSelector(msgspec.Struct, frozen=True):
    """All of its terms must hold."""

    terms: tuple[FieldTerm, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths it asks for."""
        return tuple(term.path for term in self.terms)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """``fields``: path → value; a path that is absent counts as empty."""
        return all((fields.get(term.path, "") == term.value) != term.negated for term in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{term.path}{'!=' if term.negated else '='}{_escaped(term.value)}" for term in self.terms)


_FIELD_TERMS = re.compile(r"(?:[^\\,]|\\.|\\\Z)+", re.DOTALL)
_FIELD_TERM = re.compile(r"(.*?)(!=|==|=)(.*)\Z", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    r"""``metadata.name=a,spec.type!=ClusterIP``: the value of ``fieldSelector``. In values ``\`` escapes ``,``, ``=`` and itself.

    Raises:
        ApiError: 400 with the real parser's text.
    """
    terms = []
    for part in sorted(_FIELD_TERMS.findall(text)):
        found = _FIELD_TERM.match(part)
        if found is None:
            _fail(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = found.groups()
        terms.append(FieldTerm(path, operator == "!=", _unescaped(value)))
    return FieldSelector(tuple(terms))


def _unescaped(value: str) -> str:
    found, characters = [], iter(value)
    for character in characters:
        if character in (",", "="):
            _fail(f"invalid field selector: unescaped character in value: {ord(character)}")
        meant = next(characters, "") if character == "\\" else character
        if character == "\\" and meant not in ("\\", ",", "="):
            _fail(f"invalid field selector: invalid escape sequence: \\{meant}")
        found.append(meant)
    return "".join(found)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)
