"""What is forgotten, and when."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtual
from pierhead.api.codec import stamp
from pierhead.apiserver import history
from pierhead.apiserver.history import KEEP_REVISIONS, KEEP_SECONDS, LOOK_EVERY, MOST_REVISIONS, Window
from pierhead.errors import StoreFailed
from pierhead.store import Put
from pierhead.store.memory import MemoryStore

HALF = KEEP_REVISIONS // 2


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 3000)), min_size=1))
def test_history_is_kept_for_its_time_and_its_length(steps: list[tuple[float, int]]) -> None:
    window, now, revision = Window(), 0.0, 0
    past = [(0.0, 0)]
    for seconds, writes in steps:
        now, revision = now + seconds, revision + writes
        past.append((now, revision))
        forgettable = window.forgettable(now, revision)
        assert forgettable <= max(0, revision - KEEP_REVISIONS)
        flood = max(0, revision - MOST_REVISIONS)
        assert all(forgettable <= max(then, flood) for moment, then in past if moment > now - KEEP_SECONDS)


def test_what_is_young_stays_and_so_do_the_last_revisions() -> None:
    window = Window()
    assert window.forgettable(0.0, HALF) == 0
    assert window.forgettable(KEEP_SECONDS, HALF) == 0
    assert window.forgettable(KEEP_SECONDS + 1, 4 * HALF) == HALF
    assert window.forgettable(KEEP_SECONDS + 2, 20 * HALF) == HALF
    assert window.forgettable(2 * KEEP_SECONDS + 2, 20 * HALF) == 18 * HALF


def test_a_flood_of_writes_is_not_kept_for_minutes() -> None:
    window = Window()
    assert window.forgettable(0.0, MOST_REVISIONS) == 0
    assert window.forgettable(LOOK_EVERY, MOST_REVISIONS + 7) == 7


def test_a_store_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history, "MOST_REVISIONS", 1)

    class Full(MemoryStore):
        failures = 2

        async def compact(self, revision: int) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreFailed("the disk is full")
            await super().compact(revision)

    async def scenario() -> int:
        store = Full(stamp)
        for n in range(3):
            await store.commit([Put(f"configmaps/default/{n}", b"{}")])
        async with asyncio.TaskGroup() as group:
            compacting = group.create_task(history.compact(store))
            await asyncio.sleep(3.5 * LOOK_EVERY)
            compacting.cancel()
        return store.compacted

    with caplog.at_level(logging.WARNING):
        assert virtual.run(scenario()) == 2
    assert [record.getMessage() for record in caplog.records] == ["history was not compacted: the disk is full"] * 2
