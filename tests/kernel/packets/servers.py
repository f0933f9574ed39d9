"""Who listens in the recorded network: a server answers with its name, its port and the client that it sees."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kernel.packets.topology import ADDRESSES, PODS, Topology


class Listener(NamedTuple):
    name: str
    address: str
    port: int


def listeners() -> Iterator[Listener]:
    """Who listened when kube-proxy was recorded."""
    for pod in PODS:
        for port in (8080, 8081, 9090):
            yield Listener(pod, "::", port)
    for number, family in enumerate((socket.AF_INET, socket.AF_INET6)):
        of = {name: both[number] for name, both in ADDRESSES.items()}
        for node, port in (("node-a", 30099), ("node-b", 30080)):
            yield Listener(node, of[node], 7070)
            if family == socket.AF_INET:
                yield Listener(node, of[node], port)
        yield Listener("outside", of["outside"], 8080)
        for port in (80, 8080):
            yield Listener("outside-lb", of["outside-lb"], port)


class Servers:
    def __init__(self) -> None:
        self._listening: list[asyncio.Server] = []
        self._transports: set[asyncio.BaseTransport] = set()

    async def start(self, network: Topology, these: Iterable[Listener]) -> None:
        """In the running loop."""
        for listener in these:
            family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
            sockets = network.host(listener.name.removesuffix("-lb")).sockets
            listening, receiving = sockets.make(socket.SOCK_STREAM, family), sockets.make(socket.SOCK_DGRAM, family)
            for found in (listening, receiving):
                found.bind((listener.address, listener.port))
            await self._serve(listener, listening, receiving)

    async def _serve(self, listener: Listener, listening: socket.socket, receiving: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._listening.append(await loop.create_server(lambda: Stream(listener, self._transports), sock=listening))
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(listener), sock=receiving)
        self._transports.add(transport)

    async def close(self) -> None:
        for server in self._listening:
            server.close()
        for transport in list(self._transports):
            transport.close()
        await asyncio.sleep(0)  # transports close their sockets in the loop's next round


def _telling(listener: Listener, peer: Any) -> bytes:
    return f"{listener.name} {listener.port} {peer[0].removeprefix('::ffff:')}\n".encode()


class Stream(asyncio.Protocol):
    """Each line of a client is a request."""

    def __init__(self, listener: Listener, open_ones: set[asyncio.BaseTransport]) -> None:
        self._listener, self._open = listener, open_ones

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._answer = _telling(self._listener, transport.get_extra_info("peername"))
        self._open.add(transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer * data.count(b"\n"))

    def connection_lost(self, _: Exception | None) -> None:
        self._open.discard(self._transport)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, _: bytes, peer: Any) -> None:
        self._transport.sendto(_telling(self._listener, peer), peer)
