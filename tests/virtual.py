"""Clocks that do not keep the world's time: minutes of a region's life in a moment of a test."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Instead of waiting it moves the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when nobody has anything to do. For code that does no I/O and starts no thread."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


HASTE = 10.0


class _Hasty(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout / HASTE if timeout else timeout)


class HastyLoop(asyncio.SelectorEventLoop):
    """A second takes a tenth of one. For what the API counts in whole seconds and real processes and sockets do, which stay as
    quick as they are: who guards against a busy machine has to give ten times as many."""

    def __init__(self) -> None:
        super().__init__(_Hasty())

    def time(self) -> float:
        return super().time() * HASTE


def run(scenario: Coroutine[Any, Any, T], loop: type[asyncio.AbstractEventLoop] = VirtualLoop) -> T:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(scenario)
