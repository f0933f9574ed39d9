"""Who else changes the ruleset: the kernel's notices of new generations."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Final, Self

from pierhead.dataplane.netlink import DATAGRAM, SOL_NETLINK, refusal
from pierhead.wire.listing import Generation, read_generation
from pierhead.wire.netlink import Message, Protocol, parse
from pierhead.wire.nftables import Kind

NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 1, 7
SO_ATTACH_FILTER = 26
_FILTER: Final = struct.Struct("HBBI")
_LOAD_HALF, _EQUAL, _RETURN = 0x28, 0x15, 0x06
_KIND_AT: Final = 4
"""Where the type stands in a message's header."""


class RulesetWatch:
    """Hears of every commit to any table of the namespace in which its socket was made, ours included: those are told apart by the
    generation they made. The kernel prepares a notice of every single element as soon as anybody listens, which doubles the time of a
    load of 100,000; so a watch begins after the load.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Takes over ``connection``, a netlink socket for netfilter."""
        self._socket = connection
        connection.setblocking(False)
        connection.bind((0, 0))
        _only(connection, Kind.NEWGEN)
        connection.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)

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

    def fileno(self) -> int:
        """To be waited for: readable when there is a notice."""
        return self._socket.fileno()

    def read(self) -> list[Generation]:
        """The notices that have come, without waiting. A gap in their numbers: some were lost."""
        found: list[Generation] = []
        while True:
            try:
                data = self._socket.recv(DATAGRAM)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise refusal(error.errno or 0, "the ruleset's notices") from error
                continue
            found += [read_generation(notice) for _, notice in parse(data) if isinstance(notice, Message)]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _only(connection: socket.socket, kind: int) -> None:
    """Lets the kernel drop every other message before it is queued: the notices of one load would overrun the buffer.

    A classic BPF program, which loads in network byte order what the header has in the host's.
    """
    loaded = int.from_bytes(struct.pack("=H", kind), "big")
    steps = ((_LOAD_HALF, 0, 0, _KIND_AT), (_EQUAL, 0, 1, loaded), (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0))
    program = ctypes.create_string_buffer(b"".join(_FILTER.pack(*step) for step in steps))
    described = struct.pack("HP", len(steps), ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
