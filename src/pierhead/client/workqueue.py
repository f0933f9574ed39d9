"""``WorkQueue``: keys to look at again. Events only add keys; whoever works re-reads everything."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pierhead.client.troubles import Troubles
from pierhead.errors import ApiError

log = logging.getLogger(__name__)

FIRST_DELAY = 0.005
TRIES = 15
"""After so many failures in a row the delay grows no more (82 s), as long as it takes."""

Reconcile: TypeAlias = Callable[[str], Awaitable[float | None]]
"""Makes the world right for one key; may answer in how many seconds it wants to look again. It may raise: then it is tried again."""


class WorkQueue:
    """Keys, each at most once in the queue and with at most one worker at a time.

    A key added while it is worked on is worked on again afterwards. A failed key comes back after a delay of its own, which
    doubles from 5 ms and is forgotten with the first success.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._working: set[str] = set()
        self._failures: dict[str, int] = {}
        self._troubles = Troubles()
        self._timers: dict[str, tuple[float, asyncio.Handle]] = {}
        """When each is due; uvloop's handle does not say it where there is no delay."""
        self._wake = asyncio.Event()

    def add(self, key: str) -> None:
        if key in self._queued:
            return
        self._queued.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, delay: float) -> None:
        """Adds the key in ``delay`` seconds; of several such wishes for a key the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        if key in self._timers:
            earlier, pending = self._timers[key]
            if earlier <= due:
                return
            pending.cancel()
        self._timers[key] = due, loop.call_later(delay, self._due, key)

    async def run(self, reconcile: Reconcile, *, workers: int = 4) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(reconcile))
        finally:
            for _, timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key = self._ready.popleft()
            self._queued.discard(key)
            self._working.add(key)
            try:
                await self._once(reconcile, key)
            finally:
                self._working.discard(key)
                if key in self._queued:
                    self._ready.append(key)
                    self._wake.set()

    async def _once(self, reconcile: Reconcile, key: str) -> None:
        try:
            again = await reconcile(key)
        except Exception as error:  # one key's failure is nobody else's
            tries = self._failures[key] = self._failures.get(key, 0) + 1
            self._report(key, error, tries)
            self.add_after(key, FIRST_DELAY * 2 ** (min(tries, TRIES) - 1))
        else:
            self._failures.pop(key, None)
            self._troubles.over(key)
            if again is not None:
                self.add_after(key, again)

    def _report(self, key: str, error: Exception, tries: int) -> None:
        """Somebody else was faster: an object changed, or went, while it was worked on. That is nothing to report until it goes on."""
        if not isinstance(error, ApiError):
            log.error("%s: %s failed", self._name, key, exc_info=error)
        elif error.code in (404, 409) and tries < TRIES:
            log.debug("%s: %s: %s", self._name, key, error)
        elif self._troubles.is_news(str(error), key):
            log.warning("%s: %s: %s", self._name, key, error)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)
