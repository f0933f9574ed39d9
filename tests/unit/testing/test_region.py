"""A region inside a test: what it begins with, what resetting it means, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

import msgspec
import pytest

from pierhead.api.kinds import CONFIG_MAP, ENDPOINT_SLICE, ENDPOINTS, NAMESPACE, NODE, POD, SERVICE
from pierhead.client.client import Client
from pierhead.client.http import Http
from pierhead.errors import ApiError, UsageError
from pierhead.region import tenure
from pierhead.testing import Region, region, stage

T = TypeVar("T")

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec:
  containers: [{name: web, image: web}]
"""


async def closed_after(client: Client, what: Coroutine[Any, Any, T]) -> T:
    try:
        return await what
    finally:
        await client.close()


def names(region: Region, kind: Any) -> list[str]:
    """What a client outside the region's thread lists."""
    client = region.client()
    found = asyncio.run(closed_after(client, client.list(kind)))
    return [item["metadata"]["name"] for item in found.items]


@pytest.fixture(scope="module")
def shared() -> Iterator[Region]:
    with region() as found:
        yield found


@pytest.fixture
def r(shared: Region) -> Iterator[Region]:
    yield shared
    shared.reset()


def test_it_begins_with_what_every_cluster_has_and_nothing_else(r: Region) -> None:
    assert names(r, NAMESPACE) == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert names(r, SERVICE) == names(r, ENDPOINT_SLICE) == names(r, ENDPOINTS) == ["kubernetes"]
    assert names(r, POD) == names(r, NODE) == []


def test_its_controllers_work(r: Region) -> None:
    async def endpoint() -> Any:
        """The first that a slice of the Service has."""
        client = r.client()
        async with client.watch(ENDPOINT_SLICE, "default", revision="0") as events:
            async for event in events:
                found = msgspec.json.decode(event.object)
                if found["metadata"].get("generateName") == "web-" and found["endpoints"]:
                    break
        await client.close()
        return found["endpoints"][0]

    r.apply(WEB)
    pod = r.ready("web-0")
    found = asyncio.run(endpoint())
    assert found["addresses"] == [pod["status"]["podIP"]]
    assert found["nodeName"] == pod["spec"]["nodeName"] == "node-1"
    assert found["conditions"]["ready"]


def test_what_is_applied_again_is_merged_into_what_is_there(r: Region) -> None:
    [first] = r.apply(MAP)
    [second] = r.apply(MAP | {"data": {"b": "2"}})
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert second["data"] == {"a": "1", "b": "2"}


def test_what_the_server_refuses_to_apply_is_an_error_of_the_api(r: Region) -> None:
    with pytest.raises(ApiError, match=r"spec\.ports: Required value"):
        r.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}})


