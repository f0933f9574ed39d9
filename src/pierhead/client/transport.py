"""``Transport``: how a client's requests reach an API server: over HTTP, or straight into the application in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from pierhead.errors import ApiError


class Response(msgspec.Struct, frozen=True):
    """One answer, whole."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Stream(msgspec.Struct, frozen=True):
    """One answer whose body arrives bit by bit (a watch, a log)."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    """Ends when the server ends the answer; boundaries mean nothing."""


def unavailable(message: str) -> ApiError:
    """What every transport raises when there is no answer."""
    return ApiError(503, "ServiceUnavailable", message)


class Transport(Protocol):
    """Carries requests as one identity (its bearer token is the transport's own business).

    Raises:
        ApiError: 503 ServiceUnavailable when the server cannot be reached or hangs up before its answer is whole.
    """

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """``target``: path and query, already escaped. Any status is an answer, not an exception."""
        ...

    def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Opens a long answer; leaving the block hangs up."""
        ...

    async def close(self) -> None: ...
