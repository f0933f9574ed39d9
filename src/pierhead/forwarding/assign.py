"""From endpoints to numbers: an id for each choice that frontends lead to, and a slot for each endpoint of it.

A kernel back end picks a slot below the number of endpoints and looks up (id, slot). So slots are dense, and a change moves as few
endpoints as it can. A packet may have read the old number of endpoints just before a commit: what is above the new one is emptied one
sync later, and an id is given away again only after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from pierhead.forwarding.table import Endpoint, Policy, PortKey

IDS: Final = 1 << 19
SLOTS: Final = 1 << 16
"""Endpoints of one choice at most."""
Slot: TypeAlias = int
"""``slot(id, number)``. A number and no pair, for there are a hundred thousand."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Slots of one id beside each other, and what they hold."""

    id: int
    first: int
    endpoints: Sequence[Endpoint]


class Choice(NamedTuple):
    """The endpoints of one port under one policy: all frontends of the port with this policy share it, and so do sticky clients."""

    key: PortKey
    policy: Policy


class Assigned(msgspec.Struct, gc=False):
    """What a choice has."""

    id: int
    endpoints: Sequence[Endpoint] = ()
    """By the number of their slot."""
    mark: int = 0
    """Whatever the back end keeps with it."""


class Assignment:
    """Pure state: which ids and slots are in use, and what has changed since the last ``advance``."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._unused: set[Slot] = set()
        self._retired: list[int] = []
        self.occupied = 0
        """Slots that hold something, those to be emptied by the next ``advance`` included."""
        self.emptied: set[Slot] = set()
        """Slots that held something else, or something, at the last ``advance``."""
        self.filled: list[Run] = []
        """What slots hold now, of those that held something else or nothing; each once."""

    def advance(self) -> None:
        """A new sync begins: what the last one stopped using is emptied, and its ids may be used again."""
        self.emptied, self.filled = self._unused, []
        self.occupied -= len(self._unused)
        self._used.difference_update(self._retired)
        self._unused, self._retired = set(), []

    def take(self, key: PortKey, policy: Policy) -> Assigned | None:
        """A free id: where there is no clash the same one in every process, so that sticky clients outlive a restart. None: there is
        none left."""
        if len(self._used) >= IDS - 1:
            return None
        (namespace, name), port, protocol, family = key
        found = crc32(f"{namespace}/{name}/{port}/{protocol}/{family}/{policy}".encode()) % IDS
        while found in self._used or not found:
            found = (found + 1) % IDS
        self._used.add(found)
        return Assigned(found)

    def release(self, held: Assigned) -> None:
        """Nobody leads there any more."""
        self._unused.update(slot(held.id, number) for number in range(len(held.endpoints)))
        self._retired.append(held.id)

    def place(self, held: Assigned, wanted: Sequence[Endpoint]) -> None:
        """It has these endpoints now, each once and ``SLOTS`` at most. Said once a sync.

        Endpoints that stay keep their slots; the others fill the holes, newcomers and those from above the new end.
        """
        if held.endpoints:
            held.endpoints = self._placed(held, wanted)
        else:
            self._grow(held, wanted)
            held.endpoints = wanted

    def _placed(self, held: Assigned, wanted: Sequence[Endpoint]) -> list[Endpoint]:
        before, size, first = held.endpoints, len(wanted), slot(held.id, 0)
        staying = set(before[:size]) & set(wanted)
        waiting = iter([found for found in wanted if found not in staying])
        after = [found if found in staying else next(waiting) for found in before[:size]]
        for number, (old, new) in enumerate(zip(before, after, strict=False)):
            if old != new:
                self.emptied.add(first + number)
                self.filled.append(Run(held.id, number, [new]))
        self._unused.update(range(first + size, first + len(before)))
        grown = list(waiting)
        if grown:
            self._grow(held, grown)
        return after + grown

    def _grow(self, held: Assigned, more: Sequence[Endpoint]) -> None:
        self.filled.append(Run(held.id, len(held.endpoints), more))
        self.occupied += len(more)


def slot(choice: int, number: int) -> Slot:
    return choice * SLOTS + number
