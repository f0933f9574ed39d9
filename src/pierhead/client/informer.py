"""``Informer``: a shared, read-only copy of a collection that follows the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from random import SystemRandom
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from pierhead.api.kind import Kind
from pierhead.api.views import Object
from pierhead.client.client import Client, WatchEvent, read
from pierhead.errors import ApiError

log = logging.getLogger(__name__)

V = TypeVar("V", bound=Object)

FIRST_DELAY = 0.05
LONGEST_DELAY = 5.0
"""Seconds between attempts to reach the server."""
_UNKNOWN_PLACE = (410, 504)
"""What a watch gets from a server that has forgotten a revision, or has not reached it: its store may be another by now."""
WATCH_SECONDS = 300
"""A watch asks to be ended after one to two times this, so that connections spread over servers again."""


class Change(NamedTuple, Generic[V]):
    """What happened to one object: ``old`` is None when it is new, ``new`` when it is gone."""

    old: V | None
    new: V | None

    @property
    def latest(self) -> V:
        """The object as it is, or last was."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


Handler: TypeAlias = Callable[[Change[V]], None]


class Index(Generic[V]):
    """Objects by whatever a function says of them: by service, by node, by owner."""

    def __init__(self, values: Callable[[V], Iterable[str]]) -> None:
        self._values = values
        self._found: dict[str, dict[str, V]] = {}

    def __getitem__(self, value: str) -> Sequence[V]:
        """The objects of which the function says ``value``; none is no error."""
        return list(self._found.get(value, {}).values())

    def apply(self, change: Change[V]) -> None:
        """Follows one change."""
        if change.old is not None:
            for value in self._values(change.old):
                bucket = self._found.get(value, {})
                bucket.pop(change.old.key, None)
                if not bucket:
                    self._found.pop(value, None)
        if change.new is not None:
            for value in self._values(change.new):
                self._found.setdefault(value, {})[change.new.key] = change.new


class Informer(Generic[V]):
    """All objects of a kind, as of ``revision``.

    It lists, then watches; it resumes a broken watch where it was, and lists again when the server does not know that place,
    telling handlers exactly what differs. Each event is decoded once; what handlers and readers get is shared and never changes.
    Handlers run on the loop, must be quick, and must not raise.
    """

    def __init__(self, client: Client, kind: Kind, view: type[V], *, chance: Callable[[], float] | None = None) -> None:
        self.kind = kind
        self.synced = asyncio.Event()
        """Set after the first list: from then on what is missing here was missing there."""
        self.revision = 0
        """Of the last event handled, bookmarks and lists included."""
        self._client = client
        self._chance = chance or SystemRandom().random
        self._decode = msgspec.json.Decoder(view).decode
        self._objects: dict[str, V] = {}
        self._indexes: list[Index[V]] = []
        self._handlers: list[Handler[V]] = []
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._namespaces = self.index(lambda found: [found.metadata.namespace])

    def get(self, name: str, namespace: str = "") -> V | None:
        return self._objects.get(f"{namespace}/{name}" if namespace else name)

    def list(self, namespace: str = "") -> Sequence[V]:
        """Those of one namespace, or all."""
        return self._namespaces[namespace] if namespace else list(self._objects.values())

    def index(self, values: Callable[[V], Iterable[str]]) -> Index[V]:
        """Keeps the objects in another order as well; ``values`` gives the values under which one is found."""
        found = Index(values)
        for value in self._objects.values():
            found.apply(Change(None, value))
        self._indexes.append(found)
        return found

    def subscribe(self, handler: Handler[V]) -> Callable[[], None]:
        """Calls ``handler`` with every object there is, then with every change, after the indexes have followed it.
        Returns what ends the subscription."""
        self._handlers.append(handler)
        for value in list(self._objects.values()):
            handler(Change(None, value))
        return lambda: self._handlers.remove(handler)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds of what is known here; asked again after each event. A loop that has written waits for its
        own write with it, so that it never decides twice on the same old state."""
        if not holds():
            waiting = asyncio.get_running_loop().create_future()
            self._waiters[waiting] = holds
            try:
                await waiting
            finally:
                del self._waiters[waiting]

    async def reached(self, revision: str) -> None:
        """Waits until the write that was answered with this resourceVersion is seen here."""
        await self.until(lambda: self.revision >= int(revision or 0))

    async def run(self) -> None:
        """Follows the server until cancelled."""
        failures = 0
        while True:
            before = self.revision
            try:
                if not self.synced.is_set():
                    await self._list()
                await self._watch()
            except ApiError as error:
                if error.code in _UNKNOWN_PLACE:
                    log.info("%s: the server does not know revision %d, listing again", self.kind.plural, self.revision)
                    self.synced.clear()
                else:
                    log.warning("%s: %s", self.kind.plural, error)
            failures = 0 if self.revision > before else failures + 1
            if failures:
                longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10))
                await asyncio.sleep(longest * (0.5 + self._chance() / 2))

    async def _list(self) -> None:
        found = read(_decode_list, await self._client.collection(self.kind))
        listed = {value.key: value for value in map(self._shown, found.items) if value is not None}
        for key in [key for key in self._objects if key not in listed]:
            self._replace(key, None)
        for key, value in listed.items():
            self._replace(key, value)
        self.revision = int(found.metadata.resource_version)
        self.synced.set()
        self._wake()

    async def _watch(self) -> None:
        timeout = int(WATCH_SECONDS * (1 + self._chance()))
        async with self._client.watch(self.kind, revision=str(self.revision), timeout=timeout) as events:
            async for event in events:
                self._follow(event)

    def _follow(self, event: WatchEvent) -> None:
        value = self._shown(event.object)
        if value is None:
            return
        if event.type != "BOOKMARK":
            self._replace(value.key, None if event.type == "DELETED" else value)
        self.revision = int(value.metadata.resource_version)
        self._wake()

    def _shown(self, raw: msgspec.Raw) -> V | None:
        """None: an object that no view of its kind can show; the others must not suffer from it."""
        try:
            return self._decode(raw)
        except msgspec.MsgspecError as error:
            log.warning("%s: an object cannot be read: %s", self.kind.plural, error)  # nor shown: it may hold secrets
            return None

    def _wake(self) -> None:
        for waiting, holds in self._waiters.items():
            if not waiting.done() and holds():
                waiting.set_result(None)

    def _replace(self, key: str, new: V | None) -> None:
        """One name may stand for another object by now: then the old one went and the new one came."""
        old = self._objects.get(key)
        if old is not None and new is not None:
            if old.metadata.uid != new.metadata.uid:
                self._tell(key, Change(old, None))
                old = None
            elif old.metadata.resource_version == new.metadata.resource_version:
                return
        if old is not None or new is not None:
            self._tell(key, Change(old, new))

    def _tell(self, key: str, change: Change[V]) -> None:
        if change.new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = change.new
        for index in self._indexes:
            index.apply(change)
        for handler in list(self._handlers):
            handler(change)


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str


class _Listing(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]


_decode_list = msgspec.json.Decoder(_Listing).decode
