"""The network between the nodes of a lab: a bridge, a link for each node and one for a host outside.

Every namespace is a host with one address; the bridge's own is where the lab itself is. Who routes what follows from the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_interface, ip_network
from typing import Final

import msgspec

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.node.netns import LOOPBACK, NetworkNamespace
from pierhead.node.wiring import UPLINK
from pierhead.wire import links, routes
from pierhead.wire.netlink import Message, Protocol
from pierhead.wire.routes import Address, Route, RouteKind, Table

RANGE: Final = IPv4Network("192.168.100.0/24")
ROOT, STRANGER = RANGE[1], RANGE[254]
"""The lab's own address, where its API is, and that of the host outside."""
FIRST_NODE: Final = 11
MOST_NODES: Final = 100
BRIDGE: Final = "fabric"
OUTSIDE: Final = "outside"
"""What the host outside is called."""


class Port(msgspec.Struct, frozen=True):
    """A host on the fabric, and what it knows of the others."""

    link: str
    """The bridge's end of its link; 15 bytes at most."""
    address: IPv4Address
    routes: Mapping[Range, IPv4Address]
    """What is behind which neighbour."""
    own: tuple[Range, ...] = ()
    """Ranges whose addresses it takes for its own: clients there have a route to them, and those from elsewhere an answer."""
    forwards: bool = False


def node_address(number: int) -> IPv4Address:
    """Nodes are counted from 0."""
    return RANGE[FIRST_NODE + number]


def nodes(pods: Mapping[str, Range], own: tuple[Range, ...]) -> dict[str, Port]:
    """``pods``: each node's part of the pod range; ``own``: the ranges of Services and floating IPs."""
    addresses = {name: node_address(number) for number, name in enumerate(pods)}

    def ways(name: str) -> dict[Range, IPv4Address]:
        return {pods[other]: addresses[other] for other in pods if other != name}

    return {name: Port(name, addresses[name], ways(name), own, forwards=True) for name in pods}


def outside(every: tuple[Range, ...]) -> Port:
    """A host that is told of these ranges as if the first node were the way to all of them. What may be reached is for the node to
    say."""
    return Port(OUTSIDE, STRANGER, dict.fromkeys(every, node_address(0)))


def peers(pods: tuple[Range, ...], count: int) -> tuple[Range, ...]:
    """Who is no stranger to a node: the pods and the other nodes of so many, and the lab itself, which probes."""
    return (*pods, ip_network(ROOT), *(ip_network(node_address(number)) for number in range(count)))


def build(root: Netlink, pods: Sequence[Range]) -> int:
    """Makes the bridge in the namespace of ``root``, which reaches the pods of each node; the bridge's index.

    Raises:
        KernelError: the kernel refused a step.
    """
    root.perform([links.switch(LOOPBACK, up=True), links.add_bridge(BRIDGE)])
    index = links.read(root.request(links.find(BRIDGE))[0]).index
    ways = (routes.add(Route(found, index, node_address(number))) for number, found in enumerate(pods))
    root.perform([*_addressed(index, ROOT), *ways])
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
    namespace.set("net/ipv4/ip_forward", str(int(port.forwards)))
    for which in ("all", UPLINK):  # what comes by a node and is led on by the same link is on its way: none is shorter
        namespace.set(f"net/ipv4/conf/{which}/send_redirects", "0")


def _inside(index: int, port: Port) -> Iterator[Message]:
    yield from _addressed(index, port.address)
    for found, neighbour in port.routes.items():
        yield routes.add(Route(found, index, neighbour))
    for found in port.own:
        yield routes.add(Route(found, LOOPBACK, kind=RouteKind.LOCAL, table=Table.LOCAL, source=port.address))


def _addressed(index: int, address: IPv4Address) -> Iterator[Message]:
    yield links.switch(index, up=True)
    yield routes.add(Address(index, ip_interface(f"{address}/{RANGE.prefixlen}")))
