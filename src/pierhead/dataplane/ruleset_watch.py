"""Who else changes the ruleset: the kernel's notices of other programs' commits."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from pierhead.dataplane.netlink import DATAGRAM, NETLINK_ADD_MEMBERSHIP, SOL_NETLINK, refusal
from pierhead.wire.listing import read_generation, table_of
from pierhead.wire.netlink import Message, Protocol, parse
from pierhead.wire.nftables import Kind, Table

NFNLGRP_NFTABLES: Final = 7
SO_ATTACH_FILTER = 26
_FILTER: Final = struct.Struct("HBBI")
_LOAD_WORD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_PORT_AT: Final = 12
"""Where a message's header has the port of the socket that made the change."""


class Commit(msgspec.Struct, frozen=True):
    """What somebody else did at once."""

    program: str = ""
    """Its name as ``comm`` has it: 15 characters at most. Empty: it was not heard."""
    pid: int = 0
    """As the first pid namespace counts."""
    tables: frozenset[Table] = frozenset()
    """Those it changed anything in, without their comments."""
    complete: bool = True
    """False: notices were lost: any table may have changed, and nobody knows by whom."""


class RulesetWatch:
    """Hears of every commit to any table of the namespace in which its socket was made, but for one's own.

    The kernel prepares a notice of every single element as soon as anybody listens, which doubles the time of a load of 100,000; so
    nothing is heard until ``begin``, which belongs after the load.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Takes over ``connection``, a netlink socket for netfilter."""
        self._socket = connection
        self._tables: set[Table] = set()
        """Of a commit whose generation, which ends its notices, has not come yet."""
        self._sure = True
        """False: notices of that commit may be lost, or these be another one's."""
        self.hearing = asyncio.Event()
        """Set from `begin` on."""
        connection.setblocking(False)

    @classmethod
    def open(cls) -> Self:
        """In this thread's network namespace.

        Raises:
            NotSupported: this kernel has no nfnetlink.
        """
        try:
            return cls(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, Protocol.NETFILTER))
        except OSError as error:
            raise refusal(error.errno or 0, "the ruleset's notices") from error

    def begin(self, own: int) -> None:
        """Hears from now on. ``own``: the port of the socket whose commits are not told."""
        if not self._socket.getsockname()[0]:  # a step after it may have failed before
            self._socket.bind((0, 0))
        _all_but(self._socket, own)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self.hearing.set()

    async def wait(self) -> None:
        """Until there is something to read."""
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._socket)

    def read(self) -> list[Commit]:
        """The commits of which all notices have come, without waiting. Where some were lost, one Commit stands for all of them: what came
        before the gap and what came after it cannot be told apart."""
        found: list[Commit] = []
        lost = False
        while True:
            try:
                data = self._socket.recv(DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise refusal(error.errno or 0, "the ruleset's notices") from error
                lost = True
                continue
            for _, notice in parse(data):
                if isinstance(notice, Message):
                    found += self._take(notice)
        return [self._lost(found)] if lost else found

    def _take(self, notice: Message) -> list[Commit]:
        if notice.kind != Kind.NEWGEN:
            table = table_of(notice)
            if table is not None:
                self._tables.add(table)
            return []
        made = read_generation(notice)
        tables, self._tables = frozenset(self._tables), set()
        sure, self._sure = self._sure, True
        return [Commit(made.program, made.pid, tables) if sure else Commit(tables=tables, complete=False)]

    def _lost(self, found: Sequence[Commit]) -> Commit:
        """The kernel says that it drops notices before it gives what it had queued until then, so that the gap is anywhere up to here; the
        commit of which the end comes next may have begun in it."""
        tables = frozenset(self._tables).union(*(commit.tables for commit in found))
        self._tables, self._sure = set(), False
        return Commit(tables=tables, complete=False)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _all_but(connection: socket.socket, port: int) -> None:
    """Lets the kernel drop the notices of one's own changes before they are queued: those of one load would overrun the buffer.

    A classic BPF program, which loads in network byte order what the header has in the host's.
    """
    loaded = int.from_bytes(struct.pack("=I", port), "big")
    steps = ((_LOAD_WORD, 0, 0, _PORT_AT), (_EQUAL, 0, 1, loaded), (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 0xFFFFFFFF))
    program = ctypes.create_string_buffer(b"".join(_FILTER.pack(*step) for step in steps))
    described = struct.pack("HP", len(steps), ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
