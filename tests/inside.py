"""A region's API and controllers inside the test: the real application over a store in memory, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network

from pierhead.api.codec import stamp
from pierhead.api.kinds import NAMESPACE
from pierhead.api.logs import LogQuery
from pierhead.api.network import Mode, Network
from pierhead.apiserver import auth
from pierhead.apiserver.application import ApiServer
from pierhead.client.client import Client
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.client.transport import Response, Stream, Transport, unavailable
from pierhead.controllers import Controllers
from pierhead.errors import not_found
from pierhead.store.memory import MemoryStore

STORE = "store-1"
"""The uid that proxies have to name in their reports."""


def network(mode: Mode = "none", *ranges: str) -> Network:
    return Network(mode, tuple(map(ip_network, ranges or ("10.96.0.0/16",))))


class NoNodes:
    """There is no node to ask."""

    def logs(self, node: str, query: LogQuery) -> AsyncGenerator[bytes, None]:
        raise not_found(node, "nodes")


@dataclass
class Inside:
    """A server in this process."""

    store: MemoryStore
    app: ApiServer
    transport: InProcess

    @property
    def client(self) -> Client:
        return Client(self.transport, "test")


@asynccontextmanager
async def server(ground: Network | None = None) -> AsyncIterator[Inside]:
    """An API server, running; with the namespace ``default`` in it."""
    async with serving(MemoryStore(stamp), ground) as found:
        await found.client.create(NAMESPACE, {"metadata": {"name": "default"}})
        yield found


@asynccontextmanager
async def serving(store: MemoryStore, ground: Network | None = None) -> AsyncIterator[Inside]:
    """An API server, running, over whatever the store holds."""
    app = ApiServer(store, ground or network(), {"secret": auth.ADMIN}, NoNodes())
    found = Inside(store, app, InProcess(app, "secret"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(app.run())
        try:
            yield found
        finally:
            running.cancel()
            app.close()


@asynccontextmanager
async def controlled(ground: Network | None = None) -> AsyncIterator[tuple[Client, Informers]]:
    """A server with its controllers at work; the informers are those the controllers read."""
    async with server(ground) as found, working(found.client, ground) as informers:
        yield found.client, informers


@asynccontextmanager
async def working(client: Client, ground: Network | None = None) -> AsyncIterator[Informers]:
    """The controllers of a region at work over its API: what they read."""
    async with at_work(client, ground) as (_, informers):
        yield informers


@asynccontextmanager
async def at_work(client: Client, ground: Network | None = None) -> AsyncIterator[tuple[Controllers, Informers]]:
    """The controllers of a region at work over its API, and what they read. Leaving the block kills them wherever they are."""
    async with asyncio.TaskGroup() as group:
        informers = Informers(client)
        loops = Controllers(client, informers, ground or network(), address=("192.0.2.1", 6443), store=STORE)
        running = [group.create_task(informers.run()), group.create_task(loops.run())]
        await informers.synced()
        try:
            yield loops, informers
        finally:
            for task in running:
                task.cancel()


class Flaky:
    """A transport that can be cut: streams end, and nothing gets through until it is mended."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        """Another one: behind the same address another server answers."""
        self._up = True
        self._cut = asyncio.Event()
        self.requests: list[str] = []
        """``METHOD target`` of everything that was tried."""

    def cut(self) -> None:
        self._up = False
        self._cut.set()

    def mend(self) -> None:
        self._up = True
        self._cut.clear()

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        self._check(method, target)
        return await self.transport.request(method, target, headers=headers, body=body)

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        self._check(method, target)
        async with self.transport.stream(method, target, headers=headers) as found:
            yield Stream(found.status, found.headers, self._until_cut(found.chunks))

    async def close(self) -> None:
        await self.transport.close()

    def _check(self, method: str, target: str) -> None:
        self.requests.append(f"{method} {target}")
        if not self._up:
            raise unavailable("cut")

    async def _until_cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Whichever comes first: the next chunk, or the end of the connection."""
        while True:
            nxt = asyncio.ensure_future(anext(chunks, b""))
            cut = asyncio.ensure_future(self._cut.wait())
            await asyncio.wait((nxt, cut), return_when=asyncio.FIRST_COMPLETED)
            cut.cancel()
            if not nxt.done():
                nxt.cancel()
                raise unavailable("cut")
            if not (chunk := nxt.result()):
                return
            yield chunk


async def eventually(holds: Callable[[], bool]) -> None:
    """Lets the loop run until something holds.

    Raises:
        TimeoutError: it did not within some seconds.
    """
    for _ in range(5000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError
