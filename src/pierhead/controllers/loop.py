"""``Loop``: the shape of every controller."""

from __future__ import annotations

from pierhead.client.workqueue import WorkQueue


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
        await self.queue.run(self.reconcile, workers=self.workers)


def split(key: str) -> tuple[str, str]:
    """``NAMESPACE/NAME`` → both; a cluster-scoped name has an empty namespace."""
    namespace, _, name = key.rpartition("/")
    return namespace, name
