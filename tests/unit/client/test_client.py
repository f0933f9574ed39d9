"""The client's verbs against the real API server, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from inside import Inside, network, server
from pierhead.api.kinds import CONFIG_MAP, NAMESPACE
from pierhead.client.client import Client
from pierhead.client.inprocess import InProcess
from pierhead.client.transport import Response
from pierhead.errors import ApiError


def on_server(scenario: Callable[[Inside], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with server() as found, asyncio.timeout(10):
            return await scenario(found)

    return asyncio.run(run())


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_an_object_is_created_read_changed_and_deleted() -> None:
    async def scenario(found: Inside) -> None:
        client = found.client
        made = await client.create(CONFIG_MAP, config_map("a", k="1"))
        assert await client.get(CONFIG_MAP, "a", "default") == made
        made["data"]["k"] = "2"
        stored = await client.update(CONFIG_MAP, made)
        patched = await client.patch(CONFIG_MAP, "a", {"data": {"k": "3"}}, "default")
        assert (stored["data"], patched["data"]) == ({"k": "2"}, {"k": "3"})
        assert [item["metadata"]["name"] for item in (await client.list(CONFIG_MAP, "default")).items] == ["a"]
        await client.delete(CONFIG_MAP, "a", "default", uid=made["metadata"]["uid"])
        assert (await client.list(CONFIG_MAP)).items == []

    on_server(scenario)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/", "a?dryRun=All", "a#", "%61", "ä", "a b"])
def test_no_name_leads_to_anything_else_than_what_is_called_so(name: str) -> None:
    """An empty one would be all of them."""

    async def scenario(found: Inside) -> None:
        client = found.client
        await client.create(CONFIG_MAP, config_map("a"))
        asked = (
            client.get(CONFIG_MAP, name, "default"),
            client.patch(CONFIG_MAP, name, {"data": {"k": "2"}}, "default"),
            client.delete(CONFIG_MAP, name, "default"),
            client.get(NAMESPACE, name),
        )
        for each in asked:
            with pytest.raises(ApiError) as refused:
                await each
            assert (refused.value.code, refused.value.reason) == (404, "NotFound")
        assert not name or (await client.list(CONFIG_MAP, name)).items == []
        (left,) = (await client.list(CONFIG_MAP, "default")).items
        assert "data" not in left

    on_server(scenario)


def test_the_server_tells_what_network_the_region_stands_on() -> None:
    async def scenario(found: Inside) -> None:
        assert await found.client.network() == network()

    on_server(scenario)


class Foreign(InProcess):
    """An API server that is none of ours, and shows its configuration all the same."""

    async def request(self, *_: Any, **__: Any) -> Response:
        return Response(200, {}, b'{"kubeproxy.config.k8s.io": {}}')


def test_a_server_of_somebody_elses_tells_of_no_region() -> None:
    async def scenario(found: Inside) -> None:
        with pytest.raises(ApiError) as foreign:
            await Client(Foreign(found.app, "secret")).network()
        assert (foreign.value.code, foreign.value.message) == (404, "/configz of this server tells of no region")

    on_server(scenario)


def test_failures_are_told_as_the_server_tells_them() -> None:
    async def scenario(found: Inside) -> None:
        client = found.client
        with pytest.raises(ApiError) as missing:
            await client.get(CONFIG_MAP, "a", "default")
        assert (missing.value.code, missing.value.reason) == (404, "NotFound")
        made = await client.create(CONFIG_MAP, config_map("a"))
        await client.patch(CONFIG_MAP, "a", {"data": {"k": "1"}}, "default")
        with pytest.raises(ApiError) as stale:
            await client.update(CONFIG_MAP, made)
        assert stale.value.reason == "Conflict"
        with pytest.raises(ApiError) as other:
            await client.delete(CONFIG_MAP, "a", "default", uid="another")
        assert other.value.code == 409

    on_server(scenario)


def test_a_watch_tells_what_happens_after_a_revision_and_ends_when_it_is_left() -> None:
    async def scenario(found: Inside) -> list[str]:
        client = found.client
        revision = (await client.list(CONFIG_MAP)).revision
        async with client.watch(CONFIG_MAP, revision=revision) as events:
            await client.create(CONFIG_MAP, config_map("a"))
            await client.delete(CONFIG_MAP, "a", "default")
            return [(await anext(events)).type, (await anext(events)).type]

    assert on_server(scenario) == ["ADDED", "DELETED"]


def test_a_watch_from_a_forgotten_revision_is_expired() -> None:
    async def scenario(found: Inside) -> int:
        client = found.client
        for name in "ab":
            await client.create(CONFIG_MAP, config_map(name))
        await found.store.compact(found.store.revision - 1)
        with pytest.raises(ApiError) as expired:
            async with client.watch(CONFIG_MAP, revision="1") as events:
                await anext(events)
        return expired.value.code

    assert on_server(scenario) == 410


def test_who_has_a_wrong_token_is_told_so() -> None:
    async def scenario(found: Inside) -> int:
        with pytest.raises(ApiError) as refused:
            await Client(InProcess(found.app, "wrong")).list(NAMESPACE)
        return refused.value.code

    assert on_server(scenario) == 401


def test_an_answer_that_is_no_status_keeps_its_code_and_first_words() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"Bad gateway"})

    async def scenario() -> ApiError:
        with pytest.raises(ApiError) as found:
            await Client(InProcess(application)).list(NAMESPACE)
        return found.value

    error = asyncio.run(scenario())
    assert (error.code, error.message) == (502, "Bad gateway")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>s3cret</html>"])
def test_what_no_api_server_sends_is_an_error_of_the_api(body: bytes) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def scenario() -> None:
        with pytest.raises(ApiError) as failed:
            await Client(InProcess(application)).list(CONFIG_MAP)
        assert failed.value.code == 502
        assert "s3cret" not in failed.value.message

    asyncio.run(scenario())


def test_events_are_found_however_the_bytes_were_cut() -> None:
    text = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":"BOOKMARK","object":{}}\n'

    async def scenario(size: int) -> list[str]:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for at in range(0, len(text), size):
                await send({"type": "http.response.body", "body": text[at : at + size], "more_body": True})

        async with Client(InProcess(application)).watch(NAMESPACE, revision="1") as events:
            return [event.type async for event in events]

    for size in (1, 7, 51, 52, 1000):
        assert asyncio.run(scenario(size)) == ["ADDED", "BOOKMARK"]


def test_leaving_a_stream_hangs_up_on_the_application() -> None:
    async def scenario() -> bool:
        ended = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})
            finally:
                ended.set()

        async with InProcess(application).stream("GET", "/") as stream:
            await anext(aiter(stream.chunks))
        return ended.is_set()

    assert asyncio.run(scenario())


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_application_that_answers_nothing_is_unavailable(streamed: bool) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        return

    async def scenario() -> None:
        transport = InProcess(application)
        if streamed:
            async with transport.stream("GET", "/") as stream:
                await _first(stream.chunks)
        else:
            await transport.request("GET", "/")

    with pytest.raises(ApiError) as found:
        asyncio.run(scenario())
    assert found.value.code == 503
