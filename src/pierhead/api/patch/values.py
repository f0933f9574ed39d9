"""JSON values as patches see them: copied, compared, and shown in the real server's messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pierhead.errors import bad_request

P = ParamSpec("P")
T = TypeVar("T")

_JSON_WORDS = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_GO_WORDS = {
    dict: "map[string]interface {}",
    list: "[]interface {}",
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
}


def copied(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if isinstance(value, dict):
        return {key: copied(below) for key, below in value.items()}
    if isinstance(value, list):
        return [copied(below) for below in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: a bool is no number, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def json_word(value: Any) -> str:
    """How the real server's JSON decoder names the type of a value."""
    return _JSON_WORDS.get(type(value), "null")


def go_word(value: Any) -> str:
    """The Go type of a decoded value."""
    return _GO_WORDS.get(type(value), "<nil>")


def shallow(function: Callable[P, T]) -> Callable[P, T]:
    """Refuses what is nested deeper than the interpreter's stack, as JSON decoders do with a limit of their own."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except RecursionError as error:
            raise bad_request("error decoding patch: json: exceeded max depth") from error

    return guarded


@shallow
def go_text(value: Any) -> str:
    """A value as Go's ``%v`` prints it: ``map[port:80 protocol:TCP]``, keys sorted.

    Raises:
        ApiError: 400; it is nested too deeply.
    """
    return _printed(value)


def _printed(value: Any) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_printed(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_printed, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
