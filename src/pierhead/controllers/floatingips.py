"""FloatingIPs: an address for each that waits for one, who uses it, and the end of those that were made for a Service."""

from __future__ import annotations

import secrets

from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import FloatingIP, FloatingIPPool, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, split
from pierhead.controllers.ownership import Ownership
from pierhead.core import loadbalancer
from pierhead.core.floating import next_free
from pierhead.errors import ApiError

AGAIN = 0.1
"""Seconds until another address is tried after the chosen one was somebody else's by then."""


class FloatingIPs(Loop):
    """Keys: names of FloatingIPs. One at a time, each sees which addresses those before it were given."""

    name = "floatingip-controller"
    workers = 1

    def __init__(
        self, client: Client, informers: Informers, network: Network, ownership: Ownership, recorder: Recorder
    ) -> None:
        super().__init__()
        self._client = client
        self._region = network.region
        self._ownership = ownership
        self._recorder = recorder
        self._fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        self._pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
        self._services: Informer[Service] = informers.of(SERVICE)
        self._fips.subscribe(self._fip_changed)
        self._pools.subscribe(self._pool_changed)
        self._services.subscribe(self._service_changed)

    async def reconcile(self, key: str) -> float | None:
        fip = self._ownership.named(key)
        if fip is None or fip.metadata.deletion_timestamp:
            return None
        namespace, name = split(fip.spec.service)
        if loadbalancer.is_left_over(fip, self._services.get(name, namespace)):
            await self._remove(fip)
        elif not fip.status.address:
            return await self._serve(fip)
        else:
            await self._report(fip)
        return None

    async def _remove(self, fip: FloatingIP) -> None:
        with accepting(404):
            await self._client.delete(FLOATING_IP, fip.metadata.name, uid=fip.metadata.uid)
        await self._seen(fip)

    async def _serve(self, fip: FloatingIP) -> float | None:
        """Waits, when none is free, until one is given back or the pool grows; or, of another region, becomes one of this."""
        pool = self._pools.get(fip.spec.pool)
        if pool is not None and pool.spec.region != self._region:
            pool = None
        ip = next_free(pool, self._ownership.addresses(), secrets.randbelow) if pool else None
        if ip is None:
            why = loadbalancer.no_address(fip, self._pools.list(), self._region)
            self._recorder.note(FLOATING_IP, fip, "NoFreeAddress", why)
            return None
        try:
            await self._write(fip, {"address": ip})
        except ApiError as error:
            if error.code != 422:
                raise
            return AGAIN
        return None

    async def _report(self, fip: FloatingIP) -> None:
        users = loadbalancer.users(fip, self._ownership.services(fip), self._ownership)
        if users != fip.status.services:
            await self._write(fip, {"services": list(users) or None})

    async def _write(self, fip: FloatingIP, status: Tree) -> None:
        meta = fip.metadata
        patch = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status}
        with accepting(404):
            await self._client.patch(FLOATING_IP, meta.name, patch, subresource="status")
        await self._seen(fip)

    async def _seen(self, fip: FloatingIP) -> None:
        await self._fips.until(lambda: self._ownership.named(fip.metadata.name) is not fip)

    # -- who has to look again ----------------------------------------------------------------------------------

    def _fip_changed(self, change: Change[FloatingIP]) -> None:
        """One that is gone, or waits no longer, lets the next one try; which, once served, lets the next one try."""
        self.queue.add(change.latest.metadata.name)
        if change.old is not None and (change.new is None or not change.old.status.address):
            for fip in self._ownership.pending(change.old.spec.pool)[:1]:
                self.queue.add(fip.metadata.name)

    def _pool_changed(self, change: Change[FloatingIPPool]) -> None:
        if change.old is None or change.new is None or change.old.spec != change.new.spec:
            for fip in self._ownership.pending(change.latest.metadata.name):
                self.queue.add(fip.metadata.name)

    def _service_changed(self, change: Change[Service]) -> None:
        for name in self._ownership.concerned(change):
            self.queue.add(name)
