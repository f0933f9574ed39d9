"""The watch hub: one subscription of the store, each event framed once for all watchers of one shape.

A *feed* is a shape: a collection, a selection and an output form. Its watchers share the framed bytes. Events of one turn of the
loop leave in one write. A watcher that does not keep up is dropped; it lists and watches again, as every client of the API can.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeAlias

import msgspec

from pierhead.api.codec import stamp
from pierhead.api.kind import Kind
from pierhead.apiserver import table
from pierhead.apiserver.answer import opening
from pierhead.apiserver.request import Form
from pierhead.apiserver.router import Route
from pierhead.apiserver.selection import Selection
from pierhead.apiserver.sink import Frame, Sink
from pierhead.errors import ApiError, Compacted, expired
from pierhead.store import Event, Store

log = logging.getLogger(__name__)

BOOKMARK_EVERY = 60.0
"""Seconds; the real server's interval."""
WATCHES_PER_CLIENT = 1000
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Shape: TypeAlias = tuple[str, str, Form]
"""Collection, selection and output form."""


@dataclass(eq=False, slots=True)
class Watcher:
    """One open watch."""

    sink: Sink
    client: str
    bookmarks: bool = False
    heading: bool = True
    """The next frame of a Table still has to show the columns."""
    feed: Feed | None = None


class _Change:
    """An event, with what several feeds need of it made once."""

    def __init__(self, event: Event) -> None:
        self.event = event

    @cached_property
    def gone(self) -> bytes:
        """The object as it last was, at the revision at which it left."""
        assert self.event.previous is not None
        return stamp(self.event.previous.value, self.event.revision)


@dataclass(eq=False)
class Feed:
    """All watchers of one shape."""

    kind: Kind
    prefix: str
    selection: Selection
    form: Form
    watchers: set[Watcher] = field(default_factory=set)

    @property
    def shape(self) -> Shape:
        return self.prefix, self.selection.text, self.form

    def lines(self, changes: Sequence[_Change], *, heading: bool) -> bytes:
        """The events that this shape shows, framed as lines of JSON."""
        found: list[bytes] = []
        for change in changes:
            if seen := self._seen(change):
                found.append(self.line(*seen, heading=heading and not found))
        return b"".join(found)

    def _seen(self, change: _Change) -> tuple[bytes, bytes] | None:
        """(type, object). Who enters a selection is ADDED, who leaves it DELETED, whatever happened in the store."""
        event = change.event
        if not event.key.startswith(self.prefix):
            return None
        before = event.previous is not None and self.selection.matches(event.previous.value)
        if event.value is not None and self.selection.matches(event.value):
            return (b"MODIFIED" if before else b"ADDED"), event.value
        return (b"DELETED", change.gone) if before else None

    def line(self, what: bytes, value: bytes, *, heading: bool = False) -> bytes:
        if self.form.view == "Table":
            metadata = {"resourceVersion": _revision_of(value)}
            value = table.render(self.kind, [value], metadata, self.form, heading=heading)
        elif self.form.view:
            value = table.partial(value, self.form.version)
        return b'{"type":"%s","object":%s}\n' % (what, value)

    def bookmark(self, revision: int, *, initial_end: bool = False, heading: bool = False) -> bytes:
        """``initial_end``: the one that ends the initial events."""
        metadata: dict[str, object] = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        empty = opening(self.kind) + b'"metadata":' + msgspec.json.encode(metadata) + b"}"
        return self.line(b"BOOKMARK", empty, heading=heading)


