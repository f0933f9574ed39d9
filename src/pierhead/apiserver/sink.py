"""Where the frames of a watch go, and how far a watcher may fall behind.

Where the server offers ``pierhead.frames`` (an extension in the scope), frames go straight into the transport, already framed for
HTTP; anywhere else they are sent as ASGI messages from a bounded buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeAlias

Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]

EXTENSION = "pierhead.frames"
BUFFER_BYTES = 8 * 2**20
"""How far a watcher may be behind."""


class Frame:
    """Bytes for many watchers, framed for HTTP's chunked encoding at most once."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def chunk(self) -> bytes:
        return b"%x\r\n%s\r\n" % (len(self.data), self.data)


class Sink(Protocol):
    """Where the frames of one watcher go."""

    def write(self, frame: Frame) -> bool:
        """Takes the frame, or answers False: this watcher is too slow."""
        ...

    def close(self) -> None:
        """The stream ends; whoever serves it wakes up."""
        ...


class Pipe(Protocol):
    """What the server offers for frames: the write half of a connection."""

    def write(self, data: bytes) -> None: ...

    def buffered(self) -> int:
        """Bytes written that the peer has not taken yet."""
        ...

    def abort(self) -> None:
        """Hangs up without a word."""
        ...


class _Allowance:
    """How far a watcher may be behind: the bound, besides one frame that may be larger (the state a watch begins with)."""

    def __init__(self) -> None:
        self._limit = BUFFER_BYTES

    def grants(self, behind: int, size: int) -> bool:
        """May a frame of that size follow, with so many bytes still on their way?"""
        if behind > self._limit:
            return False
        if behind <= BUFFER_BYTES:
            self._limit = BUFFER_BYTES + size
        return True


class DirectSink:
    """Frames straight into the connection."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._allowance = _Allowance()
        self._ended = asyncio.Event()

    def write(self, frame: Frame) -> bool:
        if not self._allowance.grants(self._pipe.buffered(), len(frame.chunk)):
            self._pipe.abort()
            return False
        self._pipe.write(frame.chunk)
        return True

    def close(self) -> None:
        self._ended.set()

    async def run(self) -> None:
        """Returns when the stream has ended."""
        await self._ended.wait()


class BufferedSink:
    """Frames through ASGI messages."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._allowance = _Allowance()
        self._ended = False
        self._wake = asyncio.Event()

    def write(self, frame: Frame) -> bool:
        if not self._allowance.grants(self._bytes, len(frame.data)):
            self._frames.clear()
            return False
        self._frames.append(frame.data)
        self._bytes += len(frame.data)
        self._wake.set()
        return True

    def close(self) -> None:
        self._ended = True
        self._wake.set()

    async def run(self) -> None:
        """Sends until the stream has ended."""
        while True:
            while self._frames:
                data = self._frames.popleft()
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
                self._bytes -= len(data)
            if self._ended:
                return
            await self._wake.wait()
            self._wake.clear()
