"""What a node answers the API server (`node.server`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pierhead.api.logs import LogQuery
from pierhead.errors import bad_request
from pierhead.node.server import NodeServer


class Node:
    """Repeats the query, and refuses a container called ``waiting``."""

    def __init__(self) -> None:
        self.asked: list[LogQuery] = []

    async def logs(self, query: LogQuery) -> AsyncIterator[bytes]:
        self.asked.append(query)
        if query.container == "waiting":
            raise bad_request("it waits")
        if query.container != "silent":
            yield b"one\n"
            yield b"two\n"


def ask(target: str, *, method: str = "GET", token: str = "secret") -> tuple[int, bytes, list[LogQuery]]:
    node, sent = Node(), list[dict[str, Any]]()
    path, _, query = target.partition("?")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    asyncio.run(NodeServer(node, "secret")(scope, receive, send))
    assert not sent[-1].get("more_body")
    return sent[0]["status"], b"".join(part["body"] for part in sent[1:]), node.asked


def test_logs() -> None:
    status, body, (query,) = ask("/containerLogs/shop/web%2D1/c?follow=true&tailLines=5&sinceTime=2026-01-02T03:04:05Z")
    assert (status, body) == (200, b"one\ntwo\n")
    assert query == LogQuery("shop", "web-1", "c", follow=True, tail_lines=5, since_time="2026-01-02T03:04:05Z")


def test_nothing_said_yet_is_an_empty_answer() -> None:
    assert ask("/containerLogs/shop/web/silent")[:2] == (200, b"")


@pytest.mark.parametrize(
    ("target", "more", "status"),
    [
        ("/containerLogs/shop/web/waiting", {}, 400),
        ("/containerLogs/shop/web/c?tailLines=x", {}, 400),
        ("/containerLogs/shop/web/c", {"token": "wrong"}, 401),
        ("/exec/shop/web/c", {}, 404),
        ("/", {}, 404),
        ("/containerLogs/shop/web/c", {"method": "POST"}, 405),
    ],
)
def test_errors_are_statuses(target: str, more: dict[str, str], status: int) -> None:
    got, body, _ = ask(target, **more)
    assert got == status
    assert json.loads(body)["code"] == status
