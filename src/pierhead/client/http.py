"""A transport over HTTP/1.1 and TLS, for a server in another process."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pierhead.client.transport import Response, Stream, unavailable

if TYPE_CHECKING:
    import httpx

SILENCE = 150.0
"""Seconds without a byte after which a stream counts as dead; a watch gets a bookmark every 60."""


class Http:
    """Requests as the identity of ``token`` to ``url`` (``https://HOST:PORT``), for whose certificate ``cafile`` vouches, or
    ``authority``, the same as PEM text; with neither, what this system trusts."""

    def __init__(self, url: str, token: str, cafile: str = "", *, authority: str = "") -> None:
        """Raises: OSError when there is no certificate to trust in either."""
        import httpx

        self._failed = httpx.TransportError
        self._stream_timeout = httpx.Timeout(10.0, read=SILENCE)
        self._client: httpx.AsyncClient = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=cafile or None, cadata=authority or None),
            timeout=httpx.Timeout(10.0, read=60.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            trust_env=False,
        )

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Raises: ApiError 503 when there is no whole answer."""
        try:
            found = await self._client.request(method, target, headers=headers, content=body)
        except self._failed as error:
            raise unavailable(f"{method} {target}: {str(error) or type(error).__name__}") from error
        return Response(found.status_code, dict(found.headers), found.content)

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Raises: ApiError 503 when the connection fails, then or while chunks are read."""
        try:
            async with self._client.stream(method, target, headers=headers, timeout=self._stream_timeout) as found:
                yield Stream(found.status_code, dict(found.headers), found.aiter_bytes())
        except self._failed as error:
            raise unavailable(f"{method} {target}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        await self._client.aclose()
