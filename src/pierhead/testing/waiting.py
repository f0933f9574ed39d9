"""Waiting for an object of a region: level-triggered, so that what was missed between two looks does not matter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import KINDS
from pierhead.apiserver.router import collection
from pierhead.testing.life import Life

T = TypeVar("T")

NOT_YET = (LookupError, TypeError, AttributeError)
"""What a path of fields meets where the object does not have it: no such field or item, and what None says to ``[…]`` and to ``.get``."""

_KINDS = {kind.plural: kind for kind in KINDS}
_NEVER = -1
"""No revision."""


def until(life: Life, whom: tuple[str, str, str], what: Callable[[Tree], T], seconds: float) -> T:
    """What ``what`` answers once that is true. It is called in the thread of the caller, who may use the region in it.

    ``whom``: resource, namespace and name.

    Raises:
        TimeoutError, ValueError: see ``Region.wait``.
    """
    key, deadline, revision = _key(*whom), time.monotonic() + seconds, _NEVER
    why: Exception | None = None
    while True:
        left = deadline - time.monotonic()
        found, seen = life.call(life.stage.changed, key, revision, max(left, 0.0))
        if seen != revision:
            why = None
            try:
                if answer := what(found):
                    return answer
            except NOT_YET as error:
                why = error
        if left <= 0:
            met = f", at which {type(why).__name__}: {why}" if why else ""
            raise TimeoutError(f"{key} after {seconds:g} s: {_shown(found)}{met}") from why
        revision = seen


def _key(resource: str, namespace: str, name: str) -> str:
    kind = _KINDS.get(resource)
    if kind is None:
        raise ValueError(f"no resource {resource!r}; there are {', '.join(_KINDS)}")
    return f"{collection(kind, namespace)}{name}"


def _shown(found: Tree) -> str:
    if not found:
        return "it is not there"
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    return msgspec.json.encode(found | {"metadata": metadata}).decode()
