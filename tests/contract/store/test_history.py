"""Resuming a watch after any event, reading the past, and what is gone after a compaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from pierhead.errors import Compacted
from pierhead.store import Delete, Entry, Event, Operation, Put, Store
from pierhead.store.sqlite import SqliteStore

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]
Reopened: TypeAlias = Callable[[], AbstractAsyncContextManager[SqliteStore]]

COMMITS: Sequence[Sequence[Operation]] = [
    [Put("a", b"#"), Put("b", b"#"), Put("c", b"#")],
    [Put("a", b"#")],
    [Delete("b"), Put("d", b"#")],
    [Put("b", b"#"), Delete("a"), Put("c", b"#")],
    [Delete("b")],
]
LAST = sum(map(len, COMMITS))


def since(store: Store, revision: int) -> list[Event]:
    events: list[Event] = []
    store.watch("", revision, events.extend)()
    return events


def test_a_watch_resumes_after_any_event(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            live: list[Event] = []
            store.watch("", 0, live.extend)
            for operations in COMMITS:
                await store.commit(operations)
            assert [event.revision for event in live] == list(range(1, LAST + 1))
            for revision in range(LAST + 1):
                assert since(store, revision) == live[revision:]

    asyncio.run(scenario())


def test_a_watch_resumes_after_any_event_across_restarts(reopened: Reopened) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            uid = store.uid
            for operations in COMMITS:
                await store.commit(operations)
            live, entries = since(store, 0), store.range("")
            past = [store.range("", at=revision) for revision in range(1, LAST + 1)]
        async with reopened() as store:
            assert (store.uid, store.revision, store.compacted) == (uid, LAST, 0)
            assert store.range("") == entries
            for revision in range(LAST + 1):
                assert since(store, revision) == live[revision:]
            assert [store.range("", at=revision) for revision in range(1, LAST + 1)] == past
            assert list(await store.commit([Put("e", b"#")])) == [LAST + 1]

    asyncio.run(scenario())


def test_what_is_resumed_goes_on(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b""), Put("b", b"")])
            told: list[list[int]] = []
            store.watch("", 1, lambda events: told.append([event.revision for event in events]))
            await store.commit([Put("c", b""), Put("d", b"")])
            assert told == [[2], [3, 4]]

    asyncio.run(scenario())


@pytest.mark.parametrize("revision", [-1, 9])
def test_the_future_is_not_in_the_history(opened: Opened, revision: int) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b"")])
            with pytest.raises(Compacted):
                store.watch("", revision, lambda _: None)
            with pytest.raises(Compacted):
                store.range("", at=revision)

    asyncio.run(scenario())


@pytest.mark.parametrize("cut", range(1, LAST + 1))
def test_compaction_keeps_what_is_and_what_came_later(opened: Opened, cut: int) -> None:
    async def scenario() -> None:
        async with opened() as store:
            for operations in COMMITS:
                await store.commit(operations)
            entries, live = store.range(""), since(store, 0)
            past = {revision: store.range("", at=revision) for revision in range(cut, LAST + 1)}
            await store.compact(cut)
            check_compacted(store, cut, live)
            assert store.range("") == entries
            assert {revision: store.range("", at=revision) for revision in past} == past
            assert list(await store.commit([Put("e", b"")])) == [LAST + 1]

    asyncio.run(scenario())


def check_compacted(store: Store, cut: int, live: Sequence[Event]) -> None:
    assert (store.compacted, store.revision) == (cut, LAST)
    for revision in range(cut, LAST + 1):
        assert since(store, revision) == list(live[revision:])
    for revision in range(1, cut):
        with pytest.raises(Compacted) as caught:
            store.watch("", revision, lambda _: None)
        assert (caught.value.asked, caught.value.oldest) == (revision, cut)
        with pytest.raises(Compacted):
            store.range("", at=revision)


@pytest.mark.parametrize("cut", range(1, LAST + 1))
def test_compaction_outlives_a_restart(reopened: Reopened, cut: int) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            for operations in COMMITS:
                await store.commit(operations)
            entries, live = store.range(""), since(store, 0)
            past = {revision: store.range("", at=revision) for revision in range(cut, LAST + 1)}
            await store.compact(cut)
        async with reopened() as store:
            check_compacted(store, cut, live)
            assert store.range("") == entries
            assert {revision: store.range("", at=revision) for revision in past} == past

    asyncio.run(scenario())


def test_revisions_are_never_given_twice_even_when_all_is_deleted_and_compacted(reopened: Reopened) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            await store.commit([Put("a", b"")])
            await store.commit([Delete("a")])
            await store.compact(2)
        async with reopened() as store:
            assert (store.revision, store.compacted, list(store.range(""))) == (2, 2, [])
            assert list(await store.commit([Put("a", b"")])) == [3]

    asyncio.run(scenario())


def test_compaction_is_idempotent_and_knows_no_future(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b""), Put("b", b"")])
            await store.compact(1)
            await store.compact(1)
            await store.compact(0)
            assert store.compacted == 1
            with pytest.raises(Compacted):
                await store.compact(3)

    asyncio.run(scenario())


def test_a_long_history_is_compacted_while_writes_go_on(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            for first in range(0, 5000, 500):
                await store.commit([Put(f"key/{n % 700:03}", b"#") for n in range(first, first + 500)])
            writes = (store.commit([Put(f"more/{n}", b"")]) for n in range(50))
            await asyncio.gather(store.compact(4999), *writes)
            assert (store.compacted, store.revision) == (4999, 5050)
            assert [event.revision for event in since(store, 4999)] == list(range(5000, 5051))
            assert store.count("key/") == 700

    asyncio.run(scenario())


def test_a_reader_that_fell_behind_is_told_and_lists_again(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b"#")])
            seen = store.revision
            await store.commit([Put("a", b"#")])
            await store.commit([Put("b", b"#")])
            await store.compact(2)
            with pytest.raises(Compacted):
                store.watch("", seen, lambda _: None)
            listed, revision = store.range(""), store.revision
            assert listed == [Entry("a", b"2", 2), Entry("b", b"3", 3)]
            assert since(store, revision) == []

    asyncio.run(scenario())
