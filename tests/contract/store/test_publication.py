"""What readers and watchers see of commits: all of one or nothing, in order, in one loop iteration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from pierhead.errors import StoreFailed
from pierhead.store import Delete, Entry, Event, Put, Store

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]


def test_each_operation_has_a_revision_of_its_own(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            assert list(await store.commit([Put("a", b""), Put("b", b""), Put("c", b"")])) == [1, 2, 3]
            assert list(await store.commit([Delete("b"), Put("a", b"")])) == [4, 5]
            assert store.revision == 5
            assert [(entry.key, entry.revision) for entry in store.range("")] == [("a", 5), ("c", 3)]

    asyncio.run(scenario())


def test_values_carry_their_revision(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            events: list[Event] = []
            store.watch("", 0, events.extend)
            await store.commit([Put("a", b"rev #"), Put("b", b"rev #")])
            await store.commit([Put("a", b"now #")])
            assert store.get("a") == Entry("a", b"now 3", 3)
            assert store.get("b") == Entry("b", b"rev 2", 2)
            assert events[-1] == Event(3, "a", b"now 3", Entry("a", b"rev 1", 1))

    asyncio.run(scenario())


def test_events_say_what_stood_before(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            events: list[Event] = []
            store.watch("", 0, events.extend)
            await store.commit([Put("a", b"one")])
            await store.commit([Put("a", b"two")])
            await store.commit([Delete("a")])
            await store.commit([Put("a", b"three")])
            one, two = Entry("a", b"one", 1), Entry("a", b"two", 2)
            assert [event.previous for event in events] == [None, one, two, None]
            assert [event.value for event in events] == [b"one", b"two", None, b"three"]

    asyncio.run(scenario())


def test_a_watcher_sees_the_whole_commit_in_the_store_and_in_its_events(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            chunks: list[Sequence[Event]] = []

            def deliver(events: Sequence[Event]) -> None:
                chunks.append(events)
                assert store.revision == events[-1].revision
                assert {entry.value for entry in store.range("pair/")} == {b"%d" % (store.revision // 2)}

            store.watch("", 0, deliver)
            pairs = [[Put("pair/a", b"%d" % n), Put("pair/b", b"%d" % n)] for n in range(1, 40)]
            await asyncio.gather(*(store.commit(pair) for pair in pairs))
            assert [event.revision for events in chunks for event in events] == list(range(1, 79))
            assert all(len(events) % 2 == 0 for events in chunks)

    asyncio.run(scenario())


def test_a_reader_never_sees_part_of_a_commit(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("pair/a", b"0"), Put("pair/b", b"0")])
            writing = asyncio.gather(
                *(store.commit([Put("pair/a", b"%d" % n), Put("pair/b", b"%d" % n)]) for n in range(40))
            )
            loop = asyncio.get_running_loop()
            seen: list[set[bytes]] = []

            def look() -> None:
                """In every turn of the loop."""
                a, b = store.get("pair/a"), store.get("pair/b")
                assert a is not None
                assert b is not None
                seen.append({entry.value for entry in store.range("pair/")} | {a.value, b.value})
                if not writing.done():
                    loop.call_soon(look)

            look()
            await writing
            assert len(seen) > 1
            assert all(len(values) == 1 for values in seen)

    asyncio.run(scenario())


def test_the_answer_comes_after_publication(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            told: list[str] = []
            store.watch("", 0, lambda events: told.extend(event.key for event in events))

            async def write(key: str) -> None:
                await store.commit([Put(key, b"")])
                assert key in told
                assert store.get(key) is not None

            await asyncio.gather(*(write(f"key/{n}") for n in range(20)))

    asyncio.run(scenario())


def test_commits_are_decided_in_the_order_of_their_coming(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            answers = await asyncio.gather(*(store.commit([Put(f"key/{n:04}", b"")]) for n in range(1500)))
            assert [list(revisions) for revisions in answers] == [[n] for n in range(1, 1501)]
            statistics = store.statistics()
            assert (statistics.commits, statistics.operations) == (1500, 1500)

    asyncio.run(scenario())


def test_ranges_are_prefixes_in_key_order(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            keys = [
                "services/b/1",
                "services/a/2",
                "services/a/1",
                "services",
                "services.x/a/1",
                "t",
                "services/é",
                "services/\U0010ffff",
            ]
            await store.commit([Put(key, b"") for key in keys])

            def found(prefix: str, after: str = "", limit: int = 0) -> list[str]:
                return [entry.key for entry in store.range(prefix, after=after, limit=limit)]

            assert found("") == sorted(keys)
            assert found("services/a/") == ["services/a/1", "services/a/2"]
            assert found("services/") == [
                "services/a/1",
                "services/a/2",
                "services/b/1",
                "services/é",
                "services/\U0010ffff",
            ]
            assert found("services/", after="services/a/2", limit=1) == ["services/b/1"]
            assert found("services/a/", after="a") == ["services/a/1", "services/a/2"]
            assert found("services/a/", after="services/b") == []
            assert found("services/\U0010ffff") == ["services/\U0010ffff"]
            assert [store.count(prefix) for prefix in ("", "services/a/", "u")] == [8, 2, 0]

    asyncio.run(scenario())


def test_watches_are_filtered_and_end(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            told: list[str] = []
            end = store.watch("a/", 0, lambda events: told.extend(event.key for event in events))
            await store.commit([Put("a/1", b""), Put("b/1", b"")])
            await store.commit([Put("b/2", b"")])
            end()
            end()
            await store.commit([Put("a/2", b"")])
            assert told == ["a/1"]

    asyncio.run(scenario())


def test_a_watcher_may_end_others_and_begin_new_ones(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            late: list[int] = []
            ended: list[int] = []

            def deliver(events: Sequence[Event]) -> None:
                if store.revision == 1:
                    end_other()
                    store.watch("", 0, lambda events: late.extend(event.revision for event in events))

            store.watch("", 0, deliver)
            end_other = store.watch("", 0, lambda events: ended.extend(event.revision for event in events))
            await store.commit([Put("a", b"")])
            await store.commit([Put("a", b"")])
            assert (late, ended) == ([1, 2], [])

    asyncio.run(scenario())


def test_pages_of_one_list_while_writes_go_on(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put(f"list/{n:02}", b"old #") for n in range(20)])
            whole, revision = list(store.range("list/")), store.revision
            pages: list[Entry] = []
            for turn in range(7):
                after = pages[-1].key if pages else ""
                pages += store.range("list/", after=after, limit=3, at=revision)
                await store.commit(
                    [Delete(f"list/{turn:02}"), Delete(f"list/{19 - turn:02}"), Put("list/10", b"new #")]
                )
                await store.commit([Put(f"list/{turn:02}x", b"between"), Put(f"list/{turn:02}", b"back")])
            assert pages == whole
            assert list(store.range("list/", at=revision)) == whole
            assert list(store.range("list/", at=store.revision)) == list(store.range("list/"))

    asyncio.run(scenario())


def test_a_revision_inside_a_commit_reads_the_whole_commit(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b"1"), Put("b", b"1"), Put("c", b"1")])
            await store.commit([Put("a", b"2"), Put("b", b"2"), Delete("c")])
            for at in (1, 2, 3):
                assert [entry.value for entry in store.range("", at=at)] == [b"1", b"1", b"1"]
            for at in (4, 5, 6):
                assert [entry.value for entry in store.range("", at=at)] == [b"2", b"2"]

    asyncio.run(scenario())


def test_who_no_longer_waits_harms_nobody(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            writes = [asyncio.ensure_future(store.commit([Put(f"key/{n}", b"")])) for n in range(10)]
            for write in writes[::2]:
                asyncio.get_running_loop().call_soon(write.cancel)  # once all of them have been asked for
            await asyncio.gather(*writes, return_exceptions=True)
            await store.commit([Put("last", b"")])
            assert all(store.get(f"key/{n}") for n in range(1, 10, 2))
            assert [event.revision for event in watched(store)] == list(range(1, store.revision + 1))

    def watched(store: Store) -> list[Event]:
        events: list[Event] = []
        store.watch("", 0, events.extend)()
        return events

    asyncio.run(scenario())


def test_closing_finishes_what_was_accepted_and_takes_no_more(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            writes = [asyncio.ensure_future(store.commit([Put(f"key/{n}", b"")])) for n in range(100)]
            await asyncio.ensure_future(store.close())  # it begins when all of them have been asked for
            assert [list(revisions) for revisions in await asyncio.gather(*writes)] == [[n] for n in range(1, 101)]
            with pytest.raises(StoreFailed, match="closed"):
                await store.commit([Put("late", b"")])

    asyncio.run(scenario())
