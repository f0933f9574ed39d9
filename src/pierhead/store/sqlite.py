"""The engine of one machine: everything in memory, every commit in a SQLite log before it is visible or answered.

Group commit: one batch is being written at a time, in a thread; the commits that arrive meanwhile form the next one. So a batch
is always decided against published state only, and a failed one takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from pierhead.errors import StoreFailed
from pierhead.store import Durations, Operation, Precondition, Stamp, Statistics
from pierhead.store.ledger import Ledger
from pierhead.store.log import Batch, Log
from pierhead.store.published import Published

log = logging.getLogger(__name__)

_MOST_COMMITS = 512
"""In a batch. It bounds how long a publication may hold the loop."""

_MOST_FORGOTTEN = 1024
"""Operations that one batch compacts away, so that a compaction delays commits by a few milliseconds at most."""


class _Commit(msgspec.Struct, frozen=True):
    operations: Sequence[Operation]
    preconditions: Sequence[Precondition]
    answer: asyncio.Future[Sequence[int]]


class _Compaction(msgspec.Struct, frozen=True):
    revision: int
    answer: asyncio.Future[Sequence[int]]


_Outcome: TypeAlias = tuple[asyncio.Future[Sequence[int]], Sequence[int] | Exception]


@dataclass(slots=True)
class _Turn:
    """One batch on its way to the log, and what to tell those who wait for it."""

    outcomes: list[_Outcome] = field(default_factory=list)
    compacted: int = 0


class SqliteStore(Published):
    """A ``Store`` in a directory."""

    def __init__(self, log: Log, ledger: Ledger, writer: ThreadPoolExecutor) -> None:
        """Takes over what ``open`` made."""
        super().__init__(ledger)
        self.uid = log.uid
        self._log = log
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._commits: deque[_Commit] = deque()
        self._compactions: deque[_Compaction] = deque()
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._statistics = Statistics(0, 0, 0, Durations())

    @classmethod
    async def open(cls, directory: Path, stamp: Stamp) -> SqliteStore:
        """Opens the store in ``directory``, or makes it, and reads all of it.

        Raises:
            StoreLocked: another process holds the directory.
            StoreFailed: it cannot be read or written, or is no store.
        """
        writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        try:
            log, ledger = await asyncio.get_running_loop().run_in_executor(writer, _load, directory, stamp)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        return cls(log, ledger, writer)

    async def commit(
        self, operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()
    ) -> Sequence[int]:
        answer = self._awaited()
        self._commits.append(_Commit(operations, preconditions, answer))
        return await answer

    async def compact(self, revision: int) -> None:
        while self._ledger.step(revision, _MOST_FORGOTTEN) > self._ledger.compacted:
            answer = self._awaited()
            self._compactions.append(_Compaction(revision, answer))
            await answer

    def statistics(self) -> Statistics:
        return self._statistics

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._idle.wait()
        await self._loop.run_in_executor(self._writer, self._log.close)
        self._writer.shutdown()

    # -- one batch after the other ---------------------------------------------------------------------------

    def _awaited(self) -> asyncio.Future[Sequence[int]]:
        """An answer that the next batch gives; it begins one iteration from now, so that those who come in this one share it."""
        if self._closed:
            raise StoreFailed("the store is closed")
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._begin)
        return self._loop.create_future()

    def _begin(self) -> None:
        turn = self._decide()
        batch = Batch(self._ledger.staged, self._ledger.superseded(turn.compacted), turn.compacted)
        if batch.rows or batch.compacted:
            written = self._loop.run_in_executor(self._writer, self._log.write, batch)
            written.add_done_callback(partial(self._end, turn, batch))
        else:
            self._answer(turn)

    def _decide(self) -> _Turn:
        """Stages what waits, in the order of its coming. Nobody is answered yet, not even who lost: what he lost to is not
        durable."""
        turn = _Turn()
        for _ in range(min(len(self._commits), _MOST_COMMITS)):
            commit = self._commits.popleft()
            if commit.answer.cancelled():
                continue
            try:
                turn.outcomes.append((commit.answer, self._ledger.decide(commit.operations, commit.preconditions)))
            except Exception as error:  # whatever it is, it is told to who caused it: the others must not wait for ever
                turn.outcomes.append((commit.answer, error))
        if self._compactions:
            compaction = self._compactions.popleft()
            turn.compacted = self._ledger.step(compaction.revision, _MOST_FORGOTTEN)
            turn.outcomes.append((compaction.answer, ()))
        return turn

    def _end(self, turn: _Turn, batch: Batch, written: asyncio.Future[float]) -> None:
        if (error := written.exception()) is not None:
            self._ledger.discard()
            if not self._failing:  # once: every write of every client fails from now on
                log.error(
                    "%s: see to that disk (is it full?); until it can be written, changes are refused and the rest goes on",
                    error,
                )
            self._failing = True
            turn.outcomes = [(answer, StoreFailed(str(error))) for answer, _ in turn.outcomes]
            self._answer(turn)
            return
        if self._failing:
            log.warning("the store can be written again")
        self._failing = False
        self._count(batch, written.result())
        try:
            self._ledger.publish()
            if turn.compacted:
                self._ledger.compact(turn.compacted)
        finally:  # it is durable: a watcher that breaks its law must not keep those waiting who wrote it
            self._answer(turn)

    def _answer(self, turn: _Turn) -> None:
        for answer, outcome in turn.outcomes:
            if answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        if self._commits or self._compactions:
            self._loop.call_soon(self._begin)
        else:
            self._idle.set()

    def _count(self, batch: Batch, seconds: float) -> None:
        commits, batches, operations, durations = self._statistics
        firsts = {row.first for row in batch.rows}
        self._statistics = Statistics(
            commits + len(firsts), batches + 1, operations + len(batch.rows), durations.with_one(seconds)
        )


def _load(directory: Path, stamp: Stamp) -> tuple[Log, Ledger]:
    log = Log(directory)
    try:
        return log, Ledger(stamp, compacted=log.compacted, rows=log.rows())
    except BaseException:
        log.close()
        raise
