"""Services and their condition ``Programmed``: what the proxies report, set against what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import NODE, PROXY_STATUS, SERVICE
from pierhead.api.views import Condition, Node, ProxyStatus, Refusal, Service
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, split, timestamp
from pierhead.core.programmed import PROGRAMMED, Terms, behind, condition_of, is_news, is_tentative, judge, reached

PATIENCE = 2.0
"""Seconds before a Service is told that it is not programmed yet: mostly it is in a moment, and then one write says so."""
GATHER = 0.001
LONGEST_GATHER = 0.1
"""Seconds between two wishes, for each Service that waits and at most: what is written meanwhile is one wish, and one report."""


@dataclass(slots=True)
class _Barrier:
    """What has to be programmed of one Service."""

    terms: Terms
    revision: int
    since: float
    passed: bool = False
    """From then on nodes that come later need not be waited for."""


class Programmed(Loop):
    """Keys: Services, and the names of proxies (which have no slash) that somebody waits for.

    A Service costs one write for each of its generations, and one more whenever it is refused or no longer is.
    """

    name = "programmed-controller"
    workers = 1
    """A thousand Services that are created at once should not wait for a thousand conditions."""

    def __init__(self, client: Client, informers: Informers, store: str) -> None:
        """``store``: its uid. A report of revisions of another store says nothing."""
        super().__init__()
        self._client = client
        self._store = store
        self._services: Informer[Service] = informers.of(SERVICE)
        self._proxies: Informer[ProxyStatus] = informers.of(PROXY_STATUS)
        self._nodes: Informer[Node] = informers.of(NODE)
        self._barriers: dict[str, _Barrier] = {}
        self._open: set[str] = set()
        """Services that are not programmed, as far as we know."""
        self._wanted = 0
        """The newest revision that a Service waits for."""
        self._asked = -inf
        """When a proxy was asked last."""
        self._services.subscribe(self._service_changed)
        self._proxies.subscribe(self._proxy_changed)
        self._nodes.subscribe(self._node_changed)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split(key)
        if not namespace:
            await self._ask(name)
            return None
        service = self._services.get(name, namespace)
        if service is not None and not service.metadata.deletion_timestamp:
            if not service.proxied_elsewhere:
                return await self._evaluate(key, service)
            if condition_of(service):
                await self._patch(service, {"type": PROGRAMMED, "$patch": "delete"})
        self._barriers.pop(key, None)
        self._open.discard(key)
        return None

    async def _evaluate(self, key: str, service: Service) -> float | None:
        self._open.add(key)
        barrier, proxies = self._barrier(key, service), [found for found in self._proxies.list() if self._counts(found)]
        live = [found.metadata.name for found in self._nodes.list() if found.ready]
        waiting = frozenset() if barrier.passed else behind(barrier.revision, proxies, live)
        found = judge(service, waiting, proxies, live)
        if found is None:
            return None
        met = not barrier.passed and not waiting
        if waiting:
            self._want(barrier.revision)
        else:
            barrier.passed = True
        if is_tentative(found):
            left = barrier.since + PATIENCE - asyncio.get_running_loop().time()
            if left > 0:
                return left
        elif found.status == "True":
            self._open.discard(key)
        if is_news(condition_of(service), found, met=met):
            await self._write(service, found)
        return None

    def _barrier(self, key: str, service: Service) -> _Barrier:
        terms = Terms.of(service)
        known = self._barriers.get(key)
        if known is None or known.terms != terms:
            revision = int(service.metadata.resource_version)
            known = self._barriers[key] = _Barrier(terms, revision, asyncio.get_running_loop().time())
        return known

    async def _write(self, service: Service, found: Condition) -> None:
        old = condition_of(service)
        since = timestamp() if old is None or old.status != found.status else old.last_transition_time
        await self._patch(service, msgspec.to_builtins(found) | {"lastTransitionTime": since})

    async def _patch(self, service: Service, condition: Tree) -> None:
        """Only this condition, of this very Service: the others are others'."""
        meta = service.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
        with accepting(404):
            stored = await self._client.patch(
                SERVICE, meta.name, patch, meta.namespace, subresource="status", how="strategic"
            )
            await self._services.reached(stored["metadata"]["resourceVersion"])

    def _counts(self, proxy: ProxyStatus) -> bool:
        return proxy.status.store == self._store

    # -- what is asked of proxies -------------------------------------------------------------------------------

    def _want(self, revision: int) -> None:
        self._wanted = max(self._wanted, revision)
        due = self._asked + min(GATHER * len(self._open), LONGEST_GATHER)
        delay = max(0.0, due - asyncio.get_running_loop().time())
        for proxy in self._proxies.list():
            if not self._counts(proxy) or reached(proxy) < self._wanted:
                self.queue.add_after(proxy.metadata.name, delay)

    async def _ask(self, name: str) -> None:
        """Has the proxy report as soon as it is there."""
        proxy = self._proxies.get(name)
        if proxy is None or int(proxy.spec.want.services or 0) >= self._wanted:
            return
        if self._counts(proxy) and reached(proxy) >= self._wanted:
            return
        self._asked = asyncio.get_running_loop().time()
        want = {"spec": {"want": {"services": str(self._wanted)}}}
        with accepting(404):
            stored = await self._client.patch(PROXY_STATUS, name, want)
            await self._proxies.reached(stored["metadata"]["resourceVersion"])

    # -- who has to look again ----------------------------------------------------------------------------------

    def _service_changed(self, change: Change[Service]) -> None:
        self.queue.add(change.latest.key)

    def _proxy_changed(self, change: Change[ProxyStatus]) -> None:
        """A report that has got further, or that refuses other frontends; a new proxy has reported nothing yet."""
        old, new = change
        self._look_at(_refused(old) ^ _refused(new))
        if old is None or new is None or _spoken_for(old) != _spoken_for(new):
            self._look()
        elif reached(new) > reached(old):
            self._look_at_waiting(reached(new))

    def _node_changed(self, change: Change[Node]) -> None:
        """What is refused there counts for as long as it is ready."""
        old, new = (found is not None and found.ready for found in change)
        if old == new:
            return
        self._look()
        for proxy in self._proxies.list():
            if change.latest.metadata.name in proxy.status.nodes:
                self._look_at(proxy.status.refusals)

    def _look_at(self, refusals: Iterable[Refusal]) -> None:
        for found in refusals:
            self.queue.add(f"{found.namespace}/{found.name}")

    def _look(self) -> None:
        """At all that is not programmed."""
        for key in self._open:
            self.queue.add(key)

    def _look_at_waiting(self, revision: int) -> None:
        """At what waits for this revision at most. What waits no longer is refused, which ends with another report."""
        for key in self._open:
            barrier = self._barriers.get(key)
            if barrier is not None and not barrier.passed and barrier.revision <= revision:
                self.queue.add(key)


def _spoken_for(proxy: ProxyStatus) -> tuple[str, tuple[str, ...]]:
    return proxy.status.store, proxy.status.nodes


def _refused(proxy: ProxyStatus | None) -> set[Refusal]:
    return set(proxy.status.refusals) if proxy else set()
