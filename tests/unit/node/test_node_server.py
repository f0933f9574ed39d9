"""What a node answers the API server (`node.server`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.logs import LogQuery
from pierhead.errors import bad_request
from pierhead.node.server import NodeServer, target


class Node:
    """Repeats the query, and refuses a container called ``waiting``; one called ``quiet`` says nothing and goes on."""

    def __init__(self) -> None:
        self.asked: list[LogQuery] = []
        self.begun, self.closed = asyncio.Event(), asyncio.Event()

    async def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        self.asked.append(query)
        self.begun.set()
        try:
            if query.container == "waiting":
                raise bad_request("it waits")
            if query.container == "quiet":
                await asyncio.get_running_loop().create_future()
            if query.container != "silent":
                yield b"one\n"
                yield b"two\n"
        finally:
            self.closed.set()


def scope(path: str, *, method: str = "GET", token: str = "secret") -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }


def ask(path: str, **more: str) -> tuple[int, bytes, list[LogQuery]]:
    node, sent, requests = Node(), list[dict[str, Any]](), [{"type": "http.request", "body": b"", "more_body": False}]

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.get_running_loop().create_future()
        return requests.pop()

    asyncio.run(NodeServer(node, "secret")(scope(path, **more), receive, send))
    assert not sent[-1].get("more_body")
    return sent[0]["status"], b"".join(part["body"] for part in sent[1:]), node.asked


def test_logs() -> None:
    status, body, (query,) = ask("/containerLogs/shop/web%2D1/c?follow=true&tailLines=5&sinceTime=2026-01-02T03:04:05Z")
    assert (status, body) == (200, b"one\ntwo\n")
    assert query == LogQuery("shop", "web-1", "c", follow=True, tail_lines=5, since_time="2026-01-02T03:04:05Z")


@given(
    st.builds(
        LogQuery,
        *(st.text("a-/é%", min_size=1) for _ in range(3)),
        follow=st.booleans(),
        previous=st.booleans(),
        timestamps=st.booleans(),
        tail_lines=st.none() | st.integers(0),
        limit_bytes=st.none() | st.integers(1),
        since_seconds=st.none() | st.integers(1),
        since_time=st.sampled_from(["", "2026-01-02T03:04:05+01:00"]),
    )
)
def test_what_is_asked_is_what_is_understood(query: LogQuery) -> None:
    assert ask(target(query))[2] == [query]


def test_nothing_said_yet_is_an_empty_answer() -> None:
    assert ask("/containerLogs/shop/web/silent")[:2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/containerLogs/shop/web/waiting", {}, 400),
        ("/containerLogs/shop/web/c?tailLines=x", {}, 400),
        ("/containerLogs/shop/web/c", {"token": "wrong"}, 401),
        ("/exec/shop/web/c", {}, 404),
        ("/", {}, 404),
        ("/containerLogs/shop/web/c", {"method": "POST"}, 405),
    ],
)
def test_errors_are_statuses(path: str, more: dict[str, str], status: int) -> None:
    got, body, _ = ask(path, **more)
    assert got == status
    assert json.loads(body)["code"] == status


def test_a_client_that_hangs_up_is_not_waited_for() -> None:
    async def scenario() -> None:
        node = Node()

        async def receive() -> dict[str, Any]:
            await node.begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            raise AssertionError(message)

        server = NodeServer(node, "secret")
        await asyncio.wait_for(server(scope("/containerLogs/shop/web/quiet"), receive, send), 5)
        assert node.closed.is_set()

    asyncio.run(scenario())
