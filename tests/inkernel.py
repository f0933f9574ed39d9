"""The scenarios' network inside a namespace: its sockets in this process, the table in its kernel."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from compiled import GROUND
from dataplanes import PATIENCE, PODS, Echo, Object, SocketTalk
from forwarded import pod, table_of
from namespaces import Namespace
from pierhead.dataplane.nftables import Nftables
from pierhead.forwarding.diff import diff, whole
from pierhead.forwarding.table import ForwardingTable
from pierhead.forwarding.trace import Packet

MAKE = """
import json, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as back:
    while asked := back.recv(100):
        with socket.socket(*json.loads(asked)) as made:
            socket.send_fds(back, [b"x"], [made.fileno()])
"""
SILENCE = 0.4
"""Seconds after which a connection that got no answer was dropped; in here an answer takes microseconds."""


class Sockets:
    """Makes sockets that live in a namespace."""

    def __init__(self, asking: socket.socket) -> None:
        self._asking = asking

    def make(
        self, kind: socket.SocketKind, family: socket.AddressFamily = socket.AF_INET, protocol: int = 0
    ) -> socket.socket:
        self._asking.send(json.dumps([int(family), int(kind), protocol]).encode())
        _, (made,), _, _ = socket.recv_fds(self._asking, 1, 1)
        found = socket.socket(fileno=made)
        found.setblocking(False)
        return found

    @contextmanager
    def listening(self, address: str, port: int) -> Iterator[None]:
        """Somebody accepts connections there and says nothing."""
        with self.make(socket.SOCK_STREAM) as found:
            found.bind((address, port))
            found.listen(100)
            yield


@contextmanager
def sockets_of(namespace: Namespace) -> Iterator[Sockets]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [*namespace.prefix, sys.executable, "-I", "-S", "-c", MAKE, str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        yield Sockets(ours)


class InKernel:
    """A world of the data plane's contract: everything in one namespace, which has all of 127.0.0.0/8."""

    def __init__(self, dataplane: Nftables, sockets: Sockets) -> None:
        self.dataplane = dataplane
        self.sockets = sockets
        self._table: ForwardingTable | None = None

    async def hold(self, *objects: Object) -> None:
        table = table_of(*objects)
        await self.dataplane.commit(whole(table) if self._table is None else diff(self._table, table))
        self._table = table

    async def outcomes(self, packet: Packet) -> set[str]:
        found = await self.once(packet)
        if found == "dropped":
            return {found}
        return {found} | {await self.once(packet) for _ in range(PATIENCE)}

    async def talk(self, packet: Packet) -> SocketTalk:
        kind = socket.SOCK_STREAM if packet.protocol == "TCP" else socket.SOCK_DGRAM
        found = self.sockets.make(kind)
        try:
            found.bind((packet.source, 0))
            async with asyncio.timeout(SILENCE):
                await asyncio.get_running_loop().sock_connect(found, (packet.address, packet.port))
        except BaseException:
            found.close()
            raise
        return SocketTalk(found)

    async def once(self, packet: Packet) -> str:
        try:
            talk = await self.talk(packet)
        except TimeoutError:
            return "dropped"
        except ConnectionError:
            return "refused"
        try:
            return await talk.ask()
        except PermissionError:  # the verdict of an output hook on a datagram
            return "refused"
        finally:
            await talk.close()


@asynccontextmanager
async def in_kernel(namespace: Namespace) -> AsyncIterator[InKernel]:
    async with AsyncExitStack() as stack:
        # Else refusals would be lost: the kernel sends fifty at once and then a few.
        namespace.run("sysctl", "-qw", "net.ipv4.icmp_msgs_per_sec=100000", "net.ipv4.icmp_msgs_burst=100000")
        sockets = stack.enter_context(sockets_of(namespace))
        for number in PODS:
            for port in (9376, 9377):
                await stack.enter_async_context(answering(sockets, pod(number), port, f"{number}:{port}"))
        yield InKernel(Nftables([GROUND], namespace.open()), sockets)


@asynccontextmanager
async def answering(sockets: Sockets, address: str, port: int, name: str) -> AsyncIterator[None]:
    """A pod: answers each line and each datagram with its name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while await reader.readline():
                    writer.write(f"{name}\n".encode())
        finally:
            writer.close()

    listening, receiving = sockets.make(socket.SOCK_STREAM), sockets.make(socket.SOCK_DGRAM)
    listening.bind((address, port))
    receiving.bind((address, port))
    server = await asyncio.start_server(serve, sock=listening)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Echo(name), sock=receiving)
    try:
        yield
    finally:
        transport.close()
        server.close()
