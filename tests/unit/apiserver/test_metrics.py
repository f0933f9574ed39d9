"""What `/metrics` shows of the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pierhead.api.codec import stamp
from pierhead.apiserver.metrics import Metrics
from pierhead.apiserver.watch import Hub
from pierhead.store import DURATION_BOUNDS, Durations, Put, Statistics
from pierhead.store.memory import MemoryStore
from pierhead.store.sqlite import SqliteStore

NAME = "pierhead_store_commit_duration_seconds"


class Told(MemoryStore):
    """A store that has something to tell."""

    def statistics(self) -> Statistics:
        durations = Durations().with_one(0.0005).with_one(0.0006).with_one(3.0)
        return Statistics(commits=9, batches=3, operations=12, durations=durations)


def test_durations_are_counted_up_to_each_bound() -> None:
    async def render() -> list[str]:
        store = Told(stamp)
        return Metrics(store, Hub(store)).render().decode().splitlines()

    lines = asyncio.run(render())
    assert f'{NAME}_bucket{{le="0.0005"}} 1.0' in lines
    assert f'{NAME}_bucket{{le="0.001"}} 2.0' in lines
    assert f'{NAME}_bucket{{le="{DURATION_BOUNDS[-1]}"}} 2.0' in lines
    assert f'{NAME}_bucket{{le="+Inf"}} 3.0' in lines
    assert f"{NAME}_count 3.0" in lines
    assert f"{NAME}_sum 3.0011" in lines


def test_a_durable_commit_takes_time(tmp_path: Path) -> None:
    async def render() -> list[str]:
        store = await SqliteStore.open(tmp_path, stamp)
        await store.commit([Put("configmaps/default/a", b"{}")])
        shown = Metrics(store, Hub(store)).render().decode().splitlines()
        await store.close()
        return shown

    lines = asyncio.run(render())
    assert "pierhead_store_batches_total 1.0" in lines
    assert f"{NAME}_count 1.0" in lines
