"""Network mode ``namespace``: the nodes of this process in a network namespace of their own, and the machine's one link to it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pierhead.api.network import Network, Range
from pierhead.client.informers import Informers
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.errors import KernelError, ObjectExists, UsageError
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.node import border, egress, firewalls, leftovers, netns, wiring
from pierhead.node.border import Border, Keeper
from pierhead.node.linkwatch import LinkWatch
from pierhead.node.netns import NetworkNamespace
from pierhead.node.podnetwork import Apart
from pierhead.node.wiring import PREFIX, UPLINK, Side, Wiring
from pierhead.region.directory import NETWORK
from pierhead.region.linkkeeper import LinkKeeper
from pierhead.region.placement import place
from pierhead.region.poolroutes import PoolRoutes
from pierhead.region.settings import Settings
from pierhead.region.terrain import Unfit
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import Family, Hook
from pierhead.wire.routes import IP

NODE: Final = "node"
"""The file below a region's own directory that its nodes' namespace is kept by; those of pods are beside it."""
PODS: Final = "pods"
WORLD: Final[Mapping[int, Range]] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
PATIENCE: Final = 0.5
"""Seconds for the machine to answer its own node."""
LONGER: Final = 2.5
"""Where nobody is seen who would keep it from answering: the link may be new, and what is lost is sent again after a second."""

log = logging.getLogger(__name__)


class Namespaced:
    """The namespace of a region's nodes while it runs. A `Terrain`."""

    def __init__(
        self,
        settings: Settings,
        namespace: NetworkNamespace,
        directory: Path,
        routes: PoolRoutes,
        link: LinkKeeper,
        border: Keeper,
        loaded: asyncio.Event,
        stack: ExitStack,
    ) -> None:
        """``loaded``: to be set when the rules of the nodes are there."""
        self._network, self._namespace, self._directory, self._stack = settings.network, namespace, directory, stack
        self._routes, self._link, self._border, self._loaded = routes, link, border, loaded
        self.link = routes.link
        self.groups = (place(settings.network, settings.zones, settings.node_name),)

    def network(self, node: str) -> Network:
        return self._network

    def open_to(self, doors: Sequence[socket.socket]) -> None:
        self._link.doors = doors

    async def tend(self, informers: Informers) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._routes.follow(informers))
            group.create_task(self._link.follow())
            group.create_task(self._border.follow())

    def dataplane(self, place: Place, owner: str) -> Nftables:
        with ExitStack() as opened:
            kernel = opened.enter_context(self._namespace.open(Protocol.NETFILTER))
            watch = opened.enter_context(self._namespace.within(RulesetWatch.open))
            watch.hearing = self._loaded
            opened.pop_all()
            return Nftables(grounds(self._network, owner), kernel, watch)

    def pods(self, node: str) -> Apart:
        """The pod network of one node; it ends with the region."""
        found = Apart(self._namespace, self._network.node_addresses, self._directory / PODS / node)
        self._stack.callback(found.close)
        return found


@contextmanager
def namespaced(settings: Settings, owner: str) -> Iterator[Namespaced]:
    """Makes what the nodes stand on, and leaves the machine as it was. What a killed run left is taken over, and the traffic through
    it goes on; but not the namespaces of its pods, which ended with it. ``owner``: the region's uid.

    Raises:
        Unfit: the machine uses these addresses itself, its kernel lacks something, or this account may not do it.
    """
    directory = _home(settings.data_dir)
    path, wired = directory / NODE, partial(_wired, settings, _link(directory))
    plan = wired(settings.network.floating_ranges)
    if settings.egress:
        egress.check(side.node.version for side in plan.sides)
    with ExitStack() as stack:
        with _fitting():
            machine = stack.enter_context(Netlink.open(Protocol.ROUTE))
            machine.ask_strictly()
            wiring.check(machine, plan)
            if left := netns.find(path):
                guard(left, grounds(settings.network, owner))  # before anything is undone: it may be another's
            namespace = left or netns.make(path)
            stack.callback(netns.remove, path)
            guard(namespace, grounds(settings.network, owner))
            firewall = stack.enter_context(Netlink.open(Protocol.NETFILTER))
            stack.callback(border.remove, firewall, plan.link)
            border.sweep(firewall, wiring.names(machine))
            border.lay(firewall, plan.link, _borders(settings))
            heard, watch = stack.enter_context(RulesetWatch.open()), stack.enter_context(LinkWatch.open())
            stack.callback(wiring.remove, machine, plan.link)
            pools = wiring.besides(machine, plan) if left else ()  # traffic there goes on until the pools are known
            wiring.lay(machine, namespace, wired((*settings.network.floating_ranges, *pools)))
            try:
                _look_for_firewalls(settings, namespace, plan, firewall)
            except KernelError as error:  # a hint that is not to be had keeps nobody from starting
                log.warning("whether a firewall of this machine is in the way cannot be told: %s", error)
            netns.remove_below(directory / PODS)
        routes, loaded = PoolRoutes(machine, namespace, wired), asyncio.Event()
        keeper = Keeper(firewall, heard, plan.link, [*_borders(settings)], loaded)
        yield Namespaced(settings, namespace, directory, routes, LinkKeeper(watch, routes), keeper, loaded, stack)


@contextmanager
def _fitting() -> Iterator[None]:
    """Raises: Unfit."""
    try:
        yield
    except KernelError as error:
        text = f"--network namespace is not possible here: {error}"
        raise Unfit(text, "be root, or write: --network loopback") from error
    except UsageError as error:
        raise Unfit(str(error), error.hint) from error


