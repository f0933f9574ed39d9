"""The store by itself, in this process: durable commits on SQLite, and opening it again. Figures of docs/decisions/0002-store.md."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks import Figure
from pierhead.api.codec import stamp
from pierhead.store import Absent, Put
from pierhead.store.sqlite import SqliteStore

VALUE = b'{"kind":"Service","metadata":{"resourceVersion":""},"padding":"' + b"x" * 935 + b'"}'
COMMITS = 10_000


def run() -> Iterator[Figure]:
    for writers in (1, 16, 64):
        yield from uvloop.run(writing(writers))
    yield from uvloop.run(opening())


async def writing(writers: int) -> list[Figure]:
    """Commits of two operations and two preconditions, as the create of a Service makes them."""
    with tempfile.TemporaryDirectory() as directory:
        store = await SqliteStore.open(Path(directory), stamp)
        latencies: list[float] = []

        async def write(writer: int) -> None:
            for number in range(COMMITS // writers):
                service, claim = f"services/default/{writer}-{number}", f"claims/ip/{writer}-{number}"
                started = time.perf_counter()
                await store.commit(
                    [Put(service, VALUE), Put(claim, service.encode())], [Absent(service), Absent(claim)]
                )
                latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(write(writer) for writer in range(writers)))
        rate = len(latencies) / (time.perf_counter() - started)
        counted = store.statistics()
        await store.close()
    return [
        Figure(f"durable commits, {writers} writers", round(rate), "1/s"),
        Figure(f"p50 of a commit, {writers} writers", round(statistics.median(latencies) * 1e3, 2), "ms"),
        Figure(f"commits in a batch, {writers} writers", round(counted.commits / counted.batches, 1), "1"),
    ]


async def opening() -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        store = await SqliteStore.open(Path(directory), stamp)
        made = time.perf_counter() - started
        await store.commit([Put(f"services/default/{number}", VALUE) for number in range(10_000)])
        await store.close()
        started = time.perf_counter()
        store = await SqliteStore.open(Path(directory), stamp)
        loaded = time.perf_counter() - started
        await store.close()
    return [
        Figure("making an empty store", round(made * 1e3, 1), "ms"),
        Figure("opening a store of 10,000 values", round(loaded * 1e3, 1), "ms"),
    ]
