"""How the API server's questions reach a node (`region.nodes`): the same requests, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from pierhead.api.logs import LogQuery
from pierhead.client.inprocess import InProcess
from pierhead.errors import ApiError, bad_request
from pierhead.node.server import NodeServer
from pierhead.region.nodes import Nodes


class Node:
    """Says one line, and goes on if it is followed."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        try:
            if query.container == "waiting":
                raise bad_request("it waits")
            yield b"one\n"
            if query.follow:
                await asyncio.get_running_loop().create_future()
        finally:
            self.ended.set()


def with_node(use: Callable[[Nodes, Node], Awaitable[None]], *, token: str = "secret") -> None:
    async def scenario() -> None:
        nodes, node = Nodes(), Node()
        nodes.add("n1", InProcess(NodeServer(node, "secret"), token))
        await asyncio.wait_for(use(nodes, node), 5)

    asyncio.run(scenario())


async def said(nodes: Nodes, container: str = "c", node: str = "n1") -> bytes:
    return b"".join([chunk async for chunk in nodes.logs(node, LogQuery("shop", "web", container))])


def test_a_log_comes_as_the_node_has_it() -> None:
    async def use(nodes: Nodes, node: Node) -> None:
        assert await said(nodes) == b"one\n"

    with_node(use)


def test_what_a_node_refuses_is_told_in_its_words() -> None:
    async def use(nodes: Nodes, node: Node) -> None:
        with pytest.raises(ApiError, match=r"^it waits$") as caught:
            await said(nodes, "waiting")
        assert (caught.value.code, caught.value.reason) == (400, "BadRequest")

    with_node(use)


def test_a_node_nobody_knows_is_not_found() -> None:
    async def use(nodes: Nodes, node: Node) -> None:
        with pytest.raises(ApiError, match='nodes "n2" not found'):
            await said(nodes, node="n2")

    with_node(use)


def test_a_stranger_is_told_nothing() -> None:
    async def use(nodes: Nodes, node: Node) -> None:
        with pytest.raises(ApiError, match="Unauthorized"):
            await said(nodes)

    with_node(use, token="wrong")


def test_who_has_read_enough_hangs_up() -> None:
    async def use(nodes: Nodes, node: Node) -> None:
        async with aclosing(nodes.logs("n1", LogQuery("shop", "web", "c", follow=True))) as chunks:
            assert await anext(chunks) == b"one\n"
        await node.ended.wait()

    with_node(use)
