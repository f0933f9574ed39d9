"""Nodes that a start no longer has: what ran on them ends, what runs elsewhere stays, wherever the region is killed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from inside import Inside, server
from pierhead.api import Tree
from pierhead.api.kinds import NODE, POD, PROXY_STATUS
from pierhead.errors import ApiError, StoreFailed
from pierhead.region import vanished
from pierhead.store import Operation, Precondition

T = TypeVar("T")
LEFT = ["db-here", "db-old", "kept-here", "kept-old", "leaving-here", "own-here"]
"""Of what `populate` makes."""


def inside(scenario: Callable[[Inside], Awaitable[T]]) -> T:
    async def run() -> T:
        async with server() as found:
            return await scenario(found)

    return asyncio.run(run())


def pod(name: str, node: str, **spec: Any) -> Tree:
    containers = [{"name": "c", "image": "host"}]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": containers} | spec,
    }


def elsewhere(name: str, node: str, **meta: Any) -> Tree:
    """What is registered, and was found ready."""
    found = pod(name, node, runtimeClassName="external")
    found["metadata"] |= {"labels": {"app": "db"}, "annotations": {"pierhead.dev/address": "127.71.0.9"}} | meta
    return found


async def populate(found: Inside, home: Path) -> None:
    """Node ``old`` is to vanish, ``here`` stays."""
    client = found.client
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u"}
    for node in ("here", "old"):
        (home / node).mkdir(parents=True, exist_ok=True)
        await client.create(NODE, {"metadata": {"name": node}})
        await client.create(PROXY_STATUS, {"metadata": {"name": node}})
        for made in (pod(f"own-{node}", node), elsewhere(f"db-{node}", node), elsewhere(f"leaving-{node}", node)):
            await client.create(POD, made)
            status = {"phase": "Running", "podIP": "127.71.0.9"}
            await client.patch(POD, made["metadata"]["name"], {"status": status}, "default", subresource="status")
        await client.create(POD, elsewhere(f"kept-{node}", node, ownerReferences=[owner]))
        await client.delete(POD, f"leaving-{node}", "default")


async def names(found: Inside, kind: Any = POD) -> list[str]:
    return sorted(each["metadata"]["name"] for each in (await found.client.list(kind)).items)


def test_what_ran_on_it_ends_and_what_runs_elsewhere_waits_for_another_node(tmp_path: Path) -> None:
    async def scenario(found: Inside) -> None:
        await populate(found, tmp_path)
        before = await found.client.get(POD, "db-old", "default")
        await vanished.remove(found.client, found.store, tmp_path, present=["here"])
        assert await names(found) == LEFT
        assert await names(found, NODE) == ["here"]
        after = await found.client.get(POD, "db-old", "default")
        assert after["spec"].pop("nodeName", None) is None
        assert before["spec"].pop("nodeName") == "old"
        assert after["spec"] == before["spec"]
        assert after["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
        for field in ("uid", "creationTimestamp", "labels", "annotations"):
            assert after["metadata"][field] == before["metadata"][field]
        assert (await found.client.get(POD, "kept-old", "default"))["metadata"]["ownerReferences"]
        await found.client.bind("db-old", "default", "here")

    inside(scenario)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_what_proxies_of_earlier_starts_reported_is_void(tmp_path: Path) -> None:
    async def scenario(found: Inside) -> None:
        await populate(found, tmp_path)
        await vanished.remove(found.client, found.store, tmp_path, present=["here"])
        assert await names(found, PROXY_STATUS) == []

    inside(scenario)


def test_where_nobody_runs_a_node_there_is_none(tmp_path: Path) -> None:
    async def scenario(found: Inside) -> None:
        await populate(found, tmp_path)
        await vanished.remove(found.client, found.store, tmp_path, present=[])
        assert await names(found, NODE) == []

    inside(scenario)
    assert list(tmp_path.iterdir()) == []


def killed_before(write: int, found: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing becomes durable from the write of that number on."""
    commit, numbers = found.store.commit, count()

    async def dying(operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()) -> Sequence[int]:
        if next(numbers) >= write:
            raise StoreFailed("killed")
        return await commit(operations, preconditions)

    monkeypatch.setattr(found.store, "commit", dying)


def test_no_registration_is_lost_wherever_it_is_killed(tmp_path: Path) -> None:
    """The next start does the rest."""

    async def lives(found: Inside, home: Path, write: int) -> bool:
        """Whether the first start came to its end."""
        await populate(found, home)
        with pytest.MonkeyPatch.context() as patched:
            killed_before(write, found, patched)
            try:
                await vanished.remove(found.client, found.store, home, present=["here"])
            except (ApiError, StoreFailed):
                return False
            return True

    async def scenario(found: Inside, write: int) -> bool:
        finished = await lives(found, tmp_path, write)
        assert {"db-old", "kept-old"} < set(await names(found))
        await vanished.remove(found.client, found.store, tmp_path, present=["here"])
        assert await names(found) == LEFT
        assert "nodeName" not in (await found.client.get(POD, "db-old", "default"))["spec"]
        assert await names(found, NODE) == ["here"]
        return finished

    ends = [write for write in range(20) if inside(partial(scenario, write=write))]
    assert ends[0] > 5
    assert ends == list(range(ends[0], 20))


def test_a_change_meanwhile_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "pods/default/db-old"

    async def scenario(found: Inside) -> None:
        await populate(found, tmp_path)
        get, stale = found.store.get, [found.store.get(key)]
        await found.client.patch(POD, "db-old", {"metadata": {"labels": {"a": "b"}}}, "default")
        monkeypatch.setattr(found.store, "get", lambda asked: stale.pop() if asked == key and stale else get(asked))
        await vanished.remove(found.client, found.store, tmp_path, present=["here"])
        assert not stale
        after = await found.client.get(POD, "db-old", "default")
        assert after["metadata"]["labels"] == {"app": "db", "a": "b"}
        assert "nodeName" not in after["spec"]

    inside(scenario)
