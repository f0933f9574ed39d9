"""``Nodes``: the ``NodeLink`` of a region. Every node is asked by the same requests, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from pierhead.api.logs import LogQuery
from pierhead.client.transport import Stream, Transport
from pierhead.errors import ApiError, not_found
from pierhead.node.server import target


class Nodes:
    """The ways to the nodes of a region. See `NodeLink`."""

    def __init__(self) -> None:
        self._ways: dict[str, Transport] = {}

    def add(self, name: str, way: Transport) -> None:
        """``way``: to the node's `NodeServer`, as somebody it answers."""
        self._ways[name] = way

    async def logs(self, node: str, query: LogQuery) -> AsyncGenerator[bytes, None]:
        if node not in self._ways:
            raise not_found(node, "nodes")
        async with self._ways[node].stream("GET", target(query)) as answer:
            if answer.status != 200:
                raise await _error(answer)
            async for chunk in answer.chunks:
                yield chunk


async def _error(answer: Stream) -> ApiError:
    """What a node refused, as it said it."""
    body = b"".join([chunk async for chunk in answer.chunks])
    try:
        told = msgspec.json.decode(body)
        return ApiError(answer.status, told.get("reason", ""), told["message"], details=told.get("details"))
    except (msgspec.DecodeError, KeyError, AttributeError):
        return ApiError(answer.status, "", f"the node answered {answer.status}")
