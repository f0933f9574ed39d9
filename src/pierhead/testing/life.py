"""``Life``: the thread of a region, with an event loop in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

from pierhead.testing.stage import Stage, run

P = ParamSpec("P")
T = TypeVar("T")
Begun: TypeAlias = Future[tuple[Stage, Callable[[], object]]]
"""The stage once it serves, and what ends it (to be called in its loop)."""

END_SECONDS = 15.0
"""How long a region may take to end: processes of its pods may have to be killed. Then its thread is left behind; it dies with the
process."""


class Life:
    """A region that lives from here to ``end``. It knows nothing of who uses it, so that a forgotten one can be found."""

    def __init__(self, network: Literal["none", "loopback"]) -> None:
        """Raises: UsageError when it cannot start."""
        self._failure: BaseException | None = None
        self._ended: Future[Any] = Future()
        """Cancelled when nothing works in the thread any more."""
        begun: Begun = Future()
        self._thread = threading.Thread(target=self._run, args=(network, begun), name="pierhead", daemon=True)
        try:
            self._thread.start()
            self.stage, self._stop = begun.result()
        except BaseException:
            begun.add_done_callback(_abandoned)
            raise
        self._loop = self.stage.loop

    def call(self, what: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function of the stage in its thread and answers its result.

        Raises:
            RuntimeError: the region has ended; what ended it, if it was not ``end``, is the cause.
        """

        async def there() -> T:
            return await what(*args, **kwargs)

        asked = there()
        try:
            done = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError:  # the loop is closed
            done = self._ended
        with contextlib.suppress(CancelledError):
            if done in wait((done, self._ended), return_when=FIRST_COMPLETED).done:
                return done.result()
        asked.close()
        raise RuntimeError("this region has ended") from self._failure

    def end(self) -> None:
        """Ends what works in the thread, and the thread.

        Raises:
            RuntimeError: the region had failed before.
        """
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stop)
        if threading.current_thread() is not self._thread:  # where the garbage collector may have come by
            self._thread.join(END_SECONDS)
        if self._failure is not None:
            raise RuntimeError("this region had failed") from self._failure

    def _run(self, network: Literal["none", "loopback"], begun: Begun) -> None:
        try:
            asyncio.run(_live(network, begun))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            if begun.done():
                self._failure = error
            else:
                begun.set_exception(error)
        finally:
            self._ended.cancel()
            self._ended.set_running_or_notify_cancel()


def _abandoned(begun: Begun) -> None:
    """Who was interrupted while it began is not there to end it."""
    if begun.exception() is None:
        stage, stop = begun.result()
        stage.loop.call_soon_threadsafe(stop)


async def _live(network: Literal["none", "loopback"], begun: Begun) -> None:
    task = asyncio.current_task()
    assert task is not None
    await run(network, lambda stage: begun.set_result((stage, task.cancel)))
