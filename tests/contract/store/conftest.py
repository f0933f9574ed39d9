"""The engines that the contract is tested on. Each test runs once for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pierhead.store import Store
from pierhead.store.memory import MemoryStore
from pierhead.store.sqlite import SqliteStore


def stamp(value: bytes, revision: int) -> bytes:
    """Values in these tests carry their revision where they have a ``#``."""
    return value.replace(b"#", str(revision).encode())


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Store]]:
    """``async with opened() as store``: an empty store."""

    async def memory() -> Store:
        return MemoryStore(stamp)

    async def sqlite() -> Store:
        return await SqliteStore.open(tmp_path, stamp)

    engines: dict[str, Callable[[], Awaitable[Store]]] = {"memory": memory, "sqlite": sqlite}

    @asynccontextmanager
    async def opening() -> AsyncIterator[Store]:
        store = await engines[request.param]()
        try:
            yield store
        finally:
            await store.close()

    return opening


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[SqliteStore]]:
    """``async with reopened() as store``: the store of this test on SQLite, as a process finds it that starts again."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[SqliteStore]:
        store = await SqliteStore.open(tmp_path, stamp)
        try:
            yield store
        finally:
            await store.close()

    return opening
