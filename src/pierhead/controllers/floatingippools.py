"""FloatingIPPools: the one that every region starts with, and what each says of itself."""

from __future__ import annotations

import logging

from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, NODE
from pierhead.api.network import Network
from pierhead.api.views import FloatingIP, FloatingIPPool, Node
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting
from pierhead.controllers.ownership import Ownership
from pierhead.core import defaultpool
from pierhead.core.floating import DEFAULT_POOL, usage
from pierhead.errors import ApiError

log = logging.getLogger(__name__)

COUNT_SECONDS = 0.2
"""So long after a change its pool is counted: thousands of changes are one count."""


class FloatingIPPools(Loop):
    """Keys: names of pools."""

    name = "floatingippool-controller"
    workers = 1

    def __init__(
        self, client: Client, informers: Informers, network: Network, ownership: Ownership, recorder: Recorder
    ) -> None:
        super().__init__()
        self._client = client
        self._region = network.region
        self._ranges = tuple(map(str, network.floating_ranges))
        self._started = False
        self._ownership = ownership
        self._recorder = recorder
        self._pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
        self._nodes: Informer[Node] = informers.of(NODE)
        fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        self._pools.subscribe(lambda change: self.queue.add(change.latest.metadata.name))
        self._nodes.subscribe(self._node_changed)
        fips.subscribe(self._fip_changed)
        self.queue.add(DEFAULT_POOL)

    async def reconcile(self, key: str) -> None:
        if key == DEFAULT_POOL and not self._started:
            await self._start()
            self._started = True
        pool = self._pools.get(key)
        if pool is not None and not pool.metadata.deletion_timestamp:
            await self._count(pool)
            self._look_for_nodes(pool)

    async def _start(self) -> None:
        found = self._pools.get(DEFAULT_POOL)
        start = defaultpool.start(found, self._ranges, self._region)
        problem = start.problem
        try:
            if start.make is not None:
                await self._client.create(FLOATING_IP_POOL, start.make)
            if start.change is not None:
                await self._client.patch(FLOATING_IP_POOL, DEFAULT_POOL, start.change)
        except ApiError as error:
            if error.code != 422:
                raise
            causes = [cause["message"] for cause in (error.details or {}).get("causes") or []]
            problem = defaultpool.refused(self._ranges, causes)
        if problem:
            log.warning("%s", problem)
            if found is not None:
                self._recorder.note(FLOATING_IP_POOL, found, "RangesRefused", problem)

    async def _count(self, pool: FloatingIPPool) -> None:
        name = pool.metadata.name
        used, free = usage(pool, self._ownership.addresses(name))
        if (used, free) != (pool.status.used, pool.status.free):
            with accepting(404):
                stored = await self._client.patch(
                    FLOATING_IP_POOL, name, {"status": {"used": used, "free": free}}, subresource="status"
                )
                await self._pools.reached(stored["metadata"]["resourceVersion"])

    def _look_for_nodes(self, pool: FloatingIPPool) -> None:
        zones = pool.spec.zones
        if zones and pool.spec.region == self._region and not any(node.zone in zones for node in self._nodes.list()):
            text = f"no node is in {' or '.join(zones)}, where these addresses belong: start one there, or change spec.zones"
            self._recorder.note(FLOATING_IP_POOL, pool, "NoNodeInZones", text)

    # -- who has to look again ----------------------------------------------------------------------------------

    def _fip_changed(self, change: Change[FloatingIP]) -> None:
        before, after = (found.status.address if found else "" for found in change)
        if before != after:
            self.queue.add_after(change.latest.spec.pool, COUNT_SECONDS)

    def _node_changed(self, change: Change[Node]) -> None:
        if len({found.zone if found else None for found in change}) > 1:
            for pool in self._pools.list():
                if pool.spec.zones:
                    self.queue.add(pool.metadata.name)
