"""``Pipe``: bytes from one connected TCP socket to another, as they come, without tasks and without copies where the kernel is quick.

Why readiness callbacks on plain sockets instead of transports: a short connection costs two socket objects and a handful of system
calls, and no protocol, transport and flow-control objects on both sides (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

SCRATCH_BYTES = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Pipe:
    """One direction. Reads nothing more while the other side does not take what is there: that is all the backpressure there is.

    ``over`` is called once: without an error when the end of the stream has been passed on, else with what broke.
    """

    __slots__ = ("_loop", "_over", "_pending", "_scratch", "_source", "_source_fd", "_target", "_target_fd")

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        over: Callable[[OSError | None], None],
        *,
        loop: asyncio.AbstractEventLoop,
        scratch: memoryview,
    ) -> None:
        self._source, self._source_fd = source, source.fileno()
        self._target, self._target_fd = target, target.fileno()
        self._over = over
        self._loop = loop
        self._scratch = scratch
        """Shared by all pipes of a loop: what is in it is sent, or copied, before anybody else reads."""
        self._pending = memoryview(b"")

    def start(self) -> None:
        self._loop.add_reader(self._source_fd, self._readable)

    def stop(self) -> None:
        """Listens to neither socket any more; safe at any time before they are closed."""
        self._loop.remove_reader(self._source_fd)
        if self._pending:
            self._loop.remove_writer(self._target_fd)

    def _readable(self) -> None:
        try:
            size = self._source.recv_into(self._scratch)
            if not size:
                self._pass_on_the_end()
                return
            sent = _send(self._target, self._scratch[:size])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._over(error)
            return
        if sent < size:
            self._pending = memoryview(bytes(self._scratch[sent:size]))
            self._loop.remove_reader(self._source_fd)
            self._loop.add_writer(self._target_fd, self._writable)

    def _writable(self) -> None:
        try:
            self._pending = self._pending[_send(self._target, self._pending) :]
        except OSError as error:
            self._over(error)
            return
        if not self._pending:
            self._loop.remove_writer(self._target_fd)
            self._loop.add_reader(self._source_fd, self._readable)

    def _pass_on_the_end(self) -> None:
        self._loop.remove_reader(self._source_fd)
        self._target.shutdown(socket.SHUT_WR)
        self._over(None)


def _send(target: socket.socket, data: memoryview) -> int:
    try:
        return target.send(data)
    except (BlockingIOError, InterruptedError):
        return 0


def abort(connection: socket.socket) -> None:
    """Closes with a reset, so that the peer learns at once that something broke, not that all went well."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
