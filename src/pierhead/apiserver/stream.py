"""Serving one watch over ASGI: its options, its first events, its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from random import SystemRandom
from typing import Any, TypeAlias

import msgspec

from pierhead.apiserver import table
from pierhead.apiserver.answer import unexpected, warning_headers
from pierhead.apiserver.options import ListOptions, list_options
from pierhead.apiserver.reads import parse_revision, selected, too_large
from pierhead.apiserver.request import STREAMED, Form, Request, negotiate
from pierhead.apiserver.router import Route
from pierhead.apiserver.selection import Selection
from pierhead.apiserver.sink import EXTENSION, BufferedSink, DirectSink, Frame, Send
from pierhead.apiserver.watch import Hub, Watcher, error_line
from pierhead.errors import ApiError
from pierhead.store import Store

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 1800.0
"""Seconds; a watch without ``timeoutSeconds`` lasts this long at least and twice as long at most, as the real server has it."""
LONGEST = 86_400
"""Seconds; whatever ``timeoutSeconds`` says."""
FUTURE_WAIT = 3.0
"""Seconds; how long a watch from a revision not yet reached waits for it."""


class Streams:
    """Serves watches."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    async def serve(
        self, request: Request, route: Route, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """One watch, until it times out, the client hangs up, or it is dropped.

        Raises:
            ApiError: before anything was sent: 400, 406, 422, 429, 500 for a revision that is no number.
        """
        options = list_options(request, watch=True)
        watch = _Watch(
            route, selected(request, route), _form(request), *self._place(options), ended=bool(options.initial)
        )
        client = f"{request.identity.user} at {request.client}" if request.client else ""
        with self._hub.admitted(client):
            headers = [(b"content-type", b"application/json"), *warning_headers(route.kind)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            seam = scope.get("extensions", {}).get(EXTENSION)
            sink = DirectSink(seam["pipe"]) if seam else BufferedSink(send)
            watcher = Watcher(sink, client, bookmarks=options.bookmarks)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(_hung_up(receive, sink.close))
                try:
                    async with asyncio.timeout(_seconds(options)):
                        await self._follow(watch, watcher, sink)
                except TimeoutError:
                    pass
                finally:
                    self._hub.close(watcher)
                    listening.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _place(self, options: ListOptions) -> tuple[int, int | None]:
        """(the revision that must have been reached, the one the client has seen); None: it wants the state first."""
        revision = parse_revision(options.revision)
        if options.initial:
            return revision, None
        if options.initial is None:
            return revision, revision or None
        return revision, revision or self._store.revision

    async def _follow(self, watch: _Watch, watcher: Watcher, sink: DirectSink | BufferedSink) -> None:
        try:
            await self._reach(watch.reached)
            self._hub.open(watch.route, watch.selection, watch.form, watcher, after=watch.after, ended=watch.ended)
        except Exception as error:
            if not isinstance(error, ApiError):
                log.exception("a watch of %s failed", watch.route.resource)
            sink.write(Frame(error_line(error if isinstance(error, ApiError) else unexpected())))
            sink.close()
        await sink.run()

    async def _reach(self, revision: int) -> None:
        """Waits a little for a revision that this server has not seen yet.

        Raises:
            ApiError: 504 when it does not come.
        """
        reached = asyncio.Event()
        current = self._store.revision
        if revision <= current:
            return
        end = self._store.watch("", current, lambda events: reached.set() if events[-1].revision >= revision else None)
        try:
            async with asyncio.timeout(FUTURE_WAIT):
                await reached.wait()
        except TimeoutError:
            raise too_large(revision, self._store.revision) from None
        finally:
            end()


class _Watch(msgspec.Struct, frozen=True):
    """What is watched, from where on."""

    route: Route
    selection: Selection
    form: Form
    reached: int
    """The revision that the server must have seen."""
    after: int | None
    """None: the state comes first."""
    ended: bool
    """A bookmark ends the initial events."""


def _form(request: Request) -> Form:
    """A watch is a stream of JSON lines, in any of the views."""
    asked = negotiate(request, STREAMED)
    table.check_included(asked)
    return Form(view=asked.view, version=asked.version, include=asked.include)


def _seconds(options: ListOptions) -> float:
    """How long the watch lasts. Those that do not say are spread, so that they do not all come back at once."""
    if options.timeout is None or options.timeout == 0:
        return DEFAULT_TIMEOUT * (1 + SystemRandom().random())
    return max(0, min(options.timeout, LONGEST))


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Does the work, and gives it up when the client hangs up.

    Raises:
        Exception: whatever the work raises.
    """
    failure: Exception | None = None

    async def watched() -> None:
        nonlocal failure
        try:
            await work
        except Exception as error:  # carried past the group, which would wrap it
            failure = error

    async with asyncio.TaskGroup() as group:
        working = group.create_task(watched())
        listening = group.create_task(_hung_up(receive, working.cancel))
        working.add_done_callback(lambda _: listening.cancel())
    if failure is not None:
        raise failure


async def _hung_up(receive: Receive, then: Callable[[], object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()
