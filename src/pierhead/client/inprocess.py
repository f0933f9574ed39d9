"""A transport that calls an ASGI application in this process: no socket, no TLS, the same requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import unquote

from pierhead.client.transport import Response, Stream, unavailable

log = logging.getLogger(__name__)

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Application: TypeAlias = Callable[[Any, Receive, Send], Awaitable[None]]

CHUNKS = 64
"""Chunks of a stream that may wait for their reader before the application has to."""


class InProcess:
    """Requests as the identity of ``token`` (empty: anonymous). Cancelling a request, or leaving a stream, hangs up."""

    def __init__(self, application: Application, token: str = "") -> None:
        self._application = application
        self._authorization = {"authorization": f"Bearer {token}"} if token else {}

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Raises: ApiError 503 when the application answered nothing."""
        answer = _Answer()
        await _served(self._application(self._scope(method, target, headers), _Request(body).receive, answer.send))
        if not answer.status:
            raise unavailable("the server hung up before its answer was whole")
        return Response(answer.status, answer.headers, b"".join(answer.body))

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Raises: ApiError 503 when the application answered nothing."""
        answer, request = _StreamedAnswer(), _Request(b"")
        failure: Exception | GeneratorExit | None = None
        async with asyncio.TaskGroup() as group:
            call = self._application(self._scope(method, target, headers), request.receive, answer.send)
            serving = group.create_task(_serve(call, answer))
            try:
                await answer.begun()
                yield Stream(answer.status, answer.headers, answer.chunks())
            except (Exception, GeneratorExit) as error:  # carried past the group, which would wrap what its body raises
                failure = error
            finally:
                serving.cancel()
        if failure is not None:
            raise failure

    async def close(self) -> None:
        """Nothing is held between requests."""

    def _scope(self, method: str, target: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
        path, _, query = target.partition("?")
        sent = self._authorization | dict(headers or {})
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": None,
            "server": None,
            "state": {},
        }


class _Request:
    """The body in one message; then nothing more, for the caller hangs up by cancelling."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def receive(self) -> Message:
        if self._body is None:
            await asyncio.get_running_loop().create_future()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """Collects a whole answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = _headers(message)
        elif body := message.get("body", b""):
            self.body.append(body)


class _StreamedAnswer:
    """Hands an answer over while it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._started = asyncio.Event()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = _headers(message)
            self._started.set()
        elif body := message.get("body", b""):
            await self._queue.put(body)

    async def begun(self) -> None:
        """Raises: ApiError 503 when it ended before it began."""
        await self._started.wait()
        if not self.status:
            raise unavailable("the server hung up before it answered")

    async def end(self) -> None:
        self._started.set()
        await self._queue.put(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk


async def _serve(call: Awaitable[None], answer: _StreamedAnswer) -> None:
    await _served(call)
    await answer.end()


async def _served(call: Awaitable[None]) -> None:
    """An application that fails has hung up, whatever went wrong in it."""
    try:
        await call
    except Exception:
        log.exception("the application failed")


def _headers(message: Message) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.get("headers", [])}
