"""``NodeLink``: how the API server reaches a node. One of the five contracts.

Law: the API server asks a node only through this, never knows where the node runs, and is nobody's client: ``region`` supplies
the link (inside one process, or over the network).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from pierhead.api.logs import LogQuery


class NodeLink(Protocol):
    """What the API server may ask of the node of that name."""

    def logs(self, node: str, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """The container's output in chunks; with ``follow`` until the container has ended and everything was sent. Whoever reads
        closes it when he has had enough.

        Raises:
            ApiError: 404 when the node does not run that pod or container, 400 when the container has not started, 503 when the
                node cannot be reached. Raised at the first ``anext`` at the latest.
        """
        ...
