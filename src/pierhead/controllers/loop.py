"""``Loop``: the shape of every controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pierhead.client.workqueue import WorkQueue
from pierhead.errors import ApiError

OVERTAKEN = (404, 409)
"""What a write is answered whose object was deleted or changed meanwhile: the next look knows, and nobody else has to."""


class Loop:
    """A queue of keys, and what to do for one."""

    name = ""
    workers = 4
    """Keys that may be worked on at the same time."""

    def __init__(self) -> None:
        self.queue = WorkQueue(self.name)

    async def reconcile(self, key: str) -> float | None:
        """Makes the world right for one key; answers in how many seconds it must look again, if at all."""
        raise NotImplementedError

    async def run(self) -> None:
        """Works until cancelled."""
        await self.queue.run(self._attempt, workers=self.workers)

    async def _attempt(self, key: str) -> float | None:
        """What a namespace that is being deleted no longer takes is no failure: nothing has to be written there."""
        try:
            return await self.reconcile(key)
        except ApiError as error:
            if is_ending(error):
                return None
            raise


@contextmanager
def accepting(code: int) -> Iterator[None]:
    """An answer of this code is as good as success: 404 to who deletes, 409 to who creates."""
    try:
        yield
    except ApiError as error:
        if error.code != code:
            raise


def is_ending(error: ApiError) -> bool:
    """Its namespace is being deleted, and takes nothing new."""
    causes = (error.details or {}).get("causes") or []
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def timestamp() -> str:
    """Now, as the API writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def split(key: str) -> tuple[str, str]:
    """``NAMESPACE/NAME`` → both; a cluster-scoped name has an empty namespace."""
    namespace, _, name = key.rpartition("/")
    return namespace, name
