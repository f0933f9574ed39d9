"""``Pace``: who comes again and again waits longer each time."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

QUIET: Final = 60.0
"""Seconds after which the next time is the first one again."""


class Pace:
    """How often something happened, each time before it was quiet for long."""

    def __init__(self) -> None:
        self._times, self._last = 0, -inf

    def again(self) -> int:
        """It happened: 1 for the first time."""
        now = asyncio.get_running_loop().time()
        self._times, self._last = (self._times + 1 if now - self._last < QUIET else 1), now
        return self._times


def delay(times: int, *, first: float, longest: float) -> float:
    """Seconds, twice as many each time."""
    return min(longest, first * (1 << min(times - 1, 10)))
