"""``Reporter``: what a proxy has programmed, told to the API server as the status of its ProxyStatus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import PROXY_STATUS
from pierhead.api.views import ProxyStatus
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.client.troubles import Troubles
from pierhead.errors import ApiError
from pierhead.forwarding.table import Refusal

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""After a report that could not be written."""


class Report(msgspec.Struct, frozen=True):
    """The vector: for each kind the revision of the last event that the data plane holds, and what it refuses."""

    services: int
    slices: int
    refusals: tuple[Refusal, ...] = ()


class Reporter:
    """Writes at once while somebody waits (``spec.want`` is ahead of what was last written) or the refusals changed, else with the
    heartbeat. It makes the ProxyStatus where there is none."""

    def __init__(
        self,
        client: Client,
        statuses: Informer[ProxyStatus],
        name: str,
        *,
        store: str,
        nodes: Iterable[str],
        now: Callable[[], str] | None = None,
    ) -> None:
        self._client = client
        self._statuses = statuses
        self._name = name
        self._store = store
        self._nodes = sorted(nodes)
        self._now = now or _now
        self._current: Report | None = None
        self._written: Report | None = None
        self._news = asyncio.Event()
        self._troubles = Troubles()

    def publish(self, report: Report) -> None:
        """The data plane holds this now."""
        self._current = report
        self._news.set()

    async def run(self) -> None:
        """Reports until cancelled."""
        end = self._statuses.subscribe(lambda _: self._news.set())
        try:
            while True:
                await self._due()
                await self._write()
        finally:
            end()

    async def _due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self._current is None else HEARTBEAT_SECONDS):
                while not self._urgent():
                    self._news.clear()
                    await self._news.wait()

    def _urgent(self) -> bool:
        current, written = self._current, self._written
        if current is None or current == written:
            return False
        if written is None or current.refusals != written.refusals:
            return True
        status = self._statuses.get(self._name)
        want = status.spec.want if status else ProxyStatus().spec.want
        return _number(want.services) > written.services or _number(want.endpoint_slices) > written.slices

    async def _write(self) -> None:
        report = self._current
        if report is None:
            return
        try:
            await self._patch(self._status(report))
        except ApiError as error:
            if self._troubles.is_news(str(error)):
                log.warning("cannot report what is programmed: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._written = report
            self._troubles.over()

    async def _patch(self, status: Tree) -> None:
        try:
            await self._client.patch(PROXY_STATUS, self._name, {"status": status}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise
            kind = {"kind": PROXY_STATUS.name, "apiVersion": PROXY_STATUS.api_version}
            await self._client.create(PROXY_STATUS, kind | {"metadata": {"name": self._name}})
            await self._client.patch(PROXY_STATUS, self._name, {"status": status}, subresource="status")

    def _status(self, report: Report) -> Tree:
        return {
            "store": self._store,
            "nodes": self._nodes,
            "programmed": {"services": str(report.services), "endpointSlices": str(report.slices)},
            "refusals": [_tree(refusal) for refusal in report.refusals],
            "observedAt": self._now(),
        }


def _tree(refusal: Refusal) -> Tree:
    found = refusal._asdict()
    service = found.pop("service")
    return {"namespace": service.namespace, "name": service.name} | found


def _number(revision: str) -> int:
    """What is no revision is nothing to wait for."""
    return int(revision) if revision.isdecimal() else 0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