def _borders(settings: Settings) -> Iterator[Border]:
    network = settings.network
    for version in (found.version for found in network.service_ranges):
        node = _address(network.node_addresses, version)
        services, pods = (_of(found, version) for found in (network.service_ranges, network.pod_ranges))
        yield Border(node, services, pods, settings.egress)


def _look_for_firewalls(settings: Settings, namespace: NetworkNamespace, plan: Wiring, firewall: Netlink) -> None:
    """Between pods and the world, and pods and this machine: who is in the way is named."""
    if any(egress.is_forwarded(side.node.version) for side in plan.sides):
        who = "pods send to the world" if settings.egress else "hosts outside send to floating IPs and node ports"
        for found in firewalls.shut(firewall, Hook.FORWARD, plan):
            log.warning("what %s: %s", who, found)
    lets_in = partial(_lets_in, namespace, plan.sides, settings.port)
    if not lets_in(PATIENCE):
        suspects = [*firewalls.shut(firewall, Hook.INPUT, plan)]
        if not suspects and not lets_in(LONGER):
            suspects = [
                f"lost, and no firewall is seen that drops it: nft list ruleset; iptables-legacy -S; it comes by {plan.link}"
            ]
        for found in suspects:
            log.warning("what pods send to this machine, and so to the API: %s", found)


def _lets_in(namespace: NetworkNamespace, sides: Sequence[Side], port: int, patience: float) -> bool:
    """Whether the machine answers its node; tried, in IPv4, which has no neighbours to find first. ``port``: the API's, where a firewall may
    let in more than elsewhere; 0, or one that is taken: any. ``patience``: in seconds."""
    for address in (str(side.machine) for side in sides if side.machine.version == 4):
        with _server(address, port) as server:
            call = partial(socket.create_connection, server.getsockname(), timeout=patience)
            try:
                namespace.within(call).close()
            except OSError:
                return False
    return True


def _server(address: str, port: int) -> socket.socket:
    try:
        return socket.create_server((address, port))
    except OSError:
        return socket.create_server((address, 0))


def guard(namespace: NetworkNamespace, grounds: Sequence[Ground]) -> None:
    """Lays the rules of a node on which there are no Services yet, so that no packet meets one without rules.

    Raises:
        Unfit: a table of that name is another region's.
    """
    with namespace.open(Protocol.NETFILTER) as kernel:
        try:
            Nftables(grounds, kernel).found()
        except ObjectExists as error:
            raise Unfit(f"in the node's namespace {error}", f"there: nsenter --net={namespace.path}") from error


def clear(data_dir: Path) -> None:
    """Takes away what a killed run left on the machine, for a region that is in another mode now, or one that begins where another
    was removed by hand. Then the name of that one's link is lost, and the namespace tells it.

    Raises:
        UsageError: this account may not.
    """
    directory = _home(data_dir)
    if not (directory / NODE).exists():
        return
    try:
        with Netlink.open(Protocol.ROUTE) as machine:
            left = netns.find(directory / NODE)
            names = {_link(directory), *(wiring.leading(machine, left) if left else ())}
            for name in names:
                wiring.remove(machine, name)
            with Netlink.open(Protocol.NETFILTER) as firewall:
                border.sweep(firewall, wiring.names(machine))
        netns.remove_below(directory / PODS)
        netns.remove(directory / NODE)
    except KernelError as error:
        text = f"{directory} has what a killed run in --network namespace left, and it cannot be taken away: {error}"
        raise UsageError(text, "be root, or choose another --data-dir") from error


def nodes_of(data_dir: Path) -> NetworkNamespace:
    """Where the nodes of a region are while it runs in this mode."""
    return NetworkNamespace(_home(data_dir) / NODE)


def link_of(data_dir: Path) -> str:
    """What the link of a region is called on the machine, and its table there."""
    return _link(_home(data_dir))


def _home(data_dir: Path) -> Path:
    return data_dir / NETWORK


def _link(directory: Path) -> str:
    return f"{PREFIX}{blake2b(leftovers.mark(directory).encode(), digest_size=6).hexdigest()}"


def _wired(settings: Settings, link: str, floating: tuple[Range, ...]) -> Wiring:
    network = replace(settings.network, floating_ranges=floating)
    sides = (_side(network, found.version, egress=settings.egress) for found in network.service_ranges)
    return Wiring(link, tuple(sides), str(settings.data_dir))


def _side(network: Network, version: int, *, egress: bool) -> Side:
    own = (*_of(network.service_ranges, version), *_of(network.floating_ranges, version))
    beyond = (*own, *_of(network.pod_ranges, version))
    machine, node = (_address(found, version) for found in (network.machine_addresses, network.node_addresses))
    elsewhere = _of(network.endpoint_ranges, version)
    return Side(machine, node, own, beyond, (*elsewhere, WORLD[version]) if egress else elsewhere)


def grounds(network: Network, owner: str) -> list[Ground]:
    """One for each family."""
    return [ground(network, owner, found.version) for found in network.service_ranges]


def ground(network: Network, owner: str, version: int = 0) -> Ground:
    """What the rules of the nodes know of their network. ``owner``: the region's uid; ``version``: 4 or 6, by default of the primary
    family."""
    version = version or network.service_ranges[0].version
    machine, node = (_address(found, version) for found in (network.machine_addresses, network.node_addresses))
    return Ground(
        Family.IP6 if version == 6 else Family.IP, owner, (str(node),), _of(network.service_ranges, version),
        _of(network.pod_ranges, version), (UPLINK,), (ip_network(machine),), sole=True,
    )  # fmt: skip


def _of(ranges: Iterable[Range], version: int) -> tuple[Range, ...]:
    return tuple(found for found in ranges if found.version == version)


def _address(addresses: Iterable[str], version: int) -> IP:
    return next(found for found in map(ip_address, addresses) if found.version == version)
