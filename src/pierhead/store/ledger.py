"""The state behind every engine: what is published, what is staged, what happened since the last compaction. Pure.

An engine calls ``decide`` for each commit, makes the staged rows durable in whatever way it has, and then either ``publish``-es
all of them or ``discard``-s all of them. Between the two only ``decide`` looks at what is staged; readers and watchers never do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, assert_never

import msgspec

from pierhead.errors import Compacted, PreconditionFailed
from pierhead.store import (
    Absent,
    AtRevision,
    Delete,
    Deliver,
    Entry,
    Event,
    Operation,
    Precondition,
    Present,
    Put,
    RangeEmpty,
    Stamp,
)

_LAST_CHARACTER = "\U0010ffff"


class Row(NamedTuple):
    """One operation as a log keeps it."""

    revision: int
    key: str
    value: bytes | None
    """Not stamped; None when the key was deleted."""
    first: int
    """The revision of the first operation of the same commit."""


class _Watcher(msgspec.Struct, frozen=True, eq=False):
    prefix: str
    deliver: Deliver

    def tell(self, events: Sequence[Event]) -> None:
        mine = [event for event in events if event.key.startswith(self.prefix)]
        if mine:
            self.deliver(mine)


class Ledger:
    """Sorted keys, their entries, and the history after ``compacted``."""

    def __init__(self, stamp: Stamp, *, compacted: int = 0, rows: Iterable[Row] = ()) -> None:
        """``rows``: a log in the order of its revisions. Those up to ``compacted`` only make state, later ones history too."""
        self.revision = compacted
        self.compacted = compacted
        self._stamp = stamp
        self._entries: dict[str, Entry] = {}
        self._history: list[Event] = []
        self._firsts: list[int] = []  # where the commits in the history begin
        self._staged: dict[str, Row] = {}  # what stands at these keys once everything staged is published
        self._pending: list[Row] = []
        self._watchers: dict[_Watcher, None] = {}  # a set that keeps its order
        for row in rows:
            self._apply(row)
        self._keys = sorted(self._entries)

    # -- writing ---------------------------------------------------------------------------------------------

    @property
    def staged(self) -> Sequence[Row]:
        """What was decided and is not yet published, in order."""
        return self._pending

    def decide(self, operations: Sequence[Operation], preconditions: Sequence[Precondition]) -> Sequence[int]:
        """Checks one commit against published and staged state, stages it, and answers its revisions.

        Raises:
            PreconditionFailed: nothing of it is staged.
            ValueError: it writes a key twice.
        """
        if len({operation.key for operation in operations}) != len(operations):
            raise ValueError("a commit may write a key only once")
        for precondition in preconditions:
            self._require(precondition)
        for operation in operations:
            if isinstance(operation, Delete):
                self._require(Present(operation.key))
        return self._stage(operations)

    def publish(self) -> None:
        """Makes everything staged visible at once, then tells the watchers."""
        pending = self._pending
        self.discard()
        events = [self._apply(row) for row in pending]
        for event in events:
            self._index(event)
        for watcher in tuple(self._watchers):
            if watcher in self._watchers:  # one that was told before may have ended it
                watcher.tell(events)

    def discard(self) -> None:
        """Forgets everything staged, as if it had never been decided; its revisions are given again."""
        self._pending = []
        self._staged = {}

    # -- reading ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def range(self, prefix: str, *, after: str = "", limit: int = 0, at: int = 0) -> Sequence[Entry]:
        low, high = self._bounds(prefix)
        low = max(low, bisect_right(self._keys, after, hi=high))
        past = self._undone(prefix, at) if at else {}
        if not past:
            high = min(high, low + limit) if limit else high
            return [self._entries[key] for key in self._keys[low:high]]
        gone = sorted(key for key in past if key > after and key not in self._entries)
        keys = merge(self._keys[low:high], gone)
        then = (past[key] if key in past else self._entries[key] for key in keys)
        return list(islice((entry for entry in then if entry is not None), limit or None))

    def count(self, prefix: str) -> int:
        low, high = self._bounds(prefix)
        return high - low

    def watch(self, prefix: str, after: int, deliver: Deliver) -> Callable[[], None]:
        self._reach(after)
        watcher = _Watcher(prefix, deliver)
        watcher.tell(self._since(after))
        self._watchers[watcher] = None
        return lambda: self._watchers.pop(watcher, None)

    # -- compaction ------------------------------------------------------------------------------------------

    def step(self, revision: int, most: int) -> int:
        """How far a compaction to ``revision`` gets when it may forget at most ``most`` operations.

        Raises:
            Compacted: ``revision`` lies in the future.
        """
        if revision > self.revision:
            raise Compacted(revision, self.compacted)
        if len(self._history) > most:
            revision = min(revision, self._history[most - 1].revision)
        return max(revision, self.compacted)

    def superseded(self, revision: int) -> list[int]:
        """The revisions of the rows which a log may drop once history is compacted to ``revision``: values that were
        replaced or deleted up to it, and the deletions themselves."""
        found = []
        for event in islice(self._history, self._place(revision)):
            if event.previous is not None:
                found.append(event.previous.revision)
            if event.value is None:
                found.append(event.revision)
        return found

    def compact(self, revision: int) -> None:
        """Forgets history up to and including ``revision``, which is one that ``step`` answered."""
        del self._history[: self._place(revision)]
        del self._firsts[: bisect_right(self._firsts, revision)]
        self.compacted = revision

    # -- inside ----------------------------------------------------------------------------------------------

    def _require(self, precondition: Precondition) -> None:
        match precondition:
            case Absent(key):
                held = (revision := self._stands(key)) is None
            case Present(key):
                held = (revision := self._stands(key)) is not None
            case AtRevision(key, asked):
                held = (revision := self._stands(key)) == asked
            case RangeEmpty(prefix, after):
                key = self._first(prefix, after)
                held = (revision := self._stands(key)) is None or revision <= after
            case _:
                assert_never(precondition)
        if not held:
            raise PreconditionFailed(key, revision)

    def _stands(self, key: str) -> int | None:
        """The revision at which ``key`` will stand when everything staged is published."""
        if (row := self._staged.get(key)) is not None:
            return None if row.value is None else row.revision
        entry = self._entries.get(key)
        return entry.revision if entry is not None else None

    def _first(self, prefix: str, after: int) -> str:
        """A key under ``prefix`` that was written after revision ``after`` and stands; the prefix itself when there is none."""
        low, high = self._bounds(prefix)
        published = (self._keys[place] for place in range(low, high))
        staged = (key for key in self._staged if key.startswith(prefix))
        late = (key for keys in (published, staged) for key in keys if (self._stands(key) or 0) > after)
        return next(late, prefix)

    def _stage(self, operations: Sequence[Operation]) -> Sequence[int]:
        first = (self._pending[-1].revision if self._pending else self.revision) + 1
        revisions = range(first, first + len(operations))
        for revision, operation in zip(revisions, operations, strict=True):
            value = operation.value if isinstance(operation, Put) else None
            row = Row(revision, operation.key, value, first)
            self._pending.append(row)
            self._staged[operation.key] = row
        return revisions

    def _apply(self, row: Row) -> Event:
        previous = self._entries.get(row.key)
        if row.value is None:
            value = None
            self._entries.pop(row.key, None)
        else:
            value = self._stamp(row.value, row.revision)
            self._entries[row.key] = Entry(row.key, value, row.revision)
        event = Event(row.revision, row.key, value, previous)
        if row.revision > self.compacted:
            self.revision = row.revision
            self._history.append(event)
            if row.revision == row.first:
                self._firsts.append(row.first)
        return event

    def _index(self, event: Event) -> None:
        if event.value is None:
            del self._keys[bisect_left(self._keys, event.key)]
        elif event.previous is None:
            insort(self._keys, event.key)

    def _bounds(self, prefix: str) -> tuple[int, int]:
        low = bisect_left(self._keys, prefix)
        stem = prefix.rstrip(_LAST_CHARACTER)
        if not stem:
            return low, len(self._keys)
        behind = stem[:-1] + chr(ord(stem[-1]) + 1)
        return low, bisect_left(self._keys, behind, lo=low)

    def _reach(self, revision: int) -> None:
        if not self.compacted <= revision <= self.revision:
            raise Compacted(revision, self.compacted)

    def _place(self, revision: int) -> int:
        """How many events of the history are at or before ``revision``."""
        return bisect_right(self._history, revision, key=attrgetter("revision"))

    def _since(self, revision: int) -> list[Event]:
        return self._history[self._place(revision) :]

    def _undone(self, prefix: str, at: int) -> dict[str, Entry | None]:
        """What stood, after the commit that holds the revision ``at``, at those keys under ``prefix`` which changed since."""
        self._reach(at)
        later = bisect_right(self._firsts, at)
        if later == len(self._firsts):
            return {}
        undone = islice(reversed(self._history), len(self._history) - self._place(self._firsts[later] - 1))
        return {event.key: event.previous for event in undone if event.key.startswith(prefix)}
