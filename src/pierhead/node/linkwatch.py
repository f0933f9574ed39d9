"""``LinkWatch``: the kernel's notices of what becomes of a namespace's links, addresses and routes."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple, Self, TypeAlias

from pierhead.dataplane.netlink import DATAGRAM, NETLINK_ADD_MEMBERSHIP, SOL_NETLINK, refusal
from pierhead.wire import links, routes
from pierhead.wire.links import Link
from pierhead.wire.netlink import Message, Protocol, parse
from pierhead.wire.routes import Address, Route

GROUPS: Final = (1, 5, 7, 9, 11)
"""RTNLGRP_LINK, and the addresses and routes of IPv4 and IPv6."""
Notice: TypeAlias = Link | Address | Route


class Heard(NamedTuple):
    notices: Sequence[Notice]
    """What is there now, or was until now."""
    complete: bool
    """False: some were lost, of whatever."""


class LinkWatch:
    """Hears from its making on, one's own changes too."""

    def __init__(self, connection: socket.socket) -> None:
        """Takes over ``connection``, a netlink socket for routing."""
        self._socket = connection
        connection.setblocking(False)
        connection.bind((0, 0))
        for group in GROUPS:
            connection.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    @classmethod
    def open(cls) -> Self:
        """In this thread's network namespace.

        Raises:
            KernelError: there may be no such socket.
        """
        try:
            return cls(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, Protocol.ROUTE))
        except OSError as error:
            raise refusal(error.errno or 0, "notices of links and routes") from error

    async def wait(self) -> None:
        """Until there is something to read."""
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._socket)

    def read(self) -> Heard:
        """All that has come, without waiting."""
        found: list[Notice] = []
        complete = True
        while True:
            try:
                data = self._socket.recv(DATAGRAM)
            except BlockingIOError:
                return Heard(found, complete)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise refusal(error.errno or 0, "notices of links and routes") from error
                complete = False
                continue
            found += filter(None, (_read(notice) for _, notice in parse(data) if isinstance(notice, Message)))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(notice: Message) -> Notice | None:
    """None: it is of a kind that nobody asked for."""
    match notice.kind:
        case links.Kind.NEWLINK | links.Kind.DELLINK:
            return links.read(notice)
        case routes.Kind.ADDRESS | routes.Kind.ADDRESS_GONE:
            return routes.read_address(notice)
        case routes.Kind.ROUTE | routes.Kind.ROUTE_GONE:
            return routes.read_route(notice)
    return None
