"""``ApiServer``: the REST API as an ASGI application.

A request is authenticated, routed, authorized and answered; a failure on the way is a Status. Whatever outlives a request is in
the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias
from urllib.parse import unquote

from msgspec.structs import replace

from pierhead.api.kind import Kind
from pierhead.api.kinds import SERVED
from pierhead.api.network import Network
from pierhead.apiserver import answer, auth, health, history, pi
from pierhead.apiserver.answer import Answer, Chunks, warning_headers
from pierhead.apiserver.auth import Identity
from pierhead.apiserver.metrics import Metrics
from pierhead.apiserver.nodelink import NodeLink
from pierhead.apiserver.paths import Paths
from pierhead.apiserver.registry import Registry
from pierhead.apiserver.request import Request
from pierhead.apiserver.resources import Resources
from pierhead.apiserver.router import Route, Router
from pierhead.apiserver.sink import Send
from pierhead.apiserver.stream import Receive, Streams, while_connected
from pierhead.apiserver.watch import Hub
from pierhead.errors import ApiError
from pierhead.store import Store

log = logging.getLogger(__name__)

BODY_BYTES = 3 * 2**20
"""The largest body, the real server's limit."""

Scope: TypeAlias = Mapping[str, Any]
Gate: TypeAlias = Callable[[Request, Route], None]
"""Asked about every request for a resource that its identity may make; raises ApiError to refuse it."""


def open_gate(request: Request, route: Route) -> None:
    """Refuses nothing."""


class ApiServer:
    """The application.

    ``tokens``: bearer token → who that is. ``node_link``: the way to a pod's log. ``ready``: further checks of ``/readyz``.
    """

    def __init__(
        self,
        store: Store,
        network: Network,
        tokens: Mapping[str, Identity],
        node_link: NodeLink,
        *,
        kinds: Sequence[Kind] = SERVED,
        ready: health.Checks | None = None,
        gate: Gate = open_gate,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._gate = gate
        self._router = Router(kinds)
        self._hub = Hub(store)
        self._metrics = Metrics(store, self._hub)
        self._streams = Streams(store, self._hub)
        registry = Registry(store, network)
        self._resources = Resources(registry, node_link)
        self._pi = pi.Pi(registry)
        self._paths = Paths(kinds, self._metrics, {"ping": lambda: True, **(ready or {})}, network)

    async def run(self) -> None:
        """The background work of a server, until cancelled: bookmarks, and forgetting history."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hub.run())
            group.create_task(history.compact(self._store))

    def expire_watches(self) -> None:
        """Ends the watches of every client with 410, as when the server has forgotten where they are."""
        self._hub.expire()

    def close(self) -> None:
        """Ends every watch."""
        self._hub.close_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, parts, route = _request(scope), _parts(scope), None
        try:
            request = replace(request, identity=auth.authenticate(self._tokens, request.headers))
            route = self._route(request, parts)
            if route is not None and route.verb == "watch":
                await self._streams.serve(request, route, scope, receive, send)
                self._metrics.count("watch", route.resource, 200)
                return
            if request.method != "GET":
                request = replace(request, body=await _body(request, receive))
            found = await self._answer(request, parts, route)
        except ApiError as error:
            found = answer.of_error(error, request.fallback)
        except Exception:
            log.exception("%s %r failed", request.method, request.path)
            found = answer.of_error(answer.unexpected(), request.fallback)
        if isinstance(found, Chunks):
            await while_connected(receive, self._send_chunks(found, request, route, send))
        else:
            await self._send(found, request, route, send)

    async def _answer(self, request: Request, parts: Sequence[str], route: Route | None) -> Answer | Chunks:
        """Raises: ApiError."""
        if route is None:
            return self._paths.answer(request, parts)
        return await (self._pi if pi.owns(parts) else self._resources).answer(request, route)

    def _route(self, request: Request, parts: Sequence[str]) -> Route | None:
        """The resource that is asked for, once this identity may; None: another path.

        Raises:
            ApiError: 403, 404, 405; whatever the gate says.
        """
        if pi.owns(parts):
            route = pi.route(request.method, parts)
        elif self._is_resource(parts):
            route = self._router.route(request.method, parts)
            if route.verb == "list" and request.flag("watch"):
                route = replace(route, verb="watch")
        else:
            auth.authorize_path(request.identity, request.method, request.path)
            return None
        auth.authorize(request.identity, route)
        self._gate(request, route)
        return route

    def _is_resource(self, parts: Sequence[str]) -> bool:
        if not parts or parts[0] not in ("api", "apis"):
            return False
        return len(parts) > 2 if parts[0] == "api" else len(parts) > 3 and parts[1] in self._router.groups

    async def _send(self, found: Answer, request: Request, route: Route | None, send: Send) -> None:
        self._metrics.count(route.verb if route else request.method, route.resource if route else "", found.status)
        headers = warning_headers(route.kind if route else None, found.warnings)
        if found.content_type:
            headers.append((b"content-type", found.content_type))
        if found.retry_after:
            headers.append((b"retry-after", b"%d" % found.retry_after))
        headers.append((b"content-length", b"%d" % len(found.body)))
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    async def _send_chunks(self, found: Chunks, request: Request, route: Route | None, send: Send) -> None:
        """The status goes out with the first chunk: what fails before it is still an error's answer."""
        async with aclosing(found.chunks) as chunks:
            try:
                chunk = await anext(chunks, b"")
            except ApiError as error:
                await self._send(answer.of_error(error, request.fallback), request, route, send)
                return
            self._metrics.count(route.verb if route else request.method, route.resource if route else "", 200)
            headers = [(b"content-type", found.content_type)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await anext(chunks, b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _request(scope: Scope) -> Request:
    """What is known before the body has come."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined = name in headers and name in ("accept", "impersonate-group")
        headers[name] = f"{headers[name]},{value}" if joined else value
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"],
        headers=headers,
        query_string=scope.get("query_string", b"").decode("latin-1"),
        client=client[0] if client else "",
    )


def _parts(scope: Scope) -> list[str]:
    """The parts of the path, split before they are unescaped: an escaped slash is part of a name."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return [unquote(part) for part in raw.decode("latin-1").strip("/").split("/")] if raw.strip(b"/") else []


async def _body(request: Request, receive: Receive) -> bytes:
    """Raises: ApiError 413."""
    if request.headers.get("content-length", "").isdecimal() and int(request.headers["content-length"]) > BODY_BYTES:
        raise _body_too_large()
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ApiError(400, "BadRequest", "the client hung up before its request was whole")
        found += message.get("body", b"")
        if len(found) > BODY_BYTES:
            raise _body_too_large()
        if not message.get("more_body", False):
            return bytes(found)


def _body_too_large() -> ApiError:
    text = f"Request entity too large: limit is {BODY_BYTES}"
    return ApiError(413, "RequestEntityTooLarge", text, details={})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
