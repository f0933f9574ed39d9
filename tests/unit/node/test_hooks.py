"""Lifecycle hooks (`node.hooks`), with real servers and commands that are told what to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pierhead.api.views import LifecycleHandler
from pierhead.errors import PierheadError
from pierhead.node import hooks
from pierhead.node.hooks import HookFailed
from pierhead.node.target import Target, Unreachable


def run(hook: dict[str, Any], *, code: int = 0, port: int = 0) -> list[tuple[Sequence[str], float | None]]:
    """Does a hook; the commands that were run, each with its timeout."""
    commands: list[tuple[Sequence[str], float | None]] = []

    async def command(words: Sequence[str], timeout: float | None) -> tuple[int, str]:
        commands.append((words, timeout))
        return code, "oh no\n" if code else ""

    target = Target("127.0.0.1", {"http": port}, command)
    asyncio.run(hooks.run(msgspec.convert(hook, LifecycleHandler), target))
    return commands


def test_a_command_has_all_the_time_it_wants() -> None:
    assert run({"exec": {"command": ["sync", "now"]}}) == [(("sync", "now"), None)]


def test_a_command_that_fails_fails_the_hook() -> None:
    with pytest.raises(HookFailed, match="oh no"):
        run({"exec": {"command": ["x"]}}, code=3)


@pytest.mark.parametrize("status", [b"200 OK", b"500 Internal Server Error"])
def test_any_answer_will_do(status: bytes) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            target = Target("127.0.0.1", {"http": server.sockets[0].getsockname()[1]}, nothing)
            hook = msgspec.convert({"httpGet": {"port": "http", "path": "/bye"}}, LifecycleHandler)
            await hooks.run(hook, target)

    asyncio.run(scenario())
    assert seen[0].startswith(b"GET /bye HTTP/1.1\r\n")
    assert b"User-Agent: kube-lifecycle/1.36\r\n" in seen[0]


async def nothing(words: Sequence[str], timeout: float | None) -> tuple[int, str]:
    raise AssertionError(words)


@pytest.mark.parametrize(
    ("hook", "error", "text"),
    [
        ({"httpGet": {"port": "admin"}}, Unreachable, "couldn't find port: named port admin not found"),
        ({}, HookFailed, "hooks of this kind cannot be done: use exec, httpGet or sleep"),
    ],
)
def test_what_cannot_be_done_fails(hook: dict[str, Any], error: type[PierheadError], text: str) -> None:
    with pytest.raises(error) as caught:
        run(hook)
    assert str(caught.value) == text


def test_a_sleep_is_over_by_itself() -> None:
    assert run({"sleep": {"seconds": 0}}) == []
