"""Forgetting: history is kept for those who resume a watch or follow a continue token, not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from pierhead.errors import StoreFailed
from pierhead.store import Store

log = logging.getLogger(__name__)

KEEP_SECONDS = 300.0
"""As long as the real server's etcd keeps it."""
KEEP_REVISIONS = 1_000
"""So many stay however old they are: who watches a kind that rarely changes, without bookmarks, resumes from an old one."""
MOST_REVISIONS = 100_000
"""And no more than this many stay however young they are: history lives in memory."""
LOOK_EVERY = 30.0


class Window:
    """The revisions of the last minutes: decides what may be forgotten. Pure; ``now`` counts seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def forgettable(self, now: float, revision: int) -> int:
        """The newest revision that is older than both bounds, or than the last one; 0: none.

        ``revision``: the last published one, now.
        """
        self._marks.append((now, revision))
        old = 0
        while self._marks and self._marks[0][0] <= now - KEEP_SECONDS:
            old = self._marks.popleft()[1]
        if old:
            self._marks.appendleft((now - KEEP_SECONDS, old))
        return max(0, min(old, revision - KEEP_REVISIONS), revision - MOST_REVISIONS)


async def compact(store: Store) -> None:
    """Compacts the history until cancelled."""
    window = Window()
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        revision = window.forgettable(loop.time(), store.revision)
        if revision > store.compacted:
            try:
                await store.compact(revision)
            except StoreFailed as failure:  # a full disk, perhaps: reads go on, and so do we
                log.warning("history was not compacted: %s", failure)
