"""A test's way into an ASGI application: no sockets, no server, one request at a time or a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Reply:
    """One answer, whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


@dataclass(frozen=True)
class Direct:
    """An application, seen by the holder of a token."""

    app: App
    token: str = "admin"
    host: str = ""
    """Where it asks from; empty: inside the process."""

    async def __call__(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """``body``: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent: list[Mapping[str, Any]] = []
        waiting = [raw]

        async def receive() -> Mapping[str, Any]:
            if not waiting:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        await self.app(self._scope(method, target, headers or {}), receive, send)
        answered = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return Reply(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))

    @asynccontextmanager
    async def stream(self, target: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[AsyncIterator[Any]]:
        """The lines of a watch, decoded. Leaving the block hangs up."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        gone = asyncio.Event()

        async def receive() -> Mapping[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            for line in message.get("body", b"").splitlines():
                lines.put_nowait(line)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                lines.put_nowait(None)

        async def events() -> AsyncIterator[Any]:
            while (line := await asyncio.wait_for(lines.get(), 5)) is not None:
                yield json.loads(line)

        async with asyncio.TaskGroup() as group:
            group.create_task(self.app(self._scope("GET", target, headers or {}), receive, send))
            try:
                yield events()
            finally:
                gone.set()

    def _scope(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        given = {"authorization": f"Bearer {self.token}"} if self.token else {}
        given |= {"user-agent": "test/1.0"} | {name.lower(): value for name, value in headers.items()}
        return {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": (self.host, 1) if self.host else None,
        }
