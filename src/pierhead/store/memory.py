"""The engine that forgets: for tests, and for regions that need not outlive their process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from pierhead.errors import StoreFailed
from pierhead.store import Deliver, Entry, Operation, Precondition, Stamp, Statistics
from pierhead.store.ledger import Ledger


class MemoryStore:
    """A ``Store`` for which durable means: applied."""

    def __init__(self, stamp: Stamp) -> None:
        self.uid = os.urandom(16).hex()
        self._ledger = Ledger(stamp)
        self._commits = 0
        self._operations = 0
        self._closed = False

    @property
    def revision(self) -> int:
        return self._ledger.revision

    @property
    def compacted(self) -> int:
        return self._ledger.compacted

    async def commit(
        self, operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()
    ) -> Sequence[int]:
        await asyncio.sleep(0)  # others run while a commit is under way, as they do with every engine
        if self._closed:
            raise StoreFailed("the store is closed")
        revisions = self._ledger.decide(operations, preconditions)
        self._commits += 1
        self._operations += len(operations)
        self._ledger.publish()
        return revisions

    def get(self, key: str) -> Entry | None:
        return self._ledger.get(key)

    def range(self, prefix: str, *, after: str = "", limit: int = 0, at: int = 0) -> Sequence[Entry]:
        return self._ledger.range(prefix, after=after, limit=limit, at=at)

    def count(self, prefix: str) -> int:
        return self._ledger.count(prefix)

    def watch(self, prefix: str, after: int, deliver: Deliver) -> Callable[[], None]:
        return self._ledger.watch(prefix, after, deliver)

    async def compact(self, revision: int) -> None:
        await asyncio.sleep(0)
        self._ledger.compact(self._ledger.step(revision, self._ledger.revision))

    def statistics(self) -> Statistics:
        return Statistics(self._commits, self._commits, self._operations, 0.0)

    async def close(self) -> None:
        self._closed = True
