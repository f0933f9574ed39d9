"""The proxy under test: objects as an API server hands them over, in; Pierhead's rules in node-a's kernel, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

import msgspec

from kernel.packets.topology import ADDRESSES, Topology
from pierhead.api import views
from pierhead.api.network import Network, Range
from pierhead.dataplane.nftables import Nftables
from pierhead.errors import ObjectMissing
from pierhead.forwarding.assembly import NOTHING, Assembly
from pierhead.forwarding.build import Part, build
from pierhead.forwarding.diff import Change, whole
from pierhead.forwarding.nftlayout import Ground, Layout
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ServiceName
from pierhead.wire import conntrack
from pierhead.wire.nftables import Family, delete

Tree: TypeAlias = dict[str, Any]
Name: TypeAlias = tuple[str, str | None, str]

PODS: Final = tuple(map(ip_network, ("10.244.0.0/16", "fd00:10:244::/48")))
RANGES: Final = ("10.96.0.0/16", "fd00:10:96::/112")
HOSTS: Final = tuple(map(ip_network, ("192.168.100.0/24", "fd00:100::/64")))
"""Where endpoints may lie that are no pods: the nodes."""


def name_of(tree: Tree) -> Name:
    """``tree``: an object, or what names one."""
    named = tree.get("metadata", tree)
    return tree["kind"], named.get("namespace"), named["name"]


class Proxy:
    """Everything between the objects and the kernel but the watches and the wish to retry."""

    def __init__(self, network: Topology, config: Tree, objects: Iterable[Tree]) -> None:
        self._netlink = network.netlink
        self._config = config
        self._objects: dict[Name, Tree] = {name_of(tree): tree for tree in objects}

    async def start(self) -> None:
        """A process that knows nothing of the one before it."""
        ranges = tuple(self._ranges())
        self._network = Network("namespace", ranges, PODS, endpoint_ranges=HOSTS, node_address=ADDRESSES["node-a"][0])
        self._dataplane = Nftables([self._ground(family) for family in (Family.IP, Family.IP6)], self._netlink)
        self._assembly, self._known = Assembly(), frozenset[ServiceName]()
        self._build()
        await self._dataplane.commit(whole(self._assembly.table()))

    async def change(self, apply: Iterable[Tree] = (), delete: Iterable[Tree] = ()) -> None:
        self._objects |= {name_of(tree): tree for tree in apply}
        for tree in delete:
            del self._objects[name_of(tree)]
        await self._dataplane.commit(self._build())

    async def terminate(self, address: str) -> None:
        """An endpoint is told to stop, in all slices."""
        await self.change([_terminating(tree, address) for tree in self._all("EndpointSlice")])

    def clear(self) -> None:
        """Nothing of it is left in the kernel, and no connection."""
        for family in (Family.IP, Family.IP6):
            self._netlink.transact([delete(Layout(_bare(family)).table)])
            flows = map(conntrack.read, self._netlink.request(conntrack.dump(family)))
            self._netlink.perform([conntrack.delete(family, flow) for flow in flows], forgiving=(ObjectMissing,))

    def _build(self) -> Sequence[Change]:
        place = Place(frozenset(("node-a",)), self._network, self._zones())
        slices = [msgspec.convert(tree, views.EndpointSlice) for tree in self._all("EndpointSlice")]
        parts: dict[ServiceName, Part] = {}
        for tree in self._all("Service"):
            service = msgspec.convert(tree, views.Service)
            name = ServiceName(service.metadata.namespace, service.metadata.name)
            own = [found for found in slices if (found.metadata.namespace, found.service) == name]
            parts[name] = build(service, own, place)
        gone = dict.fromkeys(self._known - parts.keys(), NOTHING)
        self._known = frozenset(parts)
        return self._assembly.update(parts | gone)

    def _all(self, kind: str) -> list[Tree]:
        return [tree for name, tree in self._objects.items() if name[0] == kind]

    def _zones(self) -> frozenset[str]:
        node = self._objects.get(("Node", None, "node-a"))
        zone = "z1" if node is None else msgspec.convert(node, views.Node).zone
        return frozenset((zone,) if zone else ())

    def _ranges(self) -> Iterator[Range]:
        yield from map(ip_network, RANGES)
        for tree in self._all("ServiceCIDR"):
            yield from map(ip_network, tree["spec"]["cidrs"])

    def _ground(self, family: Family) -> Ground:
        six = family is Family.IP6
        services, pods = (
            [found for found in ranges if (found.version == 6) == six]
            for ranges in (self._network.service_ranges, PODS)
        )
        return msgspec.structs.replace(
            _bare(family), nodes=tuple(self._nodes(six)), services=tuple(services), pods=tuple(pods)
        )

    def _nodes(self, six: bool) -> Iterator[str]:
        """At which of its addresses node-a serves node ports."""
        own = [ADDRESSES[name][six] for name in ("node-a", "node-a-second")]
        wanted = [ip_network(found) for found in self._config.get("nodePortAddresses", ())]
        of_family = [found for found in wanted if (found.version == 6) == six]
        if not wanted:
            yield own[0]
        for address in own if wanted else ():
            if not of_family or any(ip_address(address) in found for found in of_family):
                yield address


def _bare(family: Family) -> Ground:
    """Uplinks are not named: the recorded host outside is let in."""
    return Ground(family, "uid", (), (), ())


def _terminating(tree: Tree, address: str) -> Tree:
    stopping = {"conditions": {"ready": False, "serving": True, "terminating": True}}
    return tree | {
        "endpoints": [one | stopping if one["addresses"][0] == address else one for one in tree["endpoints"]]
    }
