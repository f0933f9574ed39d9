"""One connection, flow or echo, and what it met: who answered, or how it was refused."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from inkernel import Sockets
from kernel.packets.topology import NAMES

RECVERR: Final = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""With it a socket has each ICMP error at once and whole, also a TCP one within connect()."""
EXTENDED: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err; behind it stands who sent the error."""
ORIGINS: Final = {2: "icmp", 3: "icmp6"}
ECHO: Final = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
SAID_AT_ONCE: Final = 0.05
"""Seconds in which an error comes that a failed call to send has caused."""


class Met(NamedTuple):
    """As a recorded result has it."""

    outcome: str
    by: str = ""
    port: int = 0
    peer: str = ""
    """Whom the server saw."""
    via: str = ""
    send_error: str = ""
    answered_by: str = ""
    """Of an echo: who answered, or refused."""


SILENCE: Final = Met("timeout")


class Call:
    """One socket with one other end. Closed when it is left."""

    def __init__(self, sockets: Sockets, protocol: str, address: str, source: str = "") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        number = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        kind = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM, "ICMP": socket.SOCK_RAW}[protocol]
        self._socket = sockets.make(kind, family, number if protocol == "ICMP" else 0)
        self._protocol, self._address, self._family = protocol, address, family
        self._socket.setsockopt(*RECVERR[family], 1)
        if source:
            self._socket.bind((source, 0))

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def connect(self, port: int) -> Met | None:
        """What was met instead; None: connected."""
        with suppress(BlockingIOError):
            number = self._socket.connect_ex((self._address, port))
            if number not in (0, errno.EINPROGRESS):
                return _named(number)
        if self._protocol != "TCP":
            return None
        await self._ready(writing=True)
        return self._trouble()

    async def ask(self, request: bytes = b"?\n") -> Met:
        """One request and what came of it."""
        if self._protocol == "ICMP":
            request = _echo(self._family)
        try:
            self._socket.send(request)
        except PermissionError:
            return await self._forbidden()
        except OSError as error:
            return self._trouble() or _named(error.errno or 0)
        while True:
            await self._ready(writing=False)
            if trouble := self._trouble():
                return trouble
            with suppress(BlockingIOError):
                if (answer := self._socket.recv(65536)) and (found := self._read(answer)):
                    return found

    async def text(self, request: bytes) -> str:
        """All that is answered until the other end hangs up."""
        self._socket.send(request)
        found = b""
        while True:
            await self._ready(writing=False)
            piece = self._socket.recv(65536)
            if not piece:
                return found.decode()
            found += piece

    def _read(self, answer: bytes) -> Met | None:
        if self._protocol != "ICMP":
            name, port, peer = answer.decode().split()
            return Met("answered", name, int(port), peer)
        kind = answer[(answer[0] & 15) * 4] if self._family == socket.AF_INET else answer[0]
        if kind != ECHO[self._family][1]:
            return None
        return Met("answered", answered_by=NAMES.get(self._address, self._address))

    async def _forbidden(self) -> Met:
        """The call to send failed: the verdict of a hook on the way out. An ICMP error that came with it tells a refusal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SAID_AT_ONCE):
                await self._ready(writing=False)
        trouble = self._trouble()
        return trouble._replace(send_error="EPERM") if trouble else Met("unreachable", via="EPERM")

    def _trouble(self) -> Met | None:
        for number, via, who in self._errors():
            met = _named(number)
            return met._replace(via=via, answered_by=NAMES.get(who, who) if self._protocol == "ICMP" else "")
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return _named(number) if number else None

    def _errors(self) -> Iterator[tuple[int, str, str]]:
        try:
            _, ancillary, _, _ = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            return
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        for _, _, data in ancillary:
            number, origin, kind, code, *_ = EXTENDED.unpack_from(data)
            where, size = (EXTENDED.size + 8, 16) if origin == 3 else (EXTENDED.size + 4, 4)
            family = socket.AF_INET6 if origin == 3 else socket.AF_INET
            yield (
                number,
                f"{ORIGINS.get(origin, origin)} {kind}/{code}",
                socket.inet_ntop(family, data[where : where + size]),
            )

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        add(self._socket, _done, future)
        try:
            await future
        finally:
            remove(self._socket)


async def meet(call: Call, port: int, patience: float) -> Met:
    """One connection with one request."""
    with call:
        try:
            async with asyncio.timeout(patience):
                return await call.connect(port) or await call.ask()
        except TimeoutError:
            return SILENCE


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _named(number: int) -> Met:
    match number:
        case errno.ECONNREFUSED:
            return Met("refused", via="tcp-reset")
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return Met("unreachable", via=errno.errorcode[number])
        case _:
            return Met(errno.errorcode.get(number, str(number)))


def _echo(family: socket.AddressFamily) -> bytes:
    """The kernel fills in the checksum of IPv6 only."""
    number = os.getpid() & 0xFFFF
    kind = ECHO[family][0]
    if family == socket.AF_INET6:
        return struct.pack("!BBHHH", kind, 0, 0, number, 1)
    total = (kind << 8) + number + 1
    return struct.pack("!BBHHH", kind, 0, 0xFFFF - (total & 0xFFFF) - (total >> 16), number, 1)
