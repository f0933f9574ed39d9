"""TCP in userspace: a listener for each frontend, and a pair of sockets for each connection."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass, field

from pierhead.dataplane.listener import Served
from pierhead.dataplane.poller import EPOLLIN, EPOLLOUT, Poller
from pierhead.dataplane.relay import SCRATCH_BYTES, Relay, abort
from pierhead.dataplane.sockets import dial, listen_tcp
from pierhead.forwarding.table import Endpoint

CONNECT_SECONDS = 3.0
"""For one endpoint. The kernel repeats a lost SYN after 1 s and after 3 s: this leaves room for one repetition."""
ATTEMPTS = 3
"""Endpoints tried before a client is turned away."""
BURST = 64
"""Connections accepted before others of the loop get their turn."""
RETRY_SECONDS = 0.2
"""Until somebody is accepted again after descriptors ran out."""


@dataclass(slots=True)
class TcpCarrier:
    """What all TCP listeners of a proxy share: its open connections and their limit."""

    poller: Poller
    limit: int
    """Open connections. At the limit nobody is accepted: clients wait in the kernel's backlog until others have gone."""
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(SCRATCH_BYTES)))
    connections: set[TcpConnection] = field(default_factory=set)
    waiting: set[TcpListener] = field(default_factory=set)
    listening: set[tuple[str, int]] = field(default_factory=set)
    """Where our own listeners are. Nothing is sent there: two Services that lead to each other would connect without end."""
    connect_seconds: float = CONNECT_SECONDS

    @property
    def full(self) -> bool:
        return len(self.connections) >= self.limit

    def left(self, connection: TcpConnection) -> None:
        self.connections.discard(connection)
        while self.waiting and not self.full:
            self.waiting.pop().resume()

    def close(self) -> None:
        self.waiting.clear()
        for connection in list(self.connections):
            connection.close()


class TcpListener:
    """Accepts at one frontend while it exists; the kernel answers with a reset when it does not."""

    def __init__(self, carrier: TcpCarrier, served: Served, address: str, port: int) -> None:
        """Raises OSError when it cannot listen there."""
        self.served = served
        self._carrier = carrier
        self._where = address, port
        self._socket = listen_tcp(address, port)
        self._timer: asyncio.TimerHandle | None = None
        carrier.listening.add(self._where)
        self.resume()

    def close(self) -> None:
        self._pause()
        self._carrier.waiting.discard(self)
        self._carrier.listening.discard(self._where)
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()

    def forget(self) -> None:
        """Open connections stay with their endpoints."""

    def resume(self) -> None:
        self._timer = None
        self._carrier.poller.watch(self._socket.fileno(), EPOLLIN, self._acceptable)

    def _pause(self) -> None:
        self._carrier.poller.forget(self._socket.fileno())

    def _acceptable(self, _: int) -> None:
        for _ in range(BURST):
            if self._carrier.full:
                self._pause()
                self._carrier.waiting.add(self)
                return
            try:
                client, peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor or memory left, for whatever reason: it is not ours alone to free some
                self._pause()
                self._timer = self._carrier.poller.loop.call_later(RETRY_SECONDS, self.resume)
                return
            self._admit(client, str(peer[0]))

    def _admit(self, client: socket.socket, peer: str) -> None:
        if not self.served.admits(peer):
            abort(client)
            return
        connection = TcpConnection(self._carrier, self.served, client, peer)
        self._carrier.connections.add(connection)
        connection.dial()


class TcpConnection:
    """A client, the endpoint that was found for it, and from then on the relay between them."""

    __slots__ = ("_carrier", "_client", "_peer", "_relay", "_served", "_timer", "_tried", "_upstream")

    def __init__(self, carrier: TcpCarrier, served: Served, client: socket.socket, peer: str) -> None:
        client.setblocking(False)
        self._carrier = carrier
        self._served = served
        self._client = client
        self._peer = peer
        self._upstream: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tried: tuple[Endpoint, ...] = ()
        self._relay: Relay | None = None

    def dial(self) -> None:
        """Tries one endpoint after the other, each at random among those left; without any, the client is reset."""
        now = self._carrier.poller.loop.time()
        while len(self._tried) < ATTEMPTS:
            endpoint = self._served.pick(self._peer, now, self._tried)
            if endpoint is None:
                break
            self._tried = (*self._tried, endpoint)
            if self._connect(endpoint):
                return
        self.close()

    def close(self) -> None:
        """Ends it with a reset, in whatever state it is."""
        if self._relay is not None:
            self._relay.broken()
            return
        self._hang_up()
        abort(self._client)
        self._carrier.left(self)

    def _connect(self, endpoint: Endpoint) -> bool:
        """False when the endpoint refused on the spot, or is a listener of ours."""
        where = endpoint.address, endpoint.port
        if where in self._carrier.listening:
            return False
        try:
            self._upstream = dial(endpoint.address, socket.SOCK_STREAM)
        except OSError:  # no descriptor left
            return False
        answer = self._upstream.connect_ex(where)
        if answer == errno.EINPROGRESS:
            # On the same machine the handshake is over by now; asking again costs less than waiting to be told.
            answer = self._upstream.connect_ex(where)
        if answer == errno.EALREADY:
            poller = self._carrier.poller
            poller.watch(self._upstream.fileno(), EPOLLOUT, self._answered)
            self._timer = poller.loop.call_later(self._carrier.connect_seconds, self._next)
            return True
        if answer:
            self._hang_up()
            return False
        self._begin(self._upstream)
        return True

    def _answered(self, _: int) -> None:
        assert self._upstream is not None
        if self._upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._next()
        else:
            self._stop_waiting(self._upstream)
            self._begin(self._upstream)

    def _next(self) -> None:
        """This endpoint refused, or said nothing for too long."""
        self._hang_up()
        self.dial()

    def _begin(self, upstream: socket.socket) -> None:
        carrier = self._carrier
        self._served.keep(self._peer, self._tried[-1], carrier.poller.loop.time())
        self._relay = Relay(self._client, upstream, self._over, poller=carrier.poller, scratch=carrier.scratch)

    def _over(self) -> None:
        self._carrier.left(self)

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._stop_waiting(self._upstream)
            self._upstream.close()
            self._upstream = None

    def _stop_waiting(self, upstream: socket.socket) -> None:
        self._carrier.poller.forget(upstream.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
