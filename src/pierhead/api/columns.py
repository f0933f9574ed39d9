"""Tables of objects, as ``kubectl get`` shows them: what all kinds share.

The definitions of the columns stand in ``columns.json``. Names and descriptions there are part of the answers of Kubernetes'
API (Apache-2.0), which clients compare; only those of our own kinds are our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec

from pierhead.api import Tree
from pierhead.api.kind import Cell, Column, Columns

NONE = "<none>"
UNKNOWN = "<unknown>"
SHOWN = 3
"""So many of a list of addresses are shown."""

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


class Printed(Columns):
    """The columns of a kind from the definitions, and a function that makes its cells."""

    def __init__(self, kind: str, cells: Callable[[Tree, float], list[Cell]]) -> None:
        self.columns: Sequence[Column] = _definitions()[kind]
        self._cells = cells

    def cells(self, obj: Tree, now: float) -> list[Cell]:
        return self._cells(obj, now)


@cache
def _definitions() -> dict[str, list[Column]]:
    return msgspec.json.decode(Path(__file__).with_name("columns.json").read_bytes(), type=dict[str, list[Column]])


def name_of(obj: Tree) -> str:
    return str(obj["metadata"].get("name") or "")


def age(obj: Tree, now: float) -> str:
    """How long ago an object was created."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def since(timestamp: str | None, now: float) -> str:
    """``timestamp``: RFC 3339; ``now``: seconds since the epoch."""
    return duration(now - datetime.fromisoformat(timestamp).timestamp()) if timestamp else UNKNOWN


def duration(seconds: float) -> str:
    """``45s``, ``3m20s``, ``5h``, ``2d3h``, ``400d``: two units while the second one matters."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole == -1 else "<invalid>"
    for below, one, unit, part, subunit in _FORMS:
        if whole < below:
            rest = whole % one // part if part else 0
            return f"{whole // one}{unit}" + (f"{rest}{subunit}" if rest else "")
    return f"{whole // _YEAR}y"


_FORMS = (
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (48 * _HOUR, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)
"""Below so many seconds: the size and name of a unit, and of the smaller one shown beside it."""


def labels(found: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or NONE


def some(values: Iterable[str], empty: str) -> str:
    """The first few, and how many more there are."""
    found = list(values)
    if len(found) > SHOWN:
        return f"{','.join(found[:SHOWN])} + {len(found) - SHOWN} more..."
    return ",".join(found) or empty


def _default(obj: Tree, now: float) -> list[Cell]:
    return [name_of(obj), age(obj, now)]


DEFAULT = Printed("Default", _default)
"""Of kinds that have nothing else to show."""
