"""``Recorder``: Events, as ``kubectl describe`` shows them. Telling never blocks and never fails who tells."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.kinds import EVENT
from pierhead.api.views import Object
from pierhead.client.client import Client
from pierhead.errors import ApiError

log = logging.getLogger(__name__)

WAITING = 1000
"""Notes that may wait to be written; more are dropped."""
REMEMBERED = 4096
"""Events of which a repetition is counted instead of written anew."""


class Note(NamedTuple):
    """What makes two Events the same."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    type: str
    reason: str
    message: str
    field: str


@dataclass(slots=True)
class _Seen:
    """An Event that was written."""

    name: str
    count: int


class Recorder:
    """Writes core/v1 Events in the name of one component; ``host`` is the node it runs on, if any."""

    def __init__(self, client: Client, component: str, host: str = "", *, now: Callable[[], str] | None = None) -> None:
        self._client = client
        self._source = {"component": component} | ({"host": host} if host else {})
        self._now = now or _now
        self._waiting: OrderedDict[Note, int] = OrderedDict()
        self._seen: OrderedDict[Note, _Seen] = OrderedDict()
        self._wake = asyncio.Event()

    def note(
        self,
        kind: Kind,
        about: Object,
        reason: str,
        message: str,
        *,
        type: Literal["Normal", "Warning"] = "Warning",
        field: str = "",
    ) -> None:
        """Something happened to ``about``. ``field``: the part that is meant, e.g. ``spec.containers{web}``."""
        found = about.metadata
        note = Note(kind, found.namespace, found.name, found.uid, type, reason, message, field)
        if note in self._waiting or len(self._waiting) < WAITING:
            self._waiting[note] = self._waiting.get(note, 0) + 1
            self._wake.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            note, times = self._waiting.popitem(last=False)
            try:
                await self._write(note, times)
            except ApiError as error:  # its namespace may be gone; an Event is not worth a second attempt
                log.debug("event %s of %s/%s: %s", note.reason, note.namespace, note.name, error)

    async def _write(self, note: Note, times: int) -> None:
        seen = self._seen.get(note)
        if seen is None or not await self._count(note, seen, times):
            seen = await self._create(note, times)
        self._seen[note] = seen
        self._seen.move_to_end(note)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def _count(self, note: Note, seen: _Seen, times: int) -> bool:
        """False: that Event is gone by now."""
        patch = {"count": seen.count + times, "lastTimestamp": self._now()}
        try:
            await self._client.patch(EVENT, seen.name, patch, note.namespace or "default")
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        seen.count += times
        return True

    async def _create(self, note: Note, times: int) -> _Seen:
        name = f"{note.name}.{time.time_ns():x}"  # the time, so that Events of one second stay in order
        await self._client.create(EVENT, self._event(note, name, times))
        return _Seen(name, times)

    def _event(self, note: Note, name: str, times: int) -> Tree:
        now = self._now()
        about = {
            "kind": note.kind.name,
            "namespace": note.namespace,
            "name": note.name,
            "uid": note.uid,
            "apiVersion": note.kind.api_version,
            "fieldPath": note.field,
        }
        return {
            "kind": EVENT.name,
            "apiVersion": EVENT.api_version,
            "metadata": {"name": name, "namespace": note.namespace or "default"},
            "involvedObject": {key: value for key, value in about.items() if value},
            "reason": note.reason,
            "message": note.message,
            "source": self._source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": times,
            "type": note.type,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
