"""The engine that forgets: for tests, and for regions that need not outlive their process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from pierhead.errors import StoreFailed
from pierhead.store import Durations, Operation, Precondition, Stamp, Statistics
from pierhead.store.ledger import Ledger
from pierhead.store.published import Published


class MemoryStore(Published):
    """A ``Store`` for which durable means: applied."""

    def __init__(self, stamp: Stamp) -> None:
        super().__init__(Ledger(stamp))
        self.uid = os.urandom(16).hex()
        self._commits = 0
        self._operations = 0
        self._closed = False

    async def commit(
        self, operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()
    ) -> Sequence[int]:
        if self._closed:
            raise StoreFailed("the store is closed")
        await asyncio.sleep(0)  # others run while a commit is under way, as they do with every engine
        revisions = self._ledger.decide(operations, preconditions)
        self._commits += 1
        self._operations += len(operations)
        self._ledger.publish()
        return revisions

    async def compact(self, revision: int) -> None:
        await asyncio.sleep(0)
        self._ledger.compact(self._ledger.step(revision, self._ledger.revision))

    def statistics(self) -> Statistics:
        return Statistics(self._commits, self._commits, self._operations, Durations())

    async def close(self) -> None:
        self._closed = True
        await asyncio.sleep(0)  # what was accepted before goes first
