"""TCP in userspace: a listener for each frontend, and a pair of sockets for each connection."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from pierhead.dataplane.listener import Served
from pierhead.dataplane.relay import SCRATCH_BYTES, Pipe, abort
from pierhead.dataplane.sockets import dial, listen_tcp
from pierhead.forwarding.table import Endpoint

CONNECT_SECONDS = 3.0
"""For one endpoint. The kernel repeats a lost SYN after 1 s and after 3 s: this leaves room for one repetition."""
ATTEMPTS = 3
"""Endpoints tried before a client is turned away."""
BURST = 64
"""Connections accepted before others of the loop get their turn."""


@dataclass(slots=True)
class TcpCarrier:
    """What all TCP listeners of a proxy share: its open connections and their limit."""

    loop: asyncio.AbstractEventLoop
    limit: int
    """Open connections. At the limit nobody is accepted: clients wait in the kernel's backlog until others have gone."""
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(SCRATCH_BYTES)))
    connections: set[TcpConnection] = field(default_factory=set)
    waiting: set[TcpListener] = field(default_factory=set)

    def left(self, connection: TcpConnection) -> None:
        self.connections.discard(connection)
        for listener in list(self.waiting):
            self.waiting.discard(listener)
            listener.resume()

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close()


class TcpListener:
    """Accepts at one frontend while it exists; the kernel answers with a reset when it does not."""

    def __init__(self, carrier: TcpCarrier, served: Served, address: str, port: int) -> None:
        """Raises OSError when it cannot listen there."""
        self.served = served
        self._carrier = carrier
        self._socket = listen_tcp(address, port)
        self.resume()

    def close(self) -> None:
        self._carrier.waiting.discard(self)
        self._carrier.loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def resume(self) -> None:
        self._carrier.loop.add_reader(self._socket.fileno(), self._acceptable)

    def forget(self) -> None:
        """The endpoints changed. Open connections stay with theirs."""

    def _acceptable(self) -> None:
        for _ in range(BURST):
            if len(self._carrier.connections) >= self._carrier.limit:
                self._pause()
                return
            try:
                client, peer = self._socket.accept()
            except ConnectionAbortedError:
                continue
            except BlockingIOError:
                return
            except OSError:  # no descriptor or memory left: with the next connection that ends there is
                self._pause()
                return
            self._admit(client, str(peer[0]))

    def _admit(self, client: socket.socket, peer: str) -> None:
        if not self.served.admits(peer):
            abort(client)
            return
        connection = TcpConnection(self._carrier, self.served, client, peer)
        self._carrier.connections.add(connection)
        connection.dial()

    def _pause(self) -> None:
        self._carrier.loop.remove_reader(self._socket.fileno())
        if self._carrier.connections:
            self._carrier.waiting.add(self)
        else:
            self._carrier.loop.call_later(1.0, self._retry)

    def _retry(self) -> None:
        if self._socket.fileno() >= 0:
            self.resume()


class TcpConnection:
    """A client, the endpoint that was found for it, and what flows between them."""

    __slots__ = (
        "_carrier",
        "_client",
        "_ended",
        "_endpoint",
        "_peer",
        "_pipes",
        "_served",
        "_timer",
        "_tried",
        "_upstream",
    )

    def __init__(self, carrier: TcpCarrier, served: Served, client: socket.socket, peer: str) -> None:
        client.setblocking(False)
        self._carrier = carrier
        self._served = served
        self._client = client
        self._peer = peer
        self._upstream: socket.socket | None = None
        self._endpoint: Endpoint | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tried: tuple[Endpoint, ...] = ()
        self._pipes: tuple[Pipe, ...] = ()
        self._ended = 0

    def dial(self) -> None:
        """Tries one endpoint after the other, each at random among those left."""
        while len(self._tried) < ATTEMPTS:
            endpoint = self._served.pick(self._peer, self._carrier.loop.time(), self._tried)
            if endpoint is None:
                break
            self._endpoint, self._tried = endpoint, (*self._tried, endpoint)
            if self._connect(endpoint):
                return
        self.close()

    def _connect(self, endpoint: Endpoint) -> bool:
        """False when the endpoint was refused on the spot."""
        try:
            self._upstream = upstream = dial(endpoint.address, socket.SOCK_STREAM)
            upstream.connect((endpoint.address, endpoint.port))
        except BlockingIOError:
            loop = self._carrier.loop
            loop.add_writer(upstream.fileno(), self._connected)
            self._timer = loop.call_later(CONNECT_SECONDS, self._connected, TimeoutError())
        except OSError:
            self._hang_up()
            return False
        else:
            self._relay(upstream)
        return True

    def _connected(self, failure: OSError | None = None) -> None:
        assert self._upstream is not None
        self._stop_waiting(self._upstream)
        if failure or self._upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._hang_up()
            self.dial()
        else:
            self._relay(self._upstream)

    def _relay(self, upstream: socket.socket) -> None:
        assert self._endpoint is not None
        loop, scratch = self._carrier.loop, self._carrier.scratch
        self._served.keep(self._peer, self._endpoint, loop.time())
        self._pipes = (
            Pipe(self._client, upstream, self._over, loop=loop, scratch=scratch),
            Pipe(upstream, self._client, self._over, loop=loop, scratch=scratch),
        )
        for pipe in self._pipes:
            pipe.start()

    def _over(self, error: OSError | None) -> None:
        """One direction has ended. The other goes on until it ends as well, or at once when this one broke."""
        self._ended += 1
        if error is None and self._ended < len(self._pipes):
            return
        for pipe in self._pipes:
            pipe.stop()
        if error is None:
            self._client.close()
            self._hang_up()
            self._carrier.left(self)
        else:
            self.close()

    def close(self) -> None:
        """Ends it with a reset, in whatever state it is."""
        for pipe in self._pipes:
            pipe.stop()
        if self._upstream is not None and not self._pipes:
            self._stop_waiting(self._upstream)
        abort(self._client)
        if self._upstream is not None:
            abort(self._upstream)
        self._carrier.left(self)

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def _stop_waiting(self, upstream: socket.socket) -> None:
        self._carrier.loop.remove_writer(upstream.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
