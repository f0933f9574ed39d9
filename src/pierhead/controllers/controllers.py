"""``Controllers``: every loop of a region."""

from __future__ import annotations

import asyncio

from pierhead.api.network import Network
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.controllers.binding import Binding
from pierhead.controllers.endpoints import EndpointsObjects
from pierhead.controllers.endpointslices import EndpointSlices
from pierhead.controllers.floatingippools import FloatingIPPools
from pierhead.controllers.floatingips import FloatingIPs
from pierhead.controllers.gc import GarbageCollector
from pierhead.controllers.kubernetes_service import KubernetesService
from pierhead.controllers.loadbalancer import LoadBalancers
from pierhead.controllers.loop import Loop
from pierhead.controllers.mirroring import Mirroring
from pierhead.controllers.namespaces import Namespaces
from pierhead.controllers.nodes import Nodes
from pierhead.controllers.ownership import Ownership
from pierhead.controllers.programmed import Programmed
from pierhead.controllers.replicasets import ReplicaSets
from pierhead.controllers.selection import Selection
from pierhead.core.defaultpool import Standing


class Controllers:
    """The controllers of one region. ``address``: where the API server is found, (IP, port); ``store``: the uid of its store.

    In a region without a network of its own (mode ``none``) pods and nodes are whatever somebody writes: nobody binds pods, nobody
    minds a node's silence, and no Service is said to be programmed.
    """

    def __init__(
        self, client: Client, informers: Informers, network: Network, *, address: tuple[str, int], store: str
    ) -> None:
        self._informers = informers
        self._recorders: list[Recorder] = []
        selection, ownership = Selection(informers), Ownership(informers)

        def named(loop: type[Loop]) -> Client:
            return client.named(loop.name)

        def recorder(loop: type[Loop]) -> Recorder:
            self._recorders.append(Recorder(named(loop), loop.name))
            return self._recorders[-1]

        self._pools = FloatingIPPools(named(FloatingIPPools), informers, network, ownership, recorder(FloatingIPPools))
        self._loops: list[Loop] = [
            Namespaces(named(Namespaces), informers),
            KubernetesService(named(KubernetesService), informers, network, address),
            EndpointSlices(named(EndpointSlices), informers, selection, recorder(EndpointSlices)),
            EndpointsObjects(named(EndpointsObjects), informers, selection, recorder(EndpointsObjects)),
            Mirroring(named(Mirroring), informers, recorder(Mirroring)),
            ReplicaSets(named(ReplicaSets), informers, recorder(ReplicaSets)),
            GarbageCollector(named(GarbageCollector), informers),
            LoadBalancers(named(LoadBalancers), informers, network, ownership, recorder(LoadBalancers)),
            FloatingIPs(named(FloatingIPs), informers, network, ownership, recorder(FloatingIPs)),
            self._pools,
        ]
        if network.mode != "none":
            self._loops.append(Programmed(named(Programmed), informers, store))
            self._loops.append(Binding(named(Binding), informers, recorder(Binding)))
            self._loops.append(Nodes(named(Nodes), informers, recorder(Nodes)))

    async def floating(self) -> Standing:
        """What the region gives out as floating IPs, once that is decided."""
        return await self._pools.standing()

    async def run(self) -> None:
        """Works until cancelled, from when the informers (which somebody else runs) know the state."""
        await self._informers.synced()
        async with asyncio.TaskGroup() as group:
            for recorder in self._recorders:
                group.create_task(recorder.run())
            for loop in self._loops:
                group.create_task(loop.run())
