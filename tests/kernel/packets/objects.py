"""The objects of a recorded scenario as an API server would hold them, and what a proxy on node-a makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

import msgspec

from kernel.packets.topology import ADDRESSES
from pierhead.api import views
from pierhead.api.network import Network, Range
from pierhead.forwarding.build import Part, build
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ServiceName
from pierhead.wire.nftables import Family

Tree: TypeAlias = dict[str, Any]
Name: TypeAlias = tuple[str, str | None, str]

FAMILIES: Final = (Family.IP, Family.IP6)
PODS: Final = tuple(map(ip_network, ("10.244.0.0/16", "fd00:10:244::/48")))
RANGES: Final = ("10.96.0.0/16", "fd00:10:96::/112")
HOSTS: Final = tuple(map(ip_network, ("192.168.100.0/24", "fd00:100::/64")))
"""Where endpoints may lie that are no pods: the nodes."""


def name_of(tree: Tree) -> Name:
    """``tree``: an object, or what names one."""
    named = tree.get("metadata", tree)
    return tree["kind"], named.get("namespace"), named["name"]


class Objects:
    def __init__(self, scenario: Tree) -> None:
        self._config: Tree = scenario.get("proxyConfig", {})
        self._held = {name_of(tree): tree for trees in scenario["objects"].values() for tree in trees}

    def change(self, apply: Iterable[Tree] = (), delete: Iterable[Tree] = ()) -> None:
        self._held |= {name_of(tree): tree for tree in apply}
        for tree in delete:
            del self._held[name_of(tree)]

    def terminate(self, address: str) -> None:
        """An endpoint is told to stop, in all slices."""
        stopping = {"conditions": {"ready": False, "serving": True, "terminating": True}}
        for tree in self._all("EndpointSlice"):
            found = [one | stopping if one["addresses"][0] == address else one for one in tree["endpoints"]]
            self.change([tree | {"endpoints": found}])

    def network(self) -> Network:
        """What a proxy that starts now stands on."""
        more = [found for tree in self._all("ServiceCIDR") for found in tree["spec"]["cidrs"]]
        ranges = tuple(map(ip_network, (*RANGES, *more)))
        return Network("namespace", ranges, PODS, endpoint_ranges=HOSTS, node_address=ADDRESSES["node-a"][0])

    def place(self, network: Network) -> Place:
        node = self._held.get(("Node", None, "node-a"))
        zone = "z1" if node is None else msgspec.convert(node, views.Node).zone
        return Place(frozenset(("node-a",)), network, frozenset((zone,) if zone else ()))

    def ground(self, network: Network, family: Family) -> Ground:
        """Uplinks are not named: the recorded host outside is let in."""
        version = 6 if family is Family.IP6 else 4
        nodes = tuple(self._nodes(version))
        return Ground(family, "uid", nodes, _of(version, network.service_ranges), _of(version, PODS))

    def parts(self, place: Place) -> dict[ServiceName, Part]:
        slices = [msgspec.convert(tree, views.EndpointSlice) for tree in self._all("EndpointSlice")]
        found = {}
        for service in (msgspec.convert(tree, views.Service) for tree in self._all("Service")):
            name = ServiceName(service.metadata.namespace, service.metadata.name)
            own = [one for one in slices if (one.metadata.namespace, one.service) == name]
            found[name] = build(service, own, place)
        return found

    def _all(self, kind: str) -> list[Tree]:
        return [tree for name, tree in self._held.items() if name[0] == kind]

    def _nodes(self, version: int) -> Iterator[str]:
        """At which of its addresses node-a serves node ports. A list that names no network of a family leaves that one open."""
        own = [ADDRESSES[name][version == 6] for name in ("node-a", "node-a-second")]
        wanted = tuple(map(ip_network, self._config.get("nodePortAddresses", ())))
        if not wanted:
            yield own[0]
            return
        of_family = _of(version, wanted)
        for address in own:
            if not of_family or any(ip_address(address) in found for found in of_family):
                yield address


def _of(version: int, ranges: Iterable[Range]) -> tuple[Range, ...]:
    return tuple(found for found in ranges if found.version == version)
