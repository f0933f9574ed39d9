"""From one table to another: the changes, in the order in which a back end may apply them one by one.

Endpoints come before the frontends that lead to them, and leave after: at no point in between does a frontend lead nowhere that
led somewhere in both tables. A frontend that changes hands is one change, never a removal and an addition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from pierhead.forwarding.table import Backends, ForwardingTable, Frontend, PortKey, Rule

K = TypeVar("K", PortKey, Frontend)


class Reset(msgspec.Struct, frozen=True, gc=False):
    """Forget everything: what follows in the same commit is the whole table."""


class SetBackends(msgspec.Struct, frozen=True, gc=False):
    key: PortKey
    backends: Backends


class SetRule(msgspec.Struct, frozen=True, gc=False):
    frontend: Frontend
    rule: Rule


class RemoveRule(msgspec.Struct, frozen=True, gc=False):
    frontend: Frontend


class RemoveBackends(msgspec.Struct, frozen=True, gc=False):
    key: PortKey


Change: TypeAlias = Reset | SetBackends | SetRule | RemoveRule | RemoveBackends


def diff(old: ForwardingTable, new: ForwardingTable) -> tuple[Change, ...]:
    """The changes that turn ``old`` into ``new``, sorted within each step; empty when the two are equal."""
    led, rules = new.backends, new.rules
    changes: list[Change] = [SetBackends(key, led[key]) for key in _changed(old.backends, led)]
    changes += [SetRule(frontend, rules[frontend]) for frontend in _changed(old.rules, rules)]
    changes += [RemoveRule(frontend) for frontend in sorted(old.rules.keys() - new.rules.keys())]
    changes += [RemoveBackends(key) for key in sorted(old.backends.keys() - new.backends.keys())]
    return tuple(changes)


def _changed(old: Mapping[K, object], new: Mapping[K, object]) -> Sequence[K]:
    """Keys of what is new or another one, sorted."""
    return sorted(key for key in new if old.get(key) != new[key]) if old else sorted(new)


def whole(table: ForwardingTable) -> tuple[Change, ...]:
    """The changes after which a back end holds exactly ``table``, whatever it held."""
    return (Reset(), *diff(ForwardingTable(), table))


def applied(table: ForwardingTable, changes: Iterable[Change]) -> ForwardingTable:
    """The table after the changes."""
    rules, backends = dict(table.rules), dict(table.backends)
    for change in changes:
        match change:
            case Reset():
                rules.clear()
                backends.clear()
            case SetBackends(key, found):
                backends[key] = found
            case SetRule(frontend, rule):
                rules[frontend] = rule
            case RemoveRule(frontend):
                rules.pop(frontend, None)
            case RemoveBackends(key):
                backends.pop(key, None)
    return ForwardingTable(rules, backends)
