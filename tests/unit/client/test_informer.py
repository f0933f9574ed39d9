"""A shared copy of a collection: complete, in step, and exact about what changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from inside import Flaky, Inside, eventually, server
from pierhead.api.kinds import CONFIG_MAP
from pierhead.api.views import ConfigMap
from pierhead.apiserver import stream
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}}


def told(change: Change[ConfigMap]) -> str:
    """``+a``, ``~a`` or ``-a``."""
    return ("+" if change.old is None else "-" if change.new is None else "~") + change.latest.metadata.name


@asynccontextmanager
async def following(found: Inside) -> AsyncIterator[tuple[Informer[ConfigMap], Flaky, list[str]]]:
    """An informer at work, its connection, and what its handler was told."""
    flaky, seen = Flaky(found.transport), list[str]()
    informer = Informer(Client(flaky), CONFIG_MAP, ConfigMap, chance=lambda: 0.0)
    informer.subscribe(lambda change: seen.append(told(change)))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(informer.run())
        await informer.synced.wait()
        yield informer, flaky, seen
        running.cancel()


def on_server(scenario: Callable[[Inside], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with server() as found, asyncio.timeout(10):
            return await scenario(found)

    return asyncio.run(run())


def test_it_lists_then_follows() -> None:
    async def scenario(found: Inside) -> None:
        await found.client.create(CONFIG_MAP, config_map("a"))
        async with following(found) as (informer, _, seen):
            await found.client.create(CONFIG_MAP, config_map("b"))
            await found.client.patch(CONFIG_MAP, "a", {"data": {"k": "v"}}, "default")
            await found.client.delete(CONFIG_MAP, "b", "default")
            await eventually(lambda: "-b" in seen)
            assert seen == ["+a", "+b", "~a", "-b"]
            assert informer.get("b", "default") is None
            a = informer.get("a", "default")
            assert a is not None
            assert a.data == {"k": "v"}

    on_server(scenario)


def test_a_loop_can_wait_for_its_own_write() -> None:
    async def scenario(found: Inside) -> None:
        async with following(found) as (informer, _, _):
            stored = await found.client.create(CONFIG_MAP, config_map("a"))
            await informer.reached(stored["metadata"]["resourceVersion"])
            assert informer.get("a", "default") is not None
            assert informer.revision == int(stored["metadata"]["resourceVersion"])
            await found.client.delete(CONFIG_MAP, "a", "default")
            await informer.until(lambda: informer.get("a", "default") is None)

    on_server(scenario)


def test_a_cut_watch_is_resumed_where_it_was() -> None:
    async def scenario(found: Inside) -> None:
        async with following(found) as (_, flaky, seen):
            await found.client.create(CONFIG_MAP, config_map("a"))
            await eventually(lambda: seen == ["+a"])
            flaky.cut()
            await found.client.create(CONFIG_MAP, config_map("b"))
            await eventually(lambda: len(flaky.requests) > 3)
            flaky.mend()
            await eventually(lambda: seen == ["+a", "+b"])
            lists = [request for request in flaky.requests if "watch" not in request]
            assert len(lists) == 1

    on_server(scenario)


def test_when_the_server_forgot_the_place_it_lists_again_and_tells_exactly_what_differs() -> None:
    async def scenario(found: Inside) -> None:
        client = found.client
        for name in ("same", "changed", "gone", "replaced"):
            await client.create(CONFIG_MAP, config_map(name))
        async with following(found) as (informer, flaky, seen):
            before = informer.get("same", "default")
            flaky.cut()
            seen.clear()
            await client.patch(CONFIG_MAP, "changed", {"data": {"k": "v"}}, "default")
            await client.delete(CONFIG_MAP, "gone", "default")
            await client.delete(CONFIG_MAP, "replaced", "default")
            await client.create(CONFIG_MAP, config_map("replaced"))
            await client.create(CONFIG_MAP, config_map("new"))
            await found.store.compact(found.store.revision)
            flaky.mend()
            await eventually(lambda: len(seen) == 5)
            assert sorted(seen) == ["+new", "+replaced", "-gone", "-replaced", "~changed"]
            assert seen.index("-replaced") < seen.index("+replaced")
            assert informer.get("same", "default") is before

    on_server(scenario)


def test_another_store_behind_the_same_address_is_listed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its revisions begin anew, so that the place the informer knows lies in the future, or belongs to another object."""
    monkeypatch.setattr(stream, "FUTURE_WAIT", 0.01)

    async def scenario(found: Inside) -> None:
        for name in ("a", "b", "c"):
            await found.client.create(CONFIG_MAP, config_map(name))
        async with following(found) as (informer, flaky, seen), server() as rebuilt:
            await rebuilt.client.create(CONFIG_MAP, config_map("a"))
            seen.clear()
            flaky.transport = rebuilt.transport
            flaky.cut()
            await eventually(lambda: len(flaky.requests) > 2)
            flaky.mend()
            await eventually(lambda: len(seen) == 4)
            assert sorted(seen) == ["+a", "-a", "-b", "-c"]
            assert informer.revision == rebuilt.store.revision

    on_server(scenario)


def test_indexes_follow_every_change() -> None:
    async def scenario(found: Inside) -> None:
        client = found.client
        await client.create(CONFIG_MAP, config_map("a", shelf="x"))
        async with following(found) as (informer, _, seen):
            shelves = informer.index(lambda one: [one.metadata.labels["shelf"]] if one.metadata.labels else [])
            await client.create(CONFIG_MAP, config_map("b", shelf="x"))
            await client.patch(CONFIG_MAP, "a", {"metadata": {"labels": {"shelf": "y"}}}, "default")
            await eventually(lambda: "~a" in seen)
            assert [one.metadata.name for one in shelves["x"]] == ["b"]
            assert [one.metadata.name for one in shelves["y"]] == ["a"]
            await client.delete(CONFIG_MAP, "b", "default")
            await eventually(lambda: "-b" in seen)
            assert shelves["x"] == []
            assert [one.metadata.name for one in informer.list("default")] == ["a"]
            assert informer.list("other") == []

    on_server(scenario)


def test_who_subscribes_late_is_told_what_there_is_and_may_leave() -> None:
    async def scenario(found: Inside) -> None:
        await found.client.create(CONFIG_MAP, config_map("a"))
        async with following(found) as (informer, _, seen):
            late: list[str] = []
            leave = informer.subscribe(lambda change: late.append(told(change)))
            assert late == ["+a"]
            leave()
            await found.client.create(CONFIG_MAP, config_map("b"))
            await eventually(lambda: "+b" in seen)
            assert late == ["+a"]

    on_server(scenario)


def test_there_is_one_informer_for_a_kind_and_it_starts_when_it_is_asked_for() -> None:
    async def scenario(found: Inside) -> None:
        informers = Informers(found.client)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(informers.run())

            async def ask() -> Informer[ConfigMap]:
                return informers.of(CONFIG_MAP)

            informer = await group.create_task(ask())  # its turn comes when the others are running
            assert informers.of(CONFIG_MAP) is informer
            await informers.synced()
            assert informer.synced.is_set()
            running.cancel()

    on_server(scenario)
