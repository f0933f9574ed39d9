"""Serving the application: TLS, and one small subclass of uvicorn's httptools protocol for what ASGI has no words for.

What the subclass adds: a cap on connections, deadlines for headers and bodies, a bound on the size of headers, and in the scope
the connection's write half, so that the watch hub writes one frame to a thousand connections without a task for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

import msgspec
from httptools import HttpParserInvalidMethodError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pierhead.apiserver.router import not_allowed
from pierhead.apiserver.sink import EXTENSION
from pierhead.errors import ApiError, bad_request

log = logging.getLogger(__name__)

STOP_SECONDS = 0.8
"""How long open requests may take to end once the server stops."""
GOODBYE_SECONDS = 0.15
"""And then how long connections may take to say goodbye: a TLS peer that does not read never does."""
BACKLOG = 1024
KEEP_ALIVE_SECONDS = 120
"""Longer than Go's clients keep an idle connection (90 s), so that they end it, not we."""
_METHOD_BYTES = 64
"""Longer than any method."""
_is_request = re.compile(rb"[!#-'*+.0-9A-Z^-z|~-]+ /").match
"""Whether this begins with a method, be it one that nobody knows, and a path."""


class Limits(msgspec.Struct, frozen=True):
    """What one server grants its clients together and each of them."""

    connections: int = 4096
    header_seconds: float = 10.0
    """From the first byte of a request (or the connection) to the end of its headers; also for the TLS handshake."""
    body_seconds: float = 30.0
    unread_seconds: float = 900.0
    """How long a client may take nothing of what it was sent: as long as the kernel tries to reach one that has vanished, and
    long enough for who reads a log page by page. The kernel keeps this deadline, so that it holds for whatever is sent."""
    header_bytes: int = 64 * 1024


class Application(Protocol):
    """What is served: an ASGI application with work in the background and streams to end."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def run(self) -> None: ...

    def close(self) -> None:
        """Ends every stream."""
        ...


class Serving:
    """An application on a bound socket. ``async with`` starts and stops it.

    ``certificate``, ``key``: PEM files; None serves plain HTTP.
    """

    def __init__(
        self,
        app: Application,
        sock: socket.socket,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._app = app
        self._sock = sock
        self._tls = _tls(certificate, key) if certificate else None
        self._limits = limits or Limits()
        self._state = _State()
        self._config = Config(
            self._answer,
            interface="asgi3",
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Serving:
        self._config.load()
        # Connections inherit options from the socket they came in by. Without this one asyncio's own loop, which looks for the number
        # of the protocol in a socket, lets the kernel hold the second half of an answer back until the first is acknowledged: 40 ms.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._limits.unread_seconds * 1000))
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._config, self._state, self._limits),
            sock=self._sock,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self._limits.header_seconds if self._tls else None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._app.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_SECONDS)
        await self._hang_up()
        for task in list(self._state.tasks):
            task.cancel()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """An answer that is cancelled ends with the server, after its connection: that is no failure of the application."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    async def _hang_up(self) -> None:
        for connection in self._state.open():
            connection.transport.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._state.empty(), GOODBYE_SECONDS)
        for connection in self._state.open():
            connection.transport.abort()

    async def run(self) -> None:
        """Serves until cancelled."""
        async with self:
            await self._app.run()


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, config: Config, state: _State, limits: Limits) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.access_log = False  # whatever else in this process does to uvicorn's loggers
        self._state = state
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._in_headers = True
        self._newest = b""
        """How what came last begins."""
        self.pipe: _Pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.pipe = _Pipe(self.transport)
        if len(self.connections) > self._limits.connections:
            log.warning("refused a connection: %d are open", self._limits.connections)
            self._refuse(ApiError(503, "ServiceUnavailable", "too many connections", retry_after=1))
        else:
            self._arm(self._limits.header_seconds, self._no_headers)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        self._state.left.set()

    def data_received(self, data: bytes) -> None:
        self._newest = data[:_METHOD_BYTES]
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self._limits.header_bytes and not self.transport.is_closing():
            self._refuse(ApiError(431, "", "the headers of the request are too large"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"pipe": self.pipe}}
        self._in_headers = True
        self._arm(self._limits.header_seconds, self._no_headers)

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        if self.parser.get_http_version() != "1.1":
            self.scope["extensions"] = {}  # chunks are of HTTP/1.1
        self._arm(self._limits.body_seconds, self._no_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """No upgrade is served: who asks for one gets the answer of any other request, which says more than a log here."""

    def send_400_response(self, msg: str) -> None:
        """For what the parser cannot read. A method that it does not know is none of any resource's."""
        unknown = isinstance(sys.exc_info()[1], HttpParserInvalidMethodError) and _is_request(self._newest)
        self._refuse(not_allowed() if unknown else bad_request(msg))

    def _arm(self, seconds: float, late: Callable[[], None]) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _no_headers(self) -> None:
        """Nothing at all was said: nothing is answered."""
        if self._header_bytes:
            self._refuse(_late("headers"))
        else:
            self.transport.close()

    def _no_body(self) -> None:
        if self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse(_late("body"))

    def _refuse(self, error: ApiError) -> None:
        """Answers for the application, and hangs up."""
        self._disarm()
        body = msgspec.json.encode(error.status()) + b"\n"
        head = f"HTTP/1.1 {error.code} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class _Pipe:
    """The write half of a connection, as watchers use it (``stream.Pipe``)."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write = transport.write
        self.buffered = transport.get_write_buffer_size
        self.abort = transport.abort


class _State(ServerState):
    """What the connections of a server share: uvicorn's state, with a Date header that is right without a timer."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self.left = asyncio.Event()
        """Set whenever a connection has ended."""
        super().__init__()

    def open(self) -> list[Connection]:
        return [connection for connection in self.connections if isinstance(connection, Connection)]

    async def empty(self) -> None:
        """Returns when no connection is open."""
        while self.connections:
            self.left.clear()
            await self.left.wait()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        if self._second != (now := int(time.time())):
            self._second, self._headers = now, [(b"date", formatdate(now, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, value: Any) -> None:
        pass


def _late(what: str) -> ApiError:
    return ApiError(408, "Timeout", f"the {what} of the request did not come in time")


_NO_TLS = "Client sent an HTTP request to an HTTPS server.\n"


class _Handshake(ssl.SSLObject):
    """One that tells who speaks plain HTTP what is wrong. Nothing else can: there is no connection before the handshake."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason != "HTTP_REQUEST":
                raise
            head = f"HTTP/1.0 400 Bad Request\r\nconnection: close\r\ncontent-length: {len(_NO_TLS)}\r\n\r\n"
            self.outgoing.write((head + _NO_TLS).encode())
            # What waits to be written is written only before more is read; the client has what it needs to hang up.
            raise ssl.SSLWantReadError from error


class _Context(ssl.SSLContext):
    """One whose handshakes can answer."""

    sslobject_class = _Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        found = super().wrap_bio(incoming, outgoing, *args, **kwargs)
        assert isinstance(found, _Handshake)
        found.outgoing = outgoing
        return found


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
