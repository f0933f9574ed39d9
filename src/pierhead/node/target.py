"""``Target``: what the probes and hooks of a container aim at, and the one HTTP request that both make. Texts are Go's."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from pierhead.api.views import HTTPGetAction
from pierhead.errors import PierheadError

_BODY = 10 * 1024
"""Bytes of an answer that are read, so that the application is not cut off in the middle of a short one."""
_IN_PATHS = "/%?=&;:@!$'()*+,~[]"
"""What stands in a path and query as it is; all else is escaped, so that it cannot end the request line."""


class Unreachable(PierheadError):
    """There was no answer, or nobody could be asked."""


class Target(msgspec.Struct, frozen=True):
    """A running container, as its node reaches it."""

    address: str
    ports: Mapping[str, int]
    """By name."""
    run: Callable[[Sequence[str], float | None], Awaitable[tuple[int, str]]]
    """Runs a command in the container, with a timeout in seconds: exit code and output. See `runtime.Running.run`."""

    def port(self, port: int | str) -> int:
        """Raises:
        Unreachable: the container has no such port.
        """
        if isinstance(port, str) and not port.isdigit():
            if port not in self.ports:
                raise Unreachable(f"couldn't find port: named port {port} not found")
            return self.ports[port]
        if not 0 < int(port) < 65536:
            raise Unreachable(f"invalid port number: {port}")
        return int(port)

    def url(self, action: HTTPGetAction) -> str:
        """Raises:
        Unreachable: the container has no such port.
        """
        return f"{action.scheme.lower()}://{self._authority(action)}{_path(action)}"

    async def get(self, action: HTTPGetAction, agent: str) -> int:
        """One request with ``Connection: close``; the status of its answer. Takes as long as the server does.

        Raises:
            Unreachable: no connection, no answer, or none that is HTTP.
        """
        url = self.url(action)
        try:
            return await self._status(action, self._request(action, agent))
        except (OSError, EOFError, UnicodeError) as error:
            raise Unreachable(
                f'Get "{url}": {reason(error, action.host or self.address, self.port(action.port))}'
            ) from error
        except ValueError as error:
            raise Unreachable(f'Get "{url}": malformed HTTP response') from error

    async def _status(self, action: HTTPGetAction, request: bytes) -> int:
        context = _unverified() if action.scheme == "HTTPS" else None
        host, port = action.host or self.address, self.port(action.port)
        reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_BODY)
        try:
            writer.write(request)
            version, _, rest = (await reader.readline()).partition(b" ")
            if not version:
                raise EOFError
            if not version.startswith(b"HTTP/"):
                raise ValueError(version)
            status = int(rest[:3])
            left = _BODY
            while left > 0 and (data := await reader.read(left)):
                left -= len(data)
            return status
        finally:
            writer.transport.abort()  # waiting for a TLS server's farewell could take longer than the timeout

    def _request(self, action: HTTPGetAction, agent: str) -> bytes:
        headers = {"Host": self._authority(action), "User-Agent": agent, "Accept": "*/*"}
        headers |= {header.name.title(): header.value for header in action.http_headers} | {"Connection": "close"}
        for name, value in headers.items():
            if any(mark in value for mark in "\r\n\0"):
                raise Unreachable(f'Get "{self.url(action)}": net/http: invalid header field value for "{name}"')
        lines = [f"GET {_path(action)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()

    def _authority(self, action: HTTPGetAction) -> str:
        return join(action.host or self.address, self.port(action.port))


def join(host: str, port: int) -> str:
    """``127.0.0.1:80`` or ``[::1]:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason(error: Exception, host: str, port: int) -> str:
    """Why a connection failed, as Go words it."""
    if isinstance(error, EOFError):
        return "EOF"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return f"dial tcp {join(host, port)}: connect: {os.strerror(error.errno).lower()}"
    return f"dial tcp {join(host, port)}: {error}"


def _path(action: HTTPGetAction) -> str:
    path = quote(action.path.partition("#")[0], safe=_IN_PATHS)
    return path if path.startswith("/") else f"/{path}"


def _unverified() -> ssl.SSLContext:
    """A probe asks whether somebody serves, not who: pods serve certificates of their own. None are loaded to compare with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
