"""A lab: a region of several nodes on this machine, each in a network namespace of its own, and a host outside of it.

The process that runs it is alone in a network namespace too, which has the fabric. Nothing of it is the machine's, so that nothing is
checked or undone there: it all ends with the process.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv6Network
from typing import Final

from msgspec.structs import replace

from pierhead.api.network import Network, Range
from pierhead.client.informers import Informers
from pierhead.client.troubles import Troubles
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.errors import KernelError, UsageError
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.node import fabric, netns
from pierhead.node.fabric import Port
from pierhead.node.netns import NetworkNamespace
from pierhead.node.podnetwork import Apart
from pierhead.region import namespaced, poolroutes, ranges
from pierhead.region.labdirectory import host_file, pod_file
from pierhead.region.placement import Placed, numbered
from pierhead.region.settings import Settings
from pierhead.wire.netlink import Protocol
from pierhead.wire.routes import IP

SERVICES: Final[Mapping[int, Range]] = {4: ranges.CLUSTER_SERVICES, 6: IPv6Network("fd00:10:96::/112")}

log = logging.getLogger(__name__)


def network(versions: Sequence[int] = (4, 6)) -> Network:
    """The same in every lab whose machine has these families: nobody else is there who could have its addresses."""
    found = ranges.choose("namespace", services=tuple(SERVICES[version] for version in versions))
    first, *second = (str(fabric.ROOT[version]) for version in versions)
    endpoints = tuple(fabric.RANGES[version] for version in versions)
    found = replace(found, machine_address=first, second_machine_address="".join(second), endpoint_ranges=endpoints)
    return _at(found, fabric.node(0))


def _at(network: Network, node: Mapping[int, IP]) -> Network:
    """As a node with these addresses has it."""
    first, *second = (str(node[found.version]) for found in network.service_ranges)
    return replace(network, node_address=first, second_node_address="".join(second))


class Lab:
    """The nodes of a lab while it runs, each with a data plane of its own. A `Terrain`."""

    link = ""

    def __init__(self, settings: Settings, placed: tuple[Placed, ...], stack: ExitStack) -> None:
        self.groups = tuple((node,) for node in placed)
        self._settings, self._stack = settings, stack
        self._addresses = {node.name: fabric.node(number) for number, node in enumerate(placed)}
        self._troubles = Troubles()
        self._floating = frozenset(settings.network.floating_ranges)
        """What the fabric leads to."""

    def wire(self, owner: str) -> None:
        """Makes the hosts, each with its rules, and then the fabric between them.

        Raises:
            KernelError: the kernel refused a step.
        """
        network, pods = self._settings.network, {node.name: node.pod_ranges for (node,) in self.groups}
        own = (*network.service_ranges, *network.floating_ranges)
        ports = {**fabric.nodes(pods, own), fabric.OUTSIDE: fabric.outside((*own, *network.pod_ranges))}
        netns.remove_below(host_file(self._settings.data_dir, ""))  # names that a killed lab left, of more nodes maybe
        root = self._stack.enter_context(Netlink.open(Protocol.ROUTE))
        bridge = fabric.build(root, list(pods.values()))
        for name, port in ports.items():
            file = host_file(self._settings.data_dir, name)
            self._stack.callback(netns.remove, file)
            host = netns.make(file)
            if name in pods:
                namespaced.guard(host, self._grounds(name, owner))
            fabric.plug(root, bridge, host, port)

    def network(self, node: str) -> Network:
        return _at(self._settings.network, self._addresses[node])

    def pods(self, node: str) -> Apart:
        directory = pod_file(self._settings.data_dir, node, "").parent
        found = Apart(self._namespace(node), self.network(node).node_addresses, directory / node)
        self._stack.callback(found.close)
        return found

    def open_to(self, doors: Sequence[socket.socket]) -> None:
        """There are none: the fabric has more than one way to the API."""

    async def tend(self, informers: Informers) -> None:
        await poolroutes.follow(informers, self._lead)

    def _lead(self, pools: Sequence[Range]) -> bool:
        """Brings the fabric's routes to floating IPs to what the pools hold. What the fabric has itself stays with it. False: it could not
        be done."""
        versions = {found.version for found in self._settings.network.service_ranges}
        for found in pools:
            if fabric.has(found) and self._troubles.is_news("taken", str(found)):
                log.warning("floating IPs %s are not reached: the lab has addresses there itself", found)
        wanted = frozenset(found for found in pools if found.version in versions and not fabric.has(found))
        gone, come = (self._led(found) for found in (self._floating - wanted, wanted - self._floating))
        try:
            for name in gone:
                fabric.lead(self._namespace(name), gone[name], come[name])
        except KernelError as error:
            log.warning("routes to floating IPs are not yet what the pools hold: %s", error)
            return False
        self._floating = wanted
        return True

    def _led(self, floating: Collection[Range]) -> dict[str, Port]:
        """The hosts, as if there were nothing but these floating IPs."""
        found = tuple(floating)
        return {**fabric.nodes(dict.fromkeys(self._addresses, ()), found), fabric.OUTSIDE: fabric.outside(found)}

    def dataplane(self, place: Place, owner: str) -> Nftables:
        (node,) = place.nodes
        namespace = self._namespace(node)
        with ExitStack() as opened:
            kernel = opened.enter_context(namespace.open(Protocol.NETFILTER))
            watch = opened.enter_context(namespace.within(RulesetWatch.open))
            opened.pop_all()
            return Nftables(self._grounds(node, owner), kernel, watch)

    def _grounds(self, node: str, owner: str) -> list[Ground]:
        network = self.network(node)
        return [ground(network, len(self.groups), owner, found.version) for found in network.service_ranges]

    def _namespace(self, node: str) -> NetworkNamespace:
        return NetworkNamespace(host_file(self._settings.data_dir, node))


def ground(network: Network, nodes: int, owner: str, version: int) -> Ground:
    """What the rules of a node know of its network in one family, in a lab of so many; ``owner``: the region's uid."""
    peers = fabric.peers(network.pod_ranges, nodes, version)
    return replace(namespaced.ground(network, owner, version), peers=peers)


def is_one(network: Network) -> bool:
    """Whether this is the network of a lab."""
    return network.machine_address == str(fabric.ROOT[4])


@contextmanager
def laid(settings: Settings, owner: str) -> Iterator[Lab]:
    """Makes what a lab stands on, in the network namespace in which this process is alone. ``owner``: the region's uid.

    Raises:
        UsageError: the kernel cannot do it.
    """
    with ExitStack() as stack:
        found = Lab(settings, numbered(settings.network, settings.zones), stack)
        try:
            found.wire(owner)
        except KernelError as error:
            raise UsageError(
                f"a lab is not possible here: {error}", "run it on a kernel with veth, bridge and nf_tables"
            ) from error
        yield found
