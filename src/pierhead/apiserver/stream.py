"""Serving one watch over ASGI: its options, its first events, its end.

Where the server offers ``pierhead.frames`` (an extension in the scope), frames go straight into the transport, already framed for
HTTP; anywhere else they are sent as ASGI messages from a bounded buffer.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pierhead.apiserver.answer import warning_headers
from pierhead.apiserver.options import ListOptions, list_options
from pierhead.apiserver.reads import parse_revision, selected, too_large
from pierhead.apiserver.request import STREAMED, Form, Request, negotiate
from pierhead.apiserver.router import Route
from pierhead.apiserver.selection import Selection
from pierhead.apiserver.watch import Frame, Hub, Sink, Watcher, error_line
from pierhead.errors import ApiError, Compacted, expired
from pierhead.store import Store

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]

EXTENSION = "pierhead.frames"
BUFFER_BYTES = 8 * 2**20
"""How far a watcher may be behind."""
LONGEST = 1800.0
"""Seconds; a watch without ``timeoutSeconds`` lasts this long at least and twice as long at most, as the real server has it."""
FUTURE_WAIT = 3.0
"""Seconds; how long a watch from a revision not yet reached waits for it."""


class Pipe(Protocol):
    """What the server offers for frames: the write half of a connection."""

    def write(self, data: bytes) -> None: ...

    def buffered(self) -> int:
        """Bytes written that the peer has not taken yet."""
        ...

    def abort(self) -> None:
        """Hangs up without a word."""
        ...


class DirectSink:
    """Frames straight into the connection. The first one may be as large as the state is."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._allowed = 0
        self._ended = asyncio.Event()

    def write(self, frame: Frame) -> bool:
        behind = self._pipe.buffered()
        if behind > max(self._allowed, BUFFER_BYTES):
            self._pipe.abort()
            return False
        # A large frame may take its time, but nothing may pile up behind it.
        self._allowed = max(len(frame.chunk), BUFFER_BYTES) if behind < BUFFER_BYTES else self._allowed
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
        self._allowed = 0
        self._ended = False
        self._wake = asyncio.Event()

    def write(self, frame: Frame) -> bool:
        if self._bytes > max(self._allowed, BUFFER_BYTES):
            return False
        self._allowed = max(len(frame.data), BUFFER_BYTES) if self._bytes < BUFFER_BYTES else self._allowed
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


class Streams:
    """Serves watches."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    async def serve(
        self, request: Request, route: Route, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """One watch, until it times out, the client hangs up, or it is dropped.

        Raises:
            ApiError: before anything was sent: 400, 406, 422, 429, 500 for a revision that is no number.
        """
        options = list_options(request, watch=True)
        watch = _Watch(route, selected(request, route), _form(request), _after(options), ended=bool(options.initial))
        client = f"{request.identity.user} at {request.client}" if request.client else ""
        self._hub.admit(client)
        headers = [(b"content-type", b"application/json"), *warning_headers(route.kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        pipe = scope.get("extensions", {}).get(EXTENSION)
        sink = DirectSink(pipe) if pipe is not None else BufferedSink(send)
        watcher = Watcher(sink, client, bookmarks=options.bookmarks)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(_close_on_disconnect(receive, sink))
            try:
                async with asyncio.timeout(options.timeout or LONGEST * (1 + random.random())):  # noqa: S311
                    await self._follow(watch, watcher, sink)
            except TimeoutError:
                pass
            finally:
                self._hub.close(watcher)
                listening.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, watch: _Watch, watcher: Watcher, sink: DirectSink | BufferedSink) -> None:
        after = watch.after
        if after is not None and after > self._store.revision:
            await asyncio.sleep(FUTURE_WAIT)
        try:
            if after is not None and after > self._store.revision:
                raise too_large(after, self._store.revision)
            self._hub.open(watch.route, watch.selection, watch.form, watcher, after=after, ended=watch.ended)
        except Compacted as error:
            too_old = expired(f"too old resource version: {error.asked} ({error.oldest})")
            sink.write(Frame(error_line(too_old)))
            sink.close()
        except ApiError as error:
            sink.write(Frame(error_line(error)))
            sink.close()
        await sink.run()


@dataclass(frozen=True, slots=True)
class _Watch:
    """What is watched, from where on."""

    route: Route
    selection: Selection
    form: Form
    after: int | None
    """None: the state comes first."""
    ended: bool
    """A bookmark ends the initial events."""


def _form(request: Request) -> Form:
    """A watch is a stream of JSON lines, in any of the views."""
    asked = negotiate(request, STREAMED)
    return Form(view=asked.view, version=asked.version, include=asked.include)


def _after(options: ListOptions) -> int | None:
    """The revision the client has seen. None: it wants the state first."""
    revision = parse_revision(options.revision)
    if options.initial:
        return None
    return revision or None


async def _close_on_disconnect(receive: Receive, sink: Sink) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    sink.close()
