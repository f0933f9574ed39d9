"""UDP in userspace: a socket for each frontend, and for each client a flow with a connected socket of its own.

Replies leave by the frontend's socket, so that they come from the address the client sent to.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pierhead.dataplane.listener import Served
from pierhead.dataplane.poller import EPOLLIN, Poller
from pierhead.dataplane.sockets import dial, listen_udp
from pierhead.forwarding.table import Endpoint

Peer: TypeAlias = Any
"""A socket address as the family of the socket writes it."""

IDLE_SECONDS = 60.0
"""A flow without a datagram either way for so long is forgotten; its client's next datagram is a new choice."""
DATAGRAM_BYTES = 65_536
BURST = 64
"""Datagrams taken from one socket before others of the loop get their turn."""
ATTEMPTS = 3
"""Endpoints tried for one datagram when the kernel says at once that nobody listens there."""


@dataclass(slots=True)
class UdpCarrier:
    """What all UDP listeners of a proxy share."""

    poller: Poller
    limit: int
    """Flows of one listener. At the limit its flow that has been quiet longest makes room."""
    total: int
    """Flows of all listeners. At this limit the listener with most flows gives one of its own, so that nobody starves the others."""
    idle: float = IDLE_SECONDS
    listeners: set[UdpListener] = field(default_factory=set)
    listening: set[tuple[str, int]] = field(default_factory=set)
    """Where they are. Nothing is sent there: two Services that lead to each other would send without end."""
    flows: int = 0

    def make_room(self, listener: UdpListener) -> None:
        """For one more flow of this listener."""
        if len(listener.flows) >= self.limit:
            listener.drop_quietest()
        elif self.flows >= self.total:
            max(self.listeners, key=lambda found: len(found.flows)).drop_quietest()


class UdpListener:
    """Receives at one frontend while it exists; the kernel answers "port unreachable" when it does not."""

    def __init__(self, carrier: UdpCarrier, served: Served, address: str, port: int) -> None:
        """Raises OSError when the socket cannot be had."""
        self.served = served
        self._carrier = carrier
        self.flows: OrderedDict[Peer, UdpFlow] = OrderedDict()
        """The one that has been quiet longest comes first."""
        self._timer: asyncio.TimerHandle | None = None
        self._where = address, port
        self._socket = listen_udp(address, port)
        carrier.listeners.add(self)
        carrier.listening.add(self._where)
        carrier.poller.watch(self._socket.fileno(), EPOLLIN, self._readable)

    def close(self) -> None:
        self._carrier.listeners.discard(self)
        self._carrier.listening.discard(self._where)
        self._carrier.poller.forget(self._socket.fileno())
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self.flows):
            self._drop(peer)

    def forget(self) -> None:
        """Flows stay with an endpoint that still serves, whatever the policies say; others choose anew."""
        serving = {(endpoint.address, endpoint.port) for endpoint in self.served.balancer.backends.serving}
        for peer, flow in list(self.flows.items()):
            if (flow.endpoint.address, flow.endpoint.port) not in serving:
                self._drop(peer)

    def drop_quietest(self) -> None:
        self._drop(next(iter(self.flows)))

    def _readable(self, _: int) -> None:
        for _ in range(BURST):
            try:
                data, peer = self._socket.recvfrom(DATAGRAM_BYTES)
            except OSError:  # nothing more there, or the report of a reply that its client no longer wanted
                return
            if self.served.admits(str(peer[0])):
                self._carry(data, peer)

    def _carry(self, data: bytes, peer: Peer) -> None:
        """To the flow's endpoint; where nobody listens any more, to another one. A full send buffer loses it, as in any network."""
        tried: list[Endpoint] = []
        while len(tried) < ATTEMPTS:
            flow = self.flows.get(peer) or self._flow(peer, tried)
            if flow is None:
                return
            try:
                flow.socket.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                tried.append(flow.endpoint)
                self._drop(peer)
            else:
                self._touch(peer, flow)
                return

    def _flow(self, peer: Peer, tried: list[Endpoint]) -> UdpFlow | None:
        now = self._carrier.poller.loop.time()
        endpoint = self.served.pick(str(peer[0]), now, tried)
        if endpoint is None or (endpoint.address, endpoint.port) in self._carrier.listening:
            return None
        self._carrier.make_room(self)
        try:
            flow = UdpFlow(self, peer, endpoint, self._carrier.poller)
        except OSError:  # no descriptor left: this datagram is lost
            return None
        self.flows[peer] = flow
        self._carrier.flows += 1
        self.served.keep(str(peer[0]), endpoint, now)
        if self._timer is None:
            self._timer = self._carrier.poller.loop.call_later(self._carrier.idle, self._expire)
        return flow

    def reply(self, peer: Peer, flow: UdpFlow, data: bytes) -> None:
        try:
            self._socket.sendto(data, peer)
        except OSError:  # the client is gone or its buffer full
            return
        self._touch(peer, flow)

    def broken(self, peer: Peer) -> None:
        """Nobody listens at the flow's endpoint: the client's next datagram goes elsewhere."""
        self._drop(peer)

    def _touch(self, peer: Peer, flow: UdpFlow) -> None:
        flow.last = self._carrier.poller.loop.time()
        self.flows.move_to_end(peer)

    def _drop(self, peer: Peer) -> None:
        self.flows.pop(peer).close()
        self._carrier.flows -= 1

    def _expire(self) -> None:
        loop, idle = self._carrier.poller.loop, self._carrier.idle
        self._timer = None
        while self.flows:
            flow = next(iter(self.flows.values()))
            if loop.time() - flow.last < idle:
                self._timer = loop.call_at(flow.last + idle, self._expire)
                return
            self.drop_quietest()


class UdpFlow:
    """One client's datagrams and the replies to them."""

    __slots__ = ("_listener", "_peer", "_poller", "endpoint", "last", "socket")

    def __init__(self, listener: UdpListener, peer: Peer, endpoint: Endpoint, poller: Poller) -> None:
        self.endpoint = endpoint
        self.last = poller.loop.time()
        self._listener = listener
        self._peer = peer
        self._poller = poller
        self.socket = dial(endpoint.address, socket.SOCK_DGRAM)
        try:
            self.socket.connect((endpoint.address, endpoint.port))
        except OSError:
            self.socket.close()
            raise
        poller.watch(self.socket.fileno(), EPOLLIN, self._readable)

    def close(self) -> None:
        self._poller.forget(self.socket.fileno())
        self.socket.close()

    def _readable(self, _: int) -> None:
        for _ in range(BURST):
            try:
                data = self.socket.recv(DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._listener.broken(self._peer)
                return
            self._listener.reply(self._peer, self, data)
