"""``Relay``: bytes between two connected TCP sockets, both ways, as they come."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from pierhead.dataplane.poller import EPOLLERR, EPOLLIN, EPOLLONESHOT, EPOLLOUT, Poller

SCRATCH_BYTES = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """Owns two sockets until both directions have ended, or one of them broke; then closes both and says so once by ``over``.

    An end of stream is passed on as an end of stream, the other direction goes on. A reset is passed on as a reset.
    """

    __slots__ = ("_over", "_poller", "ends")

    def __init__(
        self,
        client: socket.socket,
        upstream: socket.socket,
        over: Callable[[], None],
        *,
        poller: Poller,
        scratch: memoryview,
    ) -> None:
        """``scratch``: shared by all relays of a loop; what is in it is sent, or copied, before anybody else reads."""
        self._over = over
        self._poller = poller
        self.ends = End(client, self, poller, scratch), End(upstream, self, poller, scratch)
        for end, other in (self.ends, self.ends[::-1]):
            end.other = other
        for end in self.ends:
            end.start()

    def finish(self) -> None:
        """Both directions have ended. Closing sends the last end of stream."""
        self._close(socket.socket.close)

    def broken(self) -> None:
        """One socket broke, or somebody wants it all to end now."""
        self._close(abort)

    def _close(self, how: Callable[[socket.socket], None]) -> None:
        for end in self.ends:
            self._poller.forget(end.descriptor)
            how(end.socket)
        self._over()


class End:
    """One of the two sockets: what comes in here goes out at the other.

    It reads nothing while the other end has not taken what was read before: that is all the backpressure there is.
    """

    __slots__ = ("_interest", "_pending", "_poller", "_relay", "_scratch", "descriptor", "ended", "other", "socket")

    other: End

    def __init__(self, found: socket.socket, relay: Relay, poller: Poller, scratch: memoryview) -> None:
        self.socket = found
        self.descriptor = found.fileno()
        self.ended = False
        """Nothing more will come in here."""
        self._relay = relay
        self._poller = poller
        self._scratch = scratch
        self._interest = 0
        self._pending = memoryview(b"")
        """Waits to go out here."""

    def start(self) -> None:
        self._interest = EPOLLIN
        self._poller.watch(self.descriptor, EPOLLIN, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & EPOLLOUT:
                self._flush()
            if self._interest & EPOLLIN and events & ~EPOLLOUT:
                self._read()
            elif events & EPOLLERR:
                self._relay.broken()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._relay.broken()

    def _read(self) -> None:
        size = self.socket.recv_into(self._scratch)
        if not size:
            self._end()
            return
        sent = _send(self.other.socket, self._scratch[:size])
        if sent < size:
            self.other.keep(memoryview(bytes(self._scratch[sent:size])))
            self._want(self._interest & ~EPOLLIN)

    def _end(self) -> None:
        self.ended = True
        if self.other.ended:
            self._relay.finish()
            return
        self._want(self._interest & ~EPOLLIN)
        self.other.socket.shutdown(socket.SHUT_WR)

    def keep(self, rest: memoryview) -> None:
        """Sends this when the socket takes it."""
        self._pending = rest
        self._want(self._interest | EPOLLOUT)

    def _flush(self) -> None:
        self._pending = self._pending[_send(self.socket, self._pending) :]
        if not self._pending:
            self._want(self._interest & ~EPOLLOUT)
            self.other.resume()

    def resume(self) -> None:
        """What was read here has gone out."""
        self._want(self._interest | EPOLLIN)

    def _want(self, events: int) -> None:
        """A socket of which nothing is wanted still tells when it breaks, and once: an end in both directions would be told without
        end."""
        if events != self._interest:
            self._poller.change(self.descriptor, events or EPOLLONESHOT)
            self._interest = events


def _send(target: socket.socket, data: memoryview) -> int:
    try:
        return target.send(data)
    except (BlockingIOError, InterruptedError):
        return 0


def abort(connection: socket.socket) -> None:
    """Closes with a reset, so that the peer learns at once that something broke, not that all went well."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
