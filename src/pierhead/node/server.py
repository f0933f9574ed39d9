"""What the API server asks of a node, as a small ASGI application: ``GET /containerLogs/NAMESPACE/POD/CONTAINER``.

Paths and query are the kubelet's; `target` writes what the application reads. Whoever asks shows the node's token: only the API
server knows it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from pierhead.api.logs import LogQuery
from pierhead.errors import ApiError, bad_request

Scope: TypeAlias = Mapping[str, Any]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]


class Node(Protocol):
    """What it answers from: a `NodeAgent`."""

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]: ...


class NodeServer:
    """The ASGI application of one node."""

    def __init__(self, node: Node, token: str) -> None:
        self._node = node
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            chunks = self._node.logs(self._query(scope))
        except ApiError as error:
            await _refuse(error, send)
        else:
            await _while_connected(receive, _answer(chunks, send))

    def _query(self, scope: Scope) -> LogQuery:
        """Raises: ApiError 401, 404, 405, or 400 for a query that makes no sense."""
        sent = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(sent, self._expected):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        parts = [unquote(part) for part in scope["raw_path"].decode("latin-1").split("/")]
        if len(parts) != 5 or parts[1] != "containerLogs":
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if scope["method"] != "GET":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return _log_query(parts[2:], dict(parse_qsl(scope["query_string"].decode("latin-1"))))


def target(query: LogQuery) -> str:
    """Path and query of the request for a log."""
    path = "/".join(quote(part, safe="") for part in (query.namespace, query.pod, query.container))
    given = {
        "follow": "true" if query.follow else "",
        "previous": "true" if query.previous else "",
        "timestamps": "true" if query.timestamps else "",
        "tailLines": query.tail_lines,
        "limitBytes": query.limit_bytes,
        "sinceSeconds": query.since_seconds,
        "sinceTime": query.since_time,
    }
    return (
        f"/containerLogs/{path}?{urlencode({name: value for name, value in given.items() if value not in ('', None)})}"
    )


def _log_query(place: list[str], query: Mapping[str, str]) -> LogQuery:
    namespace, pod, container = place
    return LogQuery(
        namespace,
        pod,
        container,
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        tail_lines=_number(query, "tailLines"),
        limit_bytes=_number(query, "limitBytes"),
        since_seconds=_number(query, "sinceSeconds"),
        since_time=query.get("sinceTime", ""),
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name) in ("true", "1")


def _number(query: Mapping[str, str], name: str) -> int | None:
    try:
        return int(query[name]) if name in query else None
    except ValueError as error:
        raise bad_request(f"{name}: {error}") from error


async def _answer(chunks: AsyncGenerator[bytes, None], send: Send) -> None:
    """The status goes out with the first chunk: an error found before it is still an error's answer."""
    async with aclosing(chunks):
        try:
            chunk = await anext(chunks, b"")
        except ApiError as error:
            await _refuse(error, send)
            return
        await _start(send, 200, b"text/plain")
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(chunks, b"")
    await send({"type": "http.response.body", "body": b""})


async def _while_connected(receive: Receive, answering: Coroutine[Any, Any, None]) -> None:
    """Ends the answer when the client hangs up: who follows a silent container would be waited for forever."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        answer.cancel()

    async with asyncio.TaskGroup() as group:
        answer = group.create_task(answering)
        listening = group.create_task(listen())
        answer.add_done_callback(lambda _: listening.cancel())


async def _refuse(error: ApiError, send: Send) -> None:
    await _start(send, error.code, b"application/json")
    await send({"type": "http.response.body", "body": msgspec.json.encode(error.status())})


async def _start(send: Send, status: int, content_type: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