class Hub:
    """Every open watch of the server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, dict[Shape, Feed]] = {}
        self._clients: Counter[str] = Counter()
        self._pending: list[Event] = []
        self.dropped = 0
        """Watchers that were too slow, since the start."""
        self._unsubscribe = store.watch("", store.revision, self._deliver)

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return self._clients.total()

    @contextmanager
    def admitted(self, client: str) -> Iterator[None]:
        """Counts one more watch of this client while the block lasts. Empty: somebody in this process, who may have any number.

        Raises:
            ApiError: 429 when it has too many.
        """
        if client and self._clients[client] >= WATCHES_PER_CLIENT:
            text = f"this client has {WATCHES_PER_CLIENT} watches open already"
            raise ApiError(429, "TooManyRequests", text, details={"retryAfterSeconds": 1}, retry_after=1)
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def open(
        self, route: Route, selection: Selection, form: Form, watcher: Watcher, *, after: int | None, ended: bool
    ) -> None:
        """Starts a watch: first what it missed, from now on every event.

        ``after``: the revision it has seen; None: it gets the state first. ``ended``: and then a bookmark that says so.

        Raises:
            ApiError: 410 when ``after`` is older than the history; 400 for a view that cannot be.
        """
        self.flush()  # what was published until now belongs to the others, and to the past of this one
        feed = self._feed(route, selection, form)
        first = self._state(feed) if after is None else self._missed(feed, after)
        if ended and watcher.bookmarks:
            first += feed.bookmark(self._store.revision, initial_end=True, heading=not first)
        watcher.feed, watcher.heading = feed, not first
        self._feeds.setdefault(feed.kind.resource, {})[feed.shape] = feed
        feed.watchers.add(watcher)
        if first:
            watcher.sink.write(Frame(first))

    def close(self, watcher: Watcher) -> None:
        """Ends a watch; idempotent."""
        feed, watcher.feed = watcher.feed, None
        if feed is None:
            return
        feed.watchers.discard(watcher)
        if not feed.watchers:
            shapes = self._feeds[feed.kind.resource]
            shapes.pop(feed.shape, None)
        watcher.sink.close()

    def expire(self) -> None:
        """Tells every watcher that its place is forgotten, and ends its watch; those in this process go on. What was published
        since the last flush is part of what they miss."""
        error = expired(f"too old resource version: {self._store.revision} ({self._store.compacted})")
        for feed in self._all():
            for watcher in [found for found in feed.watchers if found.client]:
                watcher.sink.write(Frame(error_line(error)))
                self.close(watcher)

    def close_all(self) -> None:
        """Ends every watch and the subscription."""
        self._unsubscribe()
        for feed in self._all():
            self._end(feed)

    async def run(self) -> None:
        """Sends bookmarks until cancelled."""
        while True:
            await asyncio.sleep(BOOKMARK_EVERY)
            self.flush()
            for feed in self._all():
                wanted = [watcher for watcher in feed.watchers if watcher.bookmarks]
                self._show(feed, wanted, partial(feed.bookmark, self._store.revision))

    def flush(self) -> None:
        """Sends what has been published since the last time."""
        events, self._pending = self._pending, []
        changes: dict[str, list[_Change]] = {}
        for event in events:
            changes.setdefault(event.key.partition("/")[0], []).append(_Change(event))
        for resource, found in changes.items():
            for feed in list(self._feeds.get(resource, {}).values()):
                try:
                    self._show(feed, feed.watchers, partial(feed.lines, found))
                except Exception:
                    # What one shape cannot show must not keep events from the others; its watchers list again.
                    log.exception("events of %s could not be shown as %r", resource, feed.form)
                    self._end(feed)

    def _deliver(self, events: Sequence[Event]) -> None:
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.extend(events)

    def _show(self, feed: Feed, watchers: Collection[Watcher], lines: Callable[..., bytes]) -> None:
        """Sends the same lines to all of them, but ``heading`` ones to those who have not seen a Table's columns yet."""
        titled = feed.form.view == "Table"
        for heading in (False, True):  # who has just been shown the columns is not told twice
            mine = [watcher for watcher in watchers if (titled and watcher.heading) == heading]
            if mine and (found := lines(heading=heading)):
                self._send(mine, Frame(found))

    def _send(self, watchers: Sequence[Watcher], frame: Frame) -> None:
        for watcher in watchers:
            watcher.heading = False
            if not watcher.sink.write(frame):
                self.dropped += 1
                log.info("a watcher of %s fell behind and was dropped", watcher.client or "this process")
                self.close(watcher)

    def _feed(self, route: Route, selection: Selection, form: Form) -> Feed:
        """The one that is watched already, or a new one, not yet known to anybody."""
        feed = Feed(route.kind, route.prefix, selection, form)
        return self._feeds.get(route.kind.resource, {}).get(feed.shape, feed)

    def _state(self, feed: Feed) -> bytes:
        selected = (entry for entry in self._store.range(feed.prefix) if feed.selection.matches(entry.value))
        return b"".join(feed.line(b"ADDED", entry.value, heading=not n) for n, entry in enumerate(selected))

    def _missed(self, feed: Feed, after: int) -> bytes:
        events: list[Event] = []
        try:
            self._store.watch(feed.prefix, after, events.extend)()
        except Compacted as error:
            raise expired(f"too old resource version: {error.asked} ({error.oldest})") from error
        return feed.lines([_Change(event) for event in events], heading=True)

    def _end(self, feed: Feed) -> None:
        for watcher in list(feed.watchers):
            self.close(watcher)

    def _all(self) -> list[Feed]:
        return [feed for shapes in self._feeds.values() for feed in shapes.values()]


def error_line(error: ApiError) -> bytes:
    """The event with which a watch ends that cannot go on."""
    return b'{"type":"ERROR","object":%s}\n' % msgspec.json.encode(error.status())


class _Metadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815 the field's name


class _Head(msgspec.Struct):
    metadata: _Metadata


_decode_head = msgspec.json.Decoder(_Head).decode


def _revision_of(value: bytes) -> str:
    return _decode_head(value).metadata.resourceVersion
