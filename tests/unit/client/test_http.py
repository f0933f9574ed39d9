"""The same client over TLS and a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
import uvloop

from inside import eventually, server
from pierhead.api.kinds import CONFIG_MAP
from pierhead.api.views import ConfigMap
from pierhead.apiserver.server import Serving
from pierhead.client.client import Client
from pierhead.client.http import Http
from pierhead.client.informer import Informer
from pierhead.errors import ApiError
from pierhead.pki.credentials import Credentials, ensure


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return ensure(tmp_path_factory.mktemp("pki"), ["127.0.0.1"], datetime.now(UTC))


Scenario = Callable[[Http, Serving], Awaitable[None]]


def over_tls(credentials: Credentials, scenario: Scenario) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            async with server() as found, asyncio.timeout(10):
                serving = Serving(found.app, listener, certificate=credentials.certificate, key=credentials.key)
                transport = Http(url, "secret", str(credentials.ca))
                async with serving:
                    await scenario(transport, serving)
                await transport.close()

    uvloop.run(run())  # as served: asyncio before 3.11.4 cannot abort a TLS connection that is ending


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default"}}


def test_objects_and_errors_travel(credentials: Credentials) -> None:
    async def scenario(transport: Http, serving: Serving) -> None:
        client = Client(transport)
        made = await client.create(CONFIG_MAP, config_map("a"))
        assert await client.get(CONFIG_MAP, "a", "default") == made
        with pytest.raises(ApiError) as missing:
            await client.get(CONFIG_MAP, "b", "default")
        assert missing.value.reason == "NotFound"

    over_tls(credentials, scenario)


def test_an_informer_follows(credentials: Credentials) -> None:
    async def scenario(transport: Http, serving: Serving) -> None:
        client = Client(transport)
        informer = Informer(client, CONFIG_MAP, ConfigMap)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(informer.run())
            await informer.synced.wait()
            await client.create(CONFIG_MAP, config_map("a"))
            await eventually(lambda: len(informer.list()) == 1)
            assert informer.get("a", "default") == informer.list()[0]
            running.cancel()

    over_tls(credentials, scenario)


def test_nobody_there_is_unavailable(credentials: Credentials) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        transport = Http(f"https://127.0.0.1:{port}", "secret", str(credentials.ca))
        client = Client(transport)
        with pytest.raises(ApiError) as refused:
            await client.list(CONFIG_MAP)
        assert refused.value.code == 503
        with pytest.raises(ApiError) as streamed:
            async with client.watch(CONFIG_MAP, revision="1") as events:
                await anext(events)
        assert streamed.value.code == 503
        await transport.close()

    asyncio.run(run())
