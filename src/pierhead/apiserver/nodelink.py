"""``NodeLink``: how the API server reaches a node. One of the five contracts.

Law: the API server asks a node only through this, never knows where the node runs, and is nobody's client: ``region`` supplies
the link (inside one process, or over the network).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What ``kubectl logs`` asks, already validated."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    """RFC 3339, or empty."""


class NodeLink(Protocol):
    """What the API server may ask of the node of that name."""

    def logs(self, node: str, query: LogQuery) -> AsyncIterator[bytes]:
        """The container's output in chunks; with ``follow`` until the container has ended and everything was sent.

        Raises:
            ApiError: 404 when the node does not run that pod or container, 400 when the container has not started, 502-like
                InternalError when the node cannot be reached. Raised at the first ``anext`` at the latest.
        """
        ...