def test_a_reset_leaves_what_a_cluster_begins_with(r: Region) -> None:
    r.apply(MAP, WEB, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    r.ready("web-0")
    r.reset()
    assert names(r, NAMESPACE) == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert names(r, SERVICE) == names(r, ENDPOINT_SLICE) == ["kubernetes"]
    assert names(r, CONFIG_MAP) == names(r, POD) == names(r, NODE) == []


def test_after_a_reset_addresses_are_free_again_and_controllers_work(r: Region) -> None:
    wanted = {"selector": {"app": "web"}, "clusterIP": "10.96.0.77", "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": wanted}
    for _ in range(2):
        r.apply(service)
        r.reset()
    test_its_controllers_work(r)


def test_a_reset_ends_watches_and_makes_every_revision_too_old(r: Region) -> None:
    async def scene() -> None:
        client = r.client()
        before = (await client.list(CONFIG_MAP)).revision
        async with client.watch(CONFIG_MAP, revision=before) as events:
            await asyncio.to_thread(r.reset)
            with pytest.raises(ApiError, match="too old resource version"):
                await anext(events)
        with pytest.raises(ApiError, match="too old resource version") as refused:
            async with client.watch(CONFIG_MAP, revision=before) as events:
                await anext(events)
        assert refused.value.code == 410
        assert int((await client.list(CONFIG_MAP)).revision) > int(before)
        await client.close()

    r.apply(MAP)
    asyncio.run(scene())


def test_expired_watches_end_and_cannot_be_resumed_but_nothing_is_gone(r: Region) -> None:
    async def scene() -> None:
        client = r.client()
        listed = await client.list(CONFIG_MAP)
        async with client.watch(CONFIG_MAP, revision=listed.revision) as events:
            await asyncio.to_thread(r.expire_watches)
            with pytest.raises(ApiError, match="too old") as told:
                await anext(events)
        assert (told.value.code, told.value.reason) == (410, "Expired")
        with pytest.raises(ApiError, match="too old"):
            async with client.watch(CONFIG_MAP, revision=listed.revision) as events:
                await anext(events)
        again = await client.list(CONFIG_MAP)
        assert again.items == listed.items
        async with client.watch(CONFIG_MAP, revision=again.revision) as events:
            await asyncio.to_thread(r.apply, MAP | {"data": {"b": "2"}})
            assert (await anext(events)).type == "MODIFIED"
        await client.close()

    r.apply(MAP)
    asyncio.run(scene())


def test_regions_side_by_side_know_nothing_of_each_other(r: Region) -> None:
    with region() as other:
        r.apply(MAP)
        assert names(other, CONFIG_MAP) == []
        stranger = Client(Http(other.url, r.token, str(other.ca)))
        with pytest.raises(ApiError, match="Unauthorized"):
            asyncio.run(closed_after(stranger, stranger.list(CONFIG_MAP)))


def test_it_ends_with_its_block_and_leaves_no_thread_and_no_file() -> None:
    before = threading.active_count()
    with region() as found:
        assert found.kubeconfig.exists()
    found.close()
    assert threading.active_count() == before
    assert not found.kubeconfig.parent.exists()
    with pytest.raises(RuntimeError, match="this region has ended"):
        found.reset()
    with pytest.raises(ApiError, match="All connection attempts failed"):
        names(found, POD)


def test_one_that_cannot_start_says_why_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    monkeypatch.setattr(tenure, "PARTS", range(0))
    with pytest.raises(UsageError, match="took what was free"):
        region(network="loopback")
    assert threading.active_count() == before


def test_one_that_never_gets_its_first_objects_fails_instead_of_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    monkeypatch.setattr(stage, "FIRST", ("namespaces/never",))
    monkeypatch.setattr(stage, "BEGIN_SECONDS", 0.01)
    with pytest.raises(ExceptionGroup) as told:
        region()
    assert str(told.value.exceptions[0]) == "not there after 0.01 s: namespaces/never; the log says why"
    assert threading.active_count() == before


def test_one_that_fails_says_so_at_the_next_call_and_at_its_end() -> None:
    async def fail() -> None:
        raise OSError("broken")

    async def begin() -> None:
        found._stage._tasks.create_task(fail())

    found = region()
    found._life.call(begin)
    found._life._thread.join(5)
    for what in (found.reset, found.close):
        with pytest.raises(RuntimeError, match="this region ha") as told:
            what()
        assert isinstance(told.value.__cause__, BaseExceptionGroup)
    assert not found.kubeconfig.exists()


def test_who_asks_one_that_has_all_but_ended_is_told_so() -> None:
    """What is asked for once the loop has cancelled its tasks is never answered by it."""
    ending, asked, kept = threading.Event(), asyncio.Event(), list[AsyncGenerator[None, None]]()

    async def last_words() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            ending.set()
            await asked.wait()

    async def begin() -> None:
        kept.append(last_words())
        await anext(kept[0])

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    found = region()
    found._life.call(begin)
    closing = threading.Thread(target=found.close)
    closing.start()
    assert ending.wait(5)
    with pytest.raises(RuntimeError, match="this region has ended"):
        found._life.call(never)
    closing.join(5)
    gc.collect()  # the loop's complaint about what never ended belongs to this test


def test_a_network_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="no network 'bridge'; there are none, loopback"):
        region(network="bridge")  # type: ignore[arg-type]
