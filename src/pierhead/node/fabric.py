"""The network between the nodes of a lab: a bridge, a link for each node and one for a host outside.

Every namespace is a host with one address of each family; the bridge's own is where the lab itself is. Who routes what follows from the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface, ip_network
from typing import Final

import msgspec

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectExists, ObjectMissing
from pierhead.node.netns import LOOPBACK, NetworkNamespace
from pierhead.node.wiring import UPLINK
from pierhead.wire import links, routes
from pierhead.wire.netlink import Message, Protocol
from pierhead.wire.routes import IP, Address, Route, RouteKind, Table

RANGES: Final[Mapping[int, Range]] = {4: IPv4Network("192.168.100.0/24"), 6: IPv6Network("fd00:100::/64")}
"""By family, as the addresses of a host are."""
FIRST_NODE: Final = 11
MOST_NODES: Final = 100


def _host(number: int) -> Mapping[int, IP]:
    return {version: found[number] for version, found in RANGES.items()}


def node(number: int) -> Mapping[int, IP]:
    """The addresses of a node; they are counted from 0."""
    return _host(FIRST_NODE + number)


def has(found: Range) -> bool:
    """Whether some of these addresses may be a host's."""
    return any(found.version == own.version and found.overlaps(own) for own in RANGES.values())


ROOT, STRANGER = _host(1), _host(254)
"""The addresses of the lab itself, where its API is, and of the host outside."""
BRIDGE: Final = "fabric"
OUTSIDE: Final = "outside"
"""What the host outside is called."""


class Port(msgspec.Struct, frozen=True):
    """A host on the fabric, and what it knows of the others."""

    link: str
    """The bridge's end of its link; 15 bytes at most."""
    addresses: tuple[IP, ...]
    """One for each family."""
    routes: Mapping[Range, IP]
    """What is behind which neighbour."""
    own: tuple[Range, ...] = ()
    """Ranges whose addresses it takes for its own: clients there have a route to them, and those from elsewhere an answer."""
    forwards: bool = False


def nodes(pods: Mapping[str, Sequence[Range]], own: Sequence[Range]) -> dict[str, Port]:
    """``pods``: each node's parts of the pod ranges; ``own``: the ranges of Services and floating IPs. They say which families there are."""
    addresses = {name: node(number) for number, name in enumerate(pods)}

    def ways(name: str) -> dict[Range, IP]:
        others = [other for other in pods if other != name]
        return {part: addresses[other][part.version] for other in others for part in pods[other]}

    return {name: Port(name, _of(own, addresses[name]), ways(name), tuple(own), forwards=True) for name in pods}


def outside(every: Sequence[Range]) -> Port:
    """A host that is told of these ranges as if the first node were the way to all of them. What may be reached is for the node to
    say."""
    return Port(OUTSIDE, _of(every, STRANGER), {found: node(0)[found.version] for found in every})


def peers(pods: Sequence[Range], count: int, version: int) -> tuple[Range, ...]:
    """Who of one family is no stranger to a node: the pods and the other nodes of so many, and the lab itself, which probes. In few
    ranges, because all of them stand in one rule."""
    hosts = [ip_network(host[version]) for host in (ROOT, *map(node, range(count)))]
    every = [*(found for found in pods if found.version == version), *hosts]
    four = collapse_addresses(found for found in every if isinstance(found, IPv4Network))
    six = collapse_addresses(found for found in every if isinstance(found, IPv6Network))
    return (*four, *six)


def build(root: Netlink, pods: Sequence[Sequence[Range]]) -> int:
    """Makes the bridge in the namespace of ``root``, which reaches the pods of each node; the bridge's index.

    Raises:
        KernelError: the kernel refused a step.
    """
    root.perform([links.switch(LOOPBACK, up=True), links.add_bridge(BRIDGE)])
    index = links.read(root.request(links.find(BRIDGE))[0]).index
    root.perform(list(_addressed(index, _of(pods[0], ROOT))))
    ways = [Route(part, index, node(number)[part.version]) for number, parts in enumerate(pods) for part in parts]
    root.perform(list(map(routes.add, ways)))
    return index


def plug(root: Netlink, bridge: int, namespace: NetworkNamespace, port: Port) -> None:
    """Puts a host on the fabric.

    Raises:
        KernelError: the kernel refused a step.
    """
    with namespace.opened() as there:
        root.perform([links.add_veth(links.End(port.link, master=bridge), links.End(UPLINK, there))])
    root.perform([links.switch(port.link, up=True)])
    with namespace.open(Protocol.ROUTE) as inside:
        index = links.read(inside.request(links.find(UPLINK))[0]).index
        inside.perform(list(_inside(index, port)))
    for setting, value in _settings(port):
        namespace.set(setting, value)


def lead(namespace: NetworkNamespace, gone: Port, come: Port) -> None:
    """A host on the fabric knows what is behind ``come`` from now on, and nothing of what is behind ``gone``.

    Raises:
        KernelError: the kernel refused a step.
    """
    with namespace.open(Protocol.ROUTE) as inside:
        index = links.read(inside.request(links.find(UPLINK))[0]).index
        inside.perform(list(map(routes.delete, _ways(index, gone))), forgiving=(ObjectMissing,))
        inside.perform(list(map(routes.add, _ways(index, come))), forgiving=(ObjectExists,))


def _settings(port: Port) -> Iterator[tuple[str, str]]:
    """What comes by a node and is led on by the same link is on its way: there is no shorter one to tell of."""
    forwards = str(int(port.forwards))
    yield "net/ipv4/ip_forward", forwards
    for which in ("all", UPLINK):
        yield f"net/ipv4/conf/{which}/send_redirects", "0"
    if any(address.version == 6 for address in port.addresses):
        yield "net/ipv6/conf/all/forwarding", forwards


def _inside(index: int, port: Port) -> Iterator[Message]:
    yield from _addressed(index, port.addresses)
    yield from map(routes.add, _ways(index, port))


def _ways(index: int, port: Port) -> Iterator[Route]:
    for found, neighbour in port.routes.items():
        yield Route(found, index, neighbour)
    sources = {address.version: address for address in port.addresses}
    for found in port.own:
        yield Route(found, LOOPBACK, kind=RouteKind.LOCAL, table=Table.LOCAL, source=sources[found.version])


def _addressed(index: int, addresses: Iterable[IP]) -> Iterator[Message]:
    """Usable at once: nobody else has them."""
    yield links.switch(index, up=True)
    for found in addresses:
        own = ip_interface((found, RANGES[found.version].prefixlen))
        yield routes.add(Address(index, own, without_dad=found.version == 6))


def _of(ranges: Iterable[Range], host: Mapping[int, IP]) -> tuple[IP, ...]:
    """Its addresses of these families."""
    versions = {found.version for found in ranges}
    return tuple(address for version, address in host.items() if version in versions)
