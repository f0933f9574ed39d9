"""``Store``: commits, revisions and watches over bytes. One of the five contracts.

Law: the store knows keys, bytes and revisions, and nothing of what they mean; it imports only ``errors``. Engines (memory,
sqlite, later etcd) pass one contract suite with the same conflict tables.

* A commit is all or nothing. Every operation in it gets a revision of its own, strictly increasing, those of one commit
  adjacent, so that a watch which was cut between two events of one commit resumes exactly.
* Nothing is visible before it is durable; then all of a commit becomes visible at once, in one loop iteration.
* Reads are synchronous: current values live in memory, and show the last published revision.
* All methods are called on the event loop's thread; an engine may do its I/O in threads of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec


class Put(msgspec.Struct, frozen=True):
    """Write ``value`` at ``key``, whether or not the key exists."""

    key: str
    value: bytes


class Delete(msgspec.Struct, frozen=True):
    """Remove ``key``, which must exist."""

    key: str


Operation: TypeAlias = Put | Delete


class Absent(msgspec.Struct, frozen=True):
    """Holds while ``key`` does not exist."""

    key: str


class AtRevision(msgspec.Struct, frozen=True):
    """Holds while ``key`` exists and was last written at ``revision``."""

    key: str
    revision: int


class RangeEmpty(msgspec.Struct, frozen=True):
    """Holds while no key that starts with ``prefix`` was written after revision ``after``; with 0, while there is none.

    What was deleted meanwhile does not count: who has read a range and decided upon it needs to know only what came in.
    """

    prefix: str
    after: int = 0


class Present(msgspec.Struct, frozen=True):
    """Holds while ``key`` exists, at whatever revision: an object is not born into a namespace that has just gone."""

    key: str


Precondition: TypeAlias = Absent | AtRevision | RangeEmpty | Present


class Entry(NamedTuple):
    """One key as it is now."""

    key: str
    value: bytes
    """Stamped: the value carries its own revision (see ``Stamp``)."""
    revision: int


class Event(NamedTuple):
    """What one operation did."""

    revision: int
    key: str
    value: bytes | None
    """Stamped; None when the key was deleted."""
    previous: Entry | None
    """What stood at the key before; None when it is new."""


Stamp: TypeAlias = Callable[[bytes, int], bytes]
"""``stamp(value, revision)``: writes the revision into a value when it is published or loaded. A value cannot know its
revision before the commit (in etcd not even then), so it is stored without."""

Deliver: TypeAlias = Callable[[Sequence[Event]], None]


DURATION_BOUNDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048)
"""Seconds. A disk that syncs in less than a millisecond is a good one; one that takes a tenth of a second is ill."""


class Durations(NamedTuple):
    """How long something took, each time: a histogram over ``DURATION_BOUNDS``."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS) + 1)
    """How often it took no longer than each bound (and longer than the one before); last, how often longer than all."""
    seconds: float = 0.0
    """Altogether."""

    def with_one(self, seconds: float) -> Durations:
        place = bisect_left(DURATION_BOUNDS, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Durations(counts, self.seconds + seconds)


class Statistics(NamedTuple):
    """What an engine did since it was opened. ``commits / batches`` above 1 shows group commit."""

    commits: int
    """Durable ones; those that failed do not count."""
    batches: int
    """Writes to the medium, each of one commit or several that became durable together."""
    operations: int
    durations: Durations
    """Of making each batch durable."""


class Store(Protocol):
    """Where the region's state lives."""

    uid: str
    """A random id written when the store was made; a rebuilt store has another, which voids reports about the older one."""

    @property
    def revision(self) -> int:
        """The revision of the last published operation; 0 in an empty store."""
        ...

    @property
    def compacted(self) -> int:
        """History holds the events after this revision."""
        ...

    async def commit(
        self, operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()
    ) -> Sequence[int]:
        """Checks every precondition, then writes every operation, durably, and answers their revisions in order.

        Preconditions are checked against the state after all earlier commits. One key may be written once per commit.

        Raises:
            PreconditionFailed: the first precondition that does not hold, or a ``Delete`` of a missing key; nothing is written.
                For ``RangeEmpty`` it names a key of the range that was written too late.
            StoreFailed: the engine could not make it durable; nothing is published.
        """
        ...

    def get(self, key: str) -> Entry | None:
        """What stands at ``key``, now."""
        ...

    def range(self, prefix: str, *, after: str = "", limit: int = 0, at: int = 0) -> Sequence[Entry]:
        """Entries whose key starts with ``prefix``, in key order, beginning behind the key ``after``, at most ``limit`` (0: all).

        ``at``: as of that revision (0: now), for pages of one consistent list. Inside a commit it means the whole commit.

        Raises:
            Compacted: ``at`` is older than the history or lies in the future.
        """
        ...

    def count(self, prefix: str) -> int:
        """How many keys start with ``prefix``, now."""
        ...

    def watch(self, prefix: str, after: int, deliver: Deliver) -> Callable[[], None]:
        """Calls ``deliver`` with the events after revision ``after`` at once (when there are any), then with those of each
        later commit, in order, never part of a commit except where ``after`` itself cuts one. Commits that became durable
        together come in one call. Returns what ends the watch.

        ``deliver`` runs on the loop inside publication and must neither block, nor raise, nor call the store's ``commit``.

        Raises:
            Compacted: ``after`` is older than the history or lies in the future.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forgets history up to and including ``revision``; current values stay. Resuming from before it raises Compacted.

        Raises:
            Compacted: ``revision`` lies in the future.
            StoreFailed: as for ``commit``.
        """
        ...

    def statistics(self) -> Statistics: ...

    async def close(self) -> None:
        """Finishes what was accepted, then releases files and locks. Later commits raise StoreFailed."""
        ...
