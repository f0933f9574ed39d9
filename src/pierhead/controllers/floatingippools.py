"""FloatingIPPools: the one that every region starts with, and what each says of itself."""

from __future__ import annotations

import asyncio

import msgspec

from pierhead.api import Tree
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
from pierhead.core.floating import DEFAULT_POOL, ranges_of, usage
from pierhead.errors import ApiError

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
        self._leads = bool(network.machine_address)
        """Whether the machine has routes to floating IPs."""
        self._warned: dict[str, tuple[str, ...]] = {}
        """Of each pool the public ranges that were said."""
        self._settled = False
        self._decided = asyncio.Event()
        self._standing = defaultpool.Standing()
        self._ownership = ownership
        self._recorder = recorder
        self._pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
        self._nodes: Informer[Node] = informers.of(NODE)
        fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        self._pools.subscribe(lambda change: self.queue.add(change.latest.metadata.name))
        self._nodes.subscribe(self._node_changed)
        fips.subscribe(self._fip_changed)
        self.queue.add(DEFAULT_POOL)

    async def standing(self) -> defaultpool.Standing:
        """What this start came to, as soon as that is decided."""
        await self._decided.wait()
        return self._standing

    async def reconcile(self, key: str) -> None:
        if key == DEFAULT_POOL and not self._settled:
            await self._start()
        pool = self._pools.get(key)
        if pool is not None and not pool.metadata.deletion_timestamp:
            await self._count(pool)
            self._look_for_nodes(pool)
            self._look_for_public_addresses(pool)
        else:
            self._warned.pop(key, None)

    async def _start(self) -> None:
        """A pool that is another region's, and in use, is asked for again with each address that is given back."""
        found = self._pools.get(DEFAULT_POOL)
        start = defaultpool.start(found, self._ranges, self._region)
        pool, problem = found, start.problem
        try:
            if start.make is not None:
                pool = _read(await self._client.create(FLOATING_IP_POOL, start.make))
            if start.change is not None:
                pool = _read(await self._client.patch(FLOATING_IP_POOL, DEFAULT_POOL, start.change))
        except ApiError as error:
            if error.code != 422:
                raise
            causes = [cause["message"] for cause in (error.details or {}).get("causes") or []]
            problem = defaultpool.refused(found, self._ranges, self._region, causes)
        here = pool is not None and pool.spec.region == self._region
        if found is not None and problem and problem != self._standing.problem:
            self._recorder.note(FLOATING_IP_POOL, found, "RangesRefused" if here else "RegionRefused", problem)
        self._settled = here or pool is None
        self._standing = defaultpool.Standing(pool.spec.ranges if pool and here else (), problem)
        self._decided.set()

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

    def _look_for_public_addresses(self, pool: FloatingIPPool) -> None:
        """They may be its user's, or those of a host that this machine needs."""
        ranges = pool.spec.ranges
        public = tuple(
            text
            for text, found in zip(ranges, ranges_of(ranges), strict=True)
            if any(end.is_global for end in found.ends)
        )
        if self._leads and public and public != self._warned.get(pool.metadata.name):
            text = f"this machine reaches the region at {', '.join(public)} now, and no longer whoever else has these public addresses"
            self._recorder.note(FLOATING_IP_POOL, pool, "PublicAddresses", text)
        self._warned[pool.metadata.name] = public

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


def _read(pool: Tree) -> FloatingIPPool:
    return msgspec.convert(pool, FloatingIPPool)
