"""The worlds in which the data plane's contract is tested: a tracer, compiled rules, a fake, and real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from random import Random
from typing import Any, Protocol, TypeAlias

from compiled import Kernel
from forwarded import HERE, NODE, pod, table_of
from pierhead.api import views
from pierhead.dataplane.memory import Connection, Memory
from pierhead.dataplane.userspace import Userspace
from pierhead.forwarding.diff import diff, whole
from pierhead.forwarding.nftwalk import Fate
from pierhead.forwarding.table import ForwardingTable
from pierhead.forwarding.trace import Packet, trace

Object: TypeAlias = views.Service | views.EndpointSlice
PODS = range(11, 17)
"""Numbers of the pods that answer, on TCP and UDP, ports 9376 and 9377."""
PATIENCE = 60
"""Connections after which an endpoint that did not answer will not: at three endpoints the odds against are 1 in 10^10."""


class Talk(Protocol):
    """An open connection, or a UDP socket that keeps its address."""

    async def ask(self) -> str:
        """Who answers, e.g. ``11:9376``; ``refused``."""
        ...

    async def close(self) -> None: ...


class World(Protocol):
    """A data plane with pods behind it and clients before it."""

    async def hold(self, *objects: Object) -> None:
        """These Services and slices are all there is."""
        ...

    async def outcomes(self, packet: Packet) -> set[str]:
        """Everything that new connections like this one meet: names of pods, ``refused``, ``dropped``."""
        ...

    async def talk(self, packet: Packet) -> Talk: ...


class Traced:
    """Asks the tracer. It knows no connections, only first packets."""

    def __init__(self) -> None:
        self._table = ForwardingTable()

    async def hold(self, *objects: Object) -> None:
        self._table = table_of(*objects)

    async def outcomes(self, packet: Packet) -> set[str]:
        found = trace(self._table, packet, HERE)
        if found.verdict == "forward":
            return {f"{endpoint.address.rpartition('.')[2]}:{endpoint.port}" for endpoint in found.endpoints}
        return {"dropped" if found.verdict == "drop" else "refused"}

    async def talk(self, packet: Packet) -> Talk:
        raise NotImplementedError


class Compiled:
    """Asks the kernel's rules as compiled, without a kernel; they know no connections either."""

    def __init__(self) -> None:
        self._kernel = Kernel()

    async def hold(self, *objects: Object) -> None:
        self._kernel.hold(table_of(*objects))

    async def outcomes(self, packet: Packet) -> set[str]:
        return {self._name(fate) for fate in self._kernel.fates(packet)}

    async def talk(self, packet: Packet) -> Talk:
        raise NotImplementedError

    def _name(self, fate: Fate) -> str:
        if fate.verdict == "forward":
            return f"{str(fate.destination).rpartition('.')[2]}:{fate.port}"
        return "dropped" if fate.verdict == "drop" else "refused"


class Faked:
    """Asks the data plane in memory, fed by diffs as the real ones are."""

    def __init__(self) -> None:
        self.dataplane = Memory(HERE, Random(7))
        self._first = True

    async def hold(self, *objects: Object) -> None:
        await self.dataplane.commit(
            whole(table_of(*objects)) if self._first else diff(self.dataplane.table, table_of(*objects))
        )
        self._first = False

    async def outcomes(self, packet: Packet) -> set[str]:
        return {self._name(packet, self.dataplane.connect(packet)) for _ in range(PATIENCE)}

    async def talk(self, packet: Packet) -> Talk:
        connection = self.dataplane.connect(packet)
        assert connection is not None
        return _FakedTalk(self.dataplane, connection)

    def _name(self, packet: Packet, connection: Connection | None) -> str:
        if connection is None:
            return "dropped" if self.dataplane.trace(packet).verdict == "drop" else "refused"
        return f"{connection.endpoint.address.rpartition('.')[2]}:{connection.endpoint.port}"


class _FakedTalk:
    def __init__(self, dataplane: Memory, connection: Connection) -> None:
        self._dataplane = dataplane
        self._connection = connection

    async def ask(self) -> str:
        found = self._dataplane.send(self._connection)
        return f"{found.address.rpartition('.')[2]}:{found.port}" if found else "refused"

    async def close(self) -> None: ...


class Sockets:
    """Asks the userspace proxy over real sockets, with real servers behind it."""

    def __init__(self, dataplane: Userspace) -> None:
        self.dataplane = dataplane
        self._table: ForwardingTable | None = None

    async def hold(self, *objects: Object) -> None:
        table = table_of(*objects)
        await self.dataplane.commit(whole(table) if self._table is None else diff(self._table, table))
        self._table = table

    async def outcomes(self, packet: Packet) -> set[str]:
        return {await self._once(packet) for _ in range(PATIENCE)}

    async def talk(self, packet: Packet) -> Talk:
        return await connect(packet)

    async def _once(self, packet: Packet) -> str:
        try:
            talk = await connect(packet)
        except ConnectionError:
            return "refused"
        try:
            return await talk.ask()
        finally:
            await talk.close()


class SocketTalk:
    """One real socket."""

    def __init__(self, found: socket.socket) -> None:
        self.socket = found

    async def ask(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(5):
                await loop.sock_sendall(self.socket, b"who?\n")
                return (await loop.sock_recv(self.socket, 100)).decode().strip() or "refused"
        except ConnectionError:
            return "refused"

    async def close(self) -> None:
        self.socket.close()


async def connect(packet: Packet) -> SocketTalk:
    kind = socket.SOCK_STREAM if packet.protocol == "TCP" else socket.SOCK_DGRAM
    found = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        found.bind((packet.source, 0))
        await asyncio.get_running_loop().sock_connect(found, (packet.address, packet.port))
    except OSError:
        found.close()
        raise
    return SocketTalk(found)


@asynccontextmanager
async def traced() -> AsyncIterator[Traced]:
    yield Traced()


@asynccontextmanager
async def compiled() -> AsyncIterator[Compiled]:
    yield Compiled()


@asynccontextmanager
async def faked() -> AsyncIterator[Faked]:
    yield Faked()


@asynccontextmanager
async def sockets(**options: Any) -> AsyncIterator[Sockets]:
    async with AsyncExitStack() as stack:
        for number in PODS:
            for port in (9376, 9377):
                await stack.enter_async_context(answering(pod(number), port, f"{number}:{port}"))
        dataplane = Userspace(HERE, chance=Random(7), **options)
        stack.push_async_callback(dataplane.close)
        yield Sockets(dataplane)


@asynccontextmanager
async def answering(address: str, port: int, name: str) -> AsyncIterator[None]:
    """A pod: answers each line and each datagram with its name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.readline():
                writer.write(f"{name}\n".encode())
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(serve, address, port)
    transport, _ = await loop.create_datagram_endpoint(lambda: Echo(name), (address, port))
    try:
        yield
    finally:
        transport.close()
        server.close()


class Echo(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._transport.sendto(self._name.encode(), peer)


WORLDS: dict[str, Callable[[], AbstractAsyncContextManager[World]]] = {
    "tracer": traced,
    "rules": compiled,
    "memory": faked,
    "userspace": sockets,
}


def to(address: str, port: int = 8080, *, protocol: str = "TCP", source: str = NODE) -> Packet:
    return Packet(source, protocol, address, port)


def names(*numbers: int, port: int = 9376) -> set[str]:
    """What pods answer."""
    return {f"{number}:{port}" for number in numbers}
