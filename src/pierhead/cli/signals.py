"""How a command is told to end: Ctrl-C, SIGTERM, and the terminal that closes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any


async def until_signalled(work: Coroutine[Any, Any, None], *, again: Callable[[], object]) -> bool:
    """Does ``work`` to its end, or cancels it with the first signal; True: that was so. Each further signal calls ``again``.

    A terminal that closes says so by SIGHUP, unless whoever started the command (nohup) had it ignored.
    """
    loop = asyncio.get_running_loop()
    working, told = asyncio.current_task(), False
    assert working is not None

    def on_signal() -> None:
        nonlocal told
        if told:
            again()
        told = True
        working.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        await work
    except asyncio.CancelledError:
        if not told:
            raise
    return told
