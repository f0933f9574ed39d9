"""Watches: what is seen from where on, through which selection, in which form, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from asgi import Direct
from pierhead.api.kinds import CONFIG_MAP
from pierhead.apiserver import stream, watch
from pierhead.apiserver.request import Form
from pierhead.apiserver.router import Route
from pierhead.apiserver.selection import selection
from pierhead.apiserver.sink import BUFFER_BYTES, BufferedSink, DirectSink, Frame
from pierhead.apiserver.watch import WATCHES_PER_CLIENT, Hub, Watcher
from pierhead.errors import ApiError
from scenes import Region, play
from virtual import VirtualLoop

MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"{MAPS}?watch=true"
MERGE = {"content-type": "application/merge-patch+json"}


async def take(events: AsyncIterator[Any], count: int) -> list[tuple[str, str]]:
    """The next events as (type, name)."""
    found = []
    for _ in range(count):
        event = await anext(events)
        found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


async def label(region: Region, name: str, value: str | None) -> None:
    changed = await region.admin("PATCH", f"{MAPS}/{name}", {"metadata": {"labels": {"x": value}}}, MERGE)
    assert changed.status == 200


def test_everything_after_a_revision_is_seen_once_and_in_order() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a")
        await label(region, "a", "1")
        async with region.admin.stream(f"{WATCH}&resourceVersion={first['metadata']['resourceVersion']}") as events:
            assert await take(events, 1) == [("MODIFIED", "a")]
            await region.configmap("b")
            await region.admin("DELETE", f"{MAPS}/a")
            assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "a")]

    play(scene)


def test_a_deleted_object_is_shown_as_it_was_at_the_revision_it_left() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a", labels={"x": "1"})
        async with region.admin.stream(f"{WATCH}&resourceVersion={first['metadata']['resourceVersion']}") as events:
            await region.admin("DELETE", f"{MAPS}/a")
            gone = (await anext(events))["object"]
            assert gone["metadata"]["labels"] == {"x": "1"}
            assert gone["metadata"]["resourceVersion"] == str(region.store.revision)

    play(scene)


@pytest.mark.parametrize("revision", ["", "&resourceVersion=0"])
def test_without_a_revision_the_state_comes_first(revision: str) -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        await region.configmap("b")
        async with region.admin.stream(WATCH + revision) as events:
            assert await take(events, 2) == [("ADDED", "a"), ("ADDED", "b")]

    play(scene)


def test_initial_events_end_with_a_bookmark() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        asked = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with region.admin.stream(WATCH + asked) as events:
            assert await take(events, 1) == [("ADDED", "a")]
            assert await anext(events) == {
                "type": "BOOKMARK",
                "object": {
                    "kind": "ConfigMap",
                    "apiVersion": "v1",
                    "metadata": {
                        "resourceVersion": str(region.store.revision),
                        "annotations": {"k8s.io/initial-events-end": "true"},
                    },
                },
            }

    play(scene)


def test_who_enters_a_selection_is_added_and_who_leaves_it_deleted() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a", labels={"x": "1"})
        since = first["metadata"]["resourceVersion"]
        async with region.admin.stream(f"{WATCH}&labelSelector=x%3D1&resourceVersion={since}") as events:
            for value in ("2", "1", None):
                await label(region, "a", value)
            left = await anext(events)
            assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"x": "1"})
            assert await take(events, 2) == [("ADDED", "a"), ("DELETED", "a")]

    play(scene)


def test_other_collections_are_not_seen() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "default-2"}})
        async with region.admin.stream(WATCH) as events:
            await region.admin("POST", "/api/v1/namespaces/default-2/configmaps", {"metadata": {"name": "x"}})
            await region.admin("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "x"}})
            await region.configmap("a")
            assert await take(events, 1) == [("ADDED", "a")]

    play(scene)


def test_the_old_form_watches_one_object() -> None:
    async def scene(region: Region) -> None:
        async with region.admin.stream("/api/v1/watch/namespaces/default/configmaps/b") as events:
            await region.configmap("a")
            await region.configmap("b")
            assert await take(events, 1) == [("ADDED", "b")]

    play(scene)


def test_a_table_shows_its_columns_once() -> None:
    async def scene(region: Region) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with region.admin.stream(WATCH, accept) as events:
            await region.configmap("a")
            first = await anext(events)
            assert first["object"]["columnDefinitions"][0]["name"] == "Name"
            await region.configmap("b")
            second = await anext(events)
            assert second["object"]["columnDefinitions"] is None
            assert second["object"]["rows"][0]["cells"][0] == "b"

    play(scene)


def test_a_bookmark_that_comes_first_shows_the_columns_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_EVERY", 0.001)

    async def scene(region: Region) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        initial = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        async with asyncio.TaskGroup() as group:
            running = group.create_task(region.app.run())
            for asked in ("", initial):
                async with region.admin.stream(f"{WATCH}&allowWatchBookmarks=true{asked}", accept) as events:
                    first, second = await anext(events), await anext(events)
                    assert [first["type"], second["type"]] == ["BOOKMARK", "BOOKMARK"]
                    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
                    assert second["object"]["columnDefinitions"] is None
            running.cancel()

    play(scene)


def test_a_history_that_is_gone_is_an_event() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a")
        await region.configmap("b")
        await region.store.compact(region.store.revision)
        async with region.admin.stream(f"{WATCH}&resourceVersion={first['metadata']['resourceVersion']}") as events:
            event = await anext(events)
            assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
            assert [late async for late in events] == []

    play(scene)


def test_a_failure_of_ours_ends_the_watch_with_an_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bytes:
        raise KeyError("a secret")

    monkeypatch.setattr(Hub, "_state", broken)

    async def scene(region: Region) -> None:
        async with region.admin.stream(WATCH) as events:
            event = await anext(events)
            assert (event["type"], event["object"]["code"]) == ("ERROR", 500)
            assert "secret" not in str(event)
            assert [late async for late in events] == []

    play(scene)
    assert caplog.records[0].getMessage() == "a watch of configmaps failed"


def test_a_future_that_does_not_come_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FUTURE_WAIT", 0.01)

    async def scene(region: Region) -> None:
        async with region.admin.stream(f"{WATCH}&resourceVersion=99999999") as events:
            event = await anext(events)
            assert (event["type"], event["object"]["reason"]) == ("ERROR", "Timeout")

    play(scene)


def test_a_future_that_comes_is_waited_for_no_longer_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FUTURE_WAIT", 1e6)

    async def scene(region: Region) -> None:
        async with region.admin.stream(f"{WATCH}&resourceVersion={region.store.revision + 2}") as events:
            for name in ("a", "b", "c"):
                await region.configmap(name)
            assert await take(events, 1) == [("ADDED", "c")]

    play(scene)


def test_who_wants_no_state_and_names_no_revision_sees_what_comes() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        asked = "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
        async with region.admin.stream(WATCH + asked) as events:
            await region.configmap("b")
            assert await take(events, 1) == [("ADDED", "b")]

    play(scene)


def test_a_watch_ends_after_its_time_and_when_the_server_stops() -> None:
    async def scene(region: Region) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with region.admin.stream(f"{WATCH}&timeoutSeconds=1") as events:
            assert [event async for event in events] == []
        assert clock() - begun == 1
        async with region.admin.stream(WATCH) as events:
            await region.configmap("a")
            assert await take(events, 1) == [("ADDED", "a")]
            region.app.close()
            assert [event async for event in events] == []

    play(scene, VirtualLoop)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("resourceVersion=abc", 500),
        ("sendInitialEvents=true", 422),
        ("resourceVersionMatch=Exact&resourceVersion=1", 422),
        ("labelSelector=a%20b", 400),
        ("timeoutSeconds=x", 400),
        ("includeObject=Foo", 400),
    ],
)
def test_what_cannot_be_watched(query: str, code: int) -> None:
    async def scene(region: Region) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        assert (await region.admin("GET", f"{WATCH}&{query}", headers=accept)).status == code

    play(scene)


def test_watchers_of_one_shape_share_their_frames() -> None:
    async def scene(region: Region) -> None:
        frames: list[Frame] = []
        hub = Hub(region.store)

        class Sink:
            def write(self, frame: Frame) -> bool:
                frames.append(frame)
                return True

            def close(self) -> None:
                pass

        route = Route(CONFIG_MAP, "watch", "default")
        for _ in range(3):
            wanted = selection(CONFIG_MAP, "", "")
            hub.open(route, wanted, Form(), Watcher(Sink(), ""), after=region.store.revision, ended=False)
        await region.configmap("a")
        hub.flush()
        assert len(frames) == 3
        assert frames[0] is frames[1] is frames[2]
        hub.close_all()

    play(scene)


def test_a_client_may_open_only_so_many() -> None:
    async def scene(region: Region) -> None:
        hub = Hub(region.store)
        with ExitStack() as held:
            for _ in range(WATCHES_PER_CLIENT):
                held.enter_context(hub.admitted("somebody"))
            with pytest.raises(ApiError) as refused, hub.admitted("somebody"):
                pass
            assert refused.value.code == 429
            with hub.admitted("somebody else"), hub.admitted(""):
                assert hub.watching == WATCHES_PER_CLIENT + 2
        with hub.admitted("somebody"):
            assert hub.watching == 1
        hub.close_all()

    play(scene)


# -- sinks --------------------------------------------------------------------------------------------------


class Pipe:
    def __init__(self) -> None:
        self.unread = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.unread += len(data)

    def buffered(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


def test_a_connection_that_takes_nothing_is_aborted() -> None:
    pipe = Pipe()
    sink = DirectSink(pipe)
    frame = Frame(b"x" * (BUFFER_BYTES // 4))
    taken = sum(sink.write(frame) for _ in range(20))
    assert 4 <= taken <= 6
    assert pipe.aborted


def test_the_first_state_may_be_larger_than_the_bound() -> None:
    pipe = Pipe()
    sink = DirectSink(pipe)
    assert sink.write(Frame(b"x" * 3 * BUFFER_BYTES))
    assert sink.write(Frame(b"an event while it is on its way"))
    assert sink.write(Frame(b"x" * BUFFER_BYTES))
    assert not sink.write(Frame(b"too much behind it"))


def test_who_catches_up_is_bounded_as_before() -> None:
    pipe = Pipe()
    sink = DirectSink(pipe)
    assert sink.write(Frame(b"x" * 3 * BUFFER_BYTES))
    pipe.unread = 0
    assert sink.write(Frame(b"x"))
    pipe.unread = 2 * BUFFER_BYTES
    assert not sink.write(Frame(b"x"))


def test_a_buffered_sink_is_bounded_too() -> None:
    async def send(_: object) -> None:
        raise AssertionError

    sink = BufferedSink(send)
    frame = Frame(b"x" * (BUFFER_BYTES // 2))
    assert [sink.write(frame) for _ in range(6)] == [True, True, True, True, False, False]


def test_expired_watches_of_clients_end_with_410_and_those_inside_the_process_go_on() -> None:
    async def scene(region: Region) -> None:
        outside = Direct(region.app, host="192.0.2.1")
        await region.configmap("a")
        async with outside.stream(WATCH) as theirs, region.admin.stream(WATCH) as ours:
            assert await take(theirs, 1) == await take(ours, 1) == [("ADDED", "a")]
            region.app.expire_watches()
            told = (await anext(theirs))["object"]
            assert (told["code"], told["reason"]) == (410, "Expired")
            with pytest.raises(StopAsyncIteration):
                await anext(theirs)
            await region.configmap("b")
            assert await take(ours, 1) == [("ADDED", "b")]

    play(scene)
