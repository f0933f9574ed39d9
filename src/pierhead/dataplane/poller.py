"""``Poller``: an epoll of the proxy's own, seen by the event loop as one descriptor.

A short connection is two sockets that live for a millisecond. An event loop's handles, transports and flow control for each of them
cost more than the connection itself; here a socket is one entry in a dict and one in the kernel (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from select import EPOLLERR, EPOLLIN, EPOLLONESHOT, EPOLLOUT
from typing import TypeAlias

__all__ = ["EPOLLERR", "EPOLLIN", "EPOLLONESHOT", "EPOLLOUT", "Handler", "Poller"]

Handler: TypeAlias = Callable[[int], None]
"""Takes what is ready: a sum of ``EPOLLIN``, ``EPOLLOUT``, ``EPOLLHUP`` and ``EPOLLERR``, the latter two unasked. Must not block or raise."""
BATCH = 256
"""Descriptors served before the rest of the loop gets its turn."""


class Poller:
    """Level-triggered: what is not taken is reported again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._gone: set[int] = set()
        """Forgotten while a batch is served: what the batch still says of these numbers is not of their new owners."""
        loop.add_reader(self._epoll.fileno(), self._serve)

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Watches for other events from now on."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Must be called before the descriptor is closed; one that is not watched is no error."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._gone.add(descriptor)

    def close(self) -> None:
        """Doing so twice is no error."""
        if self._epoll.closed:
            return
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _serve(self) -> None:
        self._gone.clear()
        for descriptor, events in self._epoll.poll(0, BATCH):
            if descriptor not in self._gone:
                self._handlers[descriptor](events)
