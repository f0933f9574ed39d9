"""From endpoints to numbers: an id for each choice that frontends lead to, and a slot for each endpoint of it.

A kernel back end picks a slot below the number of endpoints and looks up (id, slot). So slots are dense, and a change moves as few
endpoints as it can. A packet may have read the old number of endpoints just before a commit: what is above the new one is emptied one
sync later, and an id is given away again only after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pierhead.forwarding.table import Endpoint, Policy, PortKey

IDS: Final = 1 << 19
SLOTS: Final = 1 << 16
"""Endpoints of one choice at most."""


class Socket(NamedTuple):
    address: str
    port: int


class Choice(NamedTuple):
    """The endpoints of one port under one policy: all frontends of the port with this policy share it, and so do sticky clients."""

    key: PortKey
    policy: Policy


class Slot(NamedTuple):
    id: int
    number: int


@dataclass(slots=True)
class Assigned:
    id: int
    sockets: list[Socket] = field(default_factory=list)
    """By slot."""


class Assignment:
    """Pure state: which ids and slots are in use, and what the changes since the last ``advance`` were."""

    def __init__(self) -> None:
        self._held: dict[Choice, Assigned] = {}
        self._free: list[int] = []
        self._next = 1
        self._stale: set[Slot] = set()
        self._retired: list[int] = []
        self.changed: dict[Slot, Socket | None] = {}
        """What slots hold now that held something else at the last ``advance``; None: empty."""

    def advance(self) -> None:
        """A new sync begins: what the last one stopped using is emptied, and its ids may be used again."""
        self.changed = dict.fromkeys(self._stale)
        self._free += self._retired
        self._stale, self._retired = set(), []

    def hold(self, choice: Choice, endpoints: Iterable[Endpoint]) -> Assigned:
        """This choice has these endpoints now.

        Raises:
            OverflowError: there are more than slots, or no id is left.
        """
        wanted = dict.fromkeys(Socket(found.address, found.port) for found in endpoints)
        if len(wanted) > SLOTS:
            raise OverflowError(f"{len(wanted)} endpoints, {SLOTS} at most")
        held = self._held.get(choice)
        if held is None:
            held = self._held[choice] = Assigned(self._take())
        self._place(held, list(wanted))
        return held

    def release(self, choice: Choice) -> int | None:
        """Nobody leads there any more; the id that it had."""
        held = self._held.pop(choice, None)
        if held is None:
            return None
        self._stale.update(Slot(held.id, number) for number in range(len(held.sockets)))
        self._retired.append(held.id)
        return held.id

    def get(self, choice: Choice) -> Assigned | None:
        return self._held.get(choice)

    def all(self) -> Iterable[Assigned]:
        return self._held.values()

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        if self._next >= IDS:
            raise OverflowError(f"{IDS - 1} choices at most")
        self._next += 1
        return self._next - 1

    def _place(self, held: Assigned, wanted: Sequence[Socket]) -> None:
        """Endpoints that stay keep their slots; newcomers fill the holes, then the last ones do."""
        before, size = held.sockets, len(wanted)
        staying = set(before[:size]) & set(wanted)
        waiting = iter([found for found in wanted if found not in staying])
        after = [found if found in staying else next(waiting) for found in before[:size]]
        after += waiting
        for number, found in enumerate(after):
            if number >= len(before) or before[number] != found:
                self.changed[Slot(held.id, number)] = found
                self._stale.discard(Slot(held.id, number))
        self._stale.update(Slot(held.id, number) for number in range(size, len(before)))
        held.sockets = after
