"""Network mode ``namespace``: the nodes of this process in a network namespace of their own, and the machine's one link to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from pathlib import Path

from pierhead.api.network import Network, Range
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.errors import KernelError, UsageError
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.node import leftovers, netns, wiring
from pierhead.node.netns import NetworkNamespace
from pierhead.node.podnetwork import Apart
from pierhead.node.wiring import UPLINK, Side, Wiring
from pierhead.region.placement import place
from pierhead.region.settings import Settings
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import Family


class Namespaced:
    """The namespace of a region's nodes while it runs. A `Terrain`."""

    def __init__(self, settings: Settings, namespace: NetworkNamespace, directory: Path, stack: ExitStack) -> None:
        self._network, self._namespace, self._directory, self._stack = settings.network, namespace, directory, stack
        self.groups = (place(settings.network, settings.zones, settings.node_name),)

    def network(self, node: str) -> Network:
        return self._network

    def dataplane(self, place: Place, owner: str) -> Nftables:
        return Nftables([_ground(self._network, owner)], self._namespace.open(Protocol.NETFILTER))

    def pods(self, node: str) -> Apart:
        """The pod network of one node; it ends with the region."""
        found = Apart(self._namespace, self._network.node_address, self._directory / "pods" / node)
        self._stack.callback(found.close)
        return found


@contextmanager
def namespaced(settings: Settings) -> Iterator[Namespaced]:
    """Makes what the nodes stand on, and leaves the machine as it was.

    Raises:
        UsageError: the machine uses these addresses itself, or this account may not do it.
    """
    directory = settings.data_dir / "network"
    path, plan = directory / "node", _wiring(settings.network, leftovers.mark(directory))
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(Netlink.open(Protocol.ROUTE))
            wiring.check(machine, plan)
            namespace = netns.make(path)
            stack.callback(netns.remove, path)
            wiring.lay(machine, namespace, plan)
        except KernelError as error:
            raise UsageError(
                f"--network namespace is not possible here: {error}", "be root, or write: --network loopback"
            ) from error
        stack.callback(wiring.remove, machine, plan)
        yield Namespaced(settings, namespace, directory, stack)


def _wiring(network: Network, mark: str) -> Wiring:
    own = (*network.service_ranges, *network.floating_ranges)
    beyond: tuple[Range, ...] = (*own, *network.pod_ranges)
    side = Side(ip_address(network.machine_address), ip_address(network.node_address), own, beyond)
    return Wiring(f"ph-{blake2b(mark.encode(), digest_size=6).hexdigest()}", (side,))


def _ground(network: Network, owner: str) -> Ground:
    return Ground(
        Family.IP, owner, (network.node_address,), network.service_ranges, network.pod_ranges, network.floating_ranges,
        (UPLINK,), (ip_network(network.machine_address),),
    )  # fmt: skip
