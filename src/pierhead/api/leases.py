"""Leases: who holds something, and until when."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import invalid_value, invalid_values, non_negative
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

_COORDINATED = ("strategy", "preferredHolder")
"""Fields of coordinated leader election, which is off in the real server too."""


class LeaseStrategy(Strategy):
    """Times are the holder's own affair; only durations and counts are checked."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        _drop(obj)

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        _drop(obj)

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes, seconds = [], spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            causes.append(invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        turns = spec.get("leaseTransitions") or 0
        return causes + invalid_values("spec.leaseTransitions", turns, non_negative(turns))

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        return self.validate(obj, write)


def _drop(obj: Tree) -> None:
    for name in _COORDINATED:
        (obj.get("spec") or {}).pop(name, None)
