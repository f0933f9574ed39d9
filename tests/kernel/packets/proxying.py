"""The proxy under test: the objects of a scenario in, Pierhead's rules in node-a's kernel out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from kernel.packets.objects import FAMILIES, Objects, Tree
from kernel.packets.topology import Topology
from pierhead.dataplane.nftables import Nftables
from pierhead.errors import ObjectMissing
from pierhead.forwarding.assembly import NOTHING, Assembly
from pierhead.forwarding.diff import Change, whole
from pierhead.forwarding.table import ServiceName
from pierhead.wire import conntrack
from pierhead.wire.nftables import Family, Table, delete


class Proxy:
    """Everything between the objects and the kernel but the watches and the wish to retry."""

    def __init__(self, network: Topology, objects: Objects) -> None:
        self._netlink = network.netlink
        self._objects = objects

    async def start(self) -> None:
        """A process that knows nothing of the one before it."""
        self._network = self._objects.network()
        grounds = [self._objects.ground(self._network, family) for family in FAMILIES]
        self._dataplane = Nftables(grounds, self._netlink)
        self._assembly, self._known = Assembly(), frozenset[ServiceName]()
        self._build()
        await self._dataplane.commit(whole(self._assembly.table()))

    async def change(self, apply: Iterable[Tree] = (), delete: Iterable[Tree] = ()) -> None:
        self._objects.change(apply, delete)
        await self._dataplane.commit(self._build())

    async def terminate(self, address: str) -> None:
        """An endpoint is told to stop."""
        self._objects.terminate(address)
        await self._dataplane.commit(self._build())

    def clear(self) -> None:
        """Nothing of it is left in the kernel, and no connection."""
        for family in (Family.ARP, *FAMILIES):
            with suppress(ObjectMissing):
                self._netlink.transact([delete(Table(family, "pierhead"))])
        for family in FAMILIES:
            flows = map(conntrack.read, self._netlink.request(conntrack.dump(family)))
            self._netlink.perform([conntrack.delete(family, flow) for flow in flows], forgiving=(ObjectMissing,))

    def _build(self) -> Sequence[Change]:
        parts = self._objects.parts(self._objects.place(self._network))
        gone = dict.fromkeys(self._known - parts.keys(), NOTHING)
        self._known = frozenset(parts)
        return self._assembly.update(parts | gone)
