"""What a node in a network namespace of its own changes on the machine: one link, and routes over it. The only room that changes
anything there.

The kernel takes routes away with their link and a link with its other end, so that undoing is one message, also after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_interface, ip_network
from typing import Final

import msgspec

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectMissing, UsageError
from pierhead.node.netns import LOOPBACK, NetworkNamespace
from pierhead.wire import links, routes
from pierhead.wire.netlink import Message, Protocol
from pierhead.wire.routes import IP, Address, Route, RouteKind, Table

UPLINK: Final = "up0"
"""The node's end of the link."""
FORWARDING: Final = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


class Side(msgspec.Struct, frozen=True):
    """One family of the link."""

    machine: IP
    """The machine's own address on it: whoever comes from there is inside."""
    node: IP
    own: tuple[Range, ...]
    """Addresses that the node takes for its own, so that its clients have a route to them, and those from elsewhere an answer."""
    beyond: tuple[Range, ...]
    """Everything that the machine reaches through the node: Services, pods, floating IPs."""


class Wiring(msgspec.Struct, frozen=True):
    link: str
    """The machine's end, 15 bytes at most."""
    sides: tuple[Side, ...]


def check(machine: Netlink, wiring: Wiring) -> None:
    """Raises:
    UsageError: the machine uses addresses already that the node is to have.
    """
    names = {link.index: link.name for link in map(links.read, machine.request(links.dump()))}
    wanted = [found for side in wiring.sides for found in (*side.beyond, *map(ip_network, (side.machine, side.node)))]
    for route in _known(machine, {side.node.version for side in wiring.sides}):
        there = names.get(route.index, "")
        hit = next((found for found in wanted if _meet(found, route.destination)), None)
        if hit and route.destination.prefixlen and there != wiring.link:
            raise UsageError(
                f"{hit} overlaps with this machine's route to {route.destination}{f' ({there})' if there else ''}",
                "give the region ranges that are free here: --service-cidr, --pod-cidr, --floating-cidr",
            )


def lay(machine: Netlink, node: NetworkNamespace, wiring: Wiring) -> None:
    """Connects the two. What an earlier run left under this name is replaced.

    Raises:
        KernelError: the kernel refused a step; nothing of it is left.
    """
    remove(machine, wiring)
    with node.opened() as there:
        machine.perform([links.add_veth(links.End(wiring.link), links.End(UPLINK, there))])
    try:
        with node.open(Protocol.ROUTE) as inside:
            index = links.read(inside.request(links.find(UPLINK))[0]).index
            inside.perform(list(_inside(index, wiring.sides)))
        here = links.read(machine.request(links.find(wiring.link))[0]).index
        machine.perform(list(_outside(here, wiring.sides)))
        for setting in FORWARDING[: 1 if all(side.node.version == 4 for side in wiring.sides) else 2]:
            node.set(setting, "1")
    except BaseException:
        remove(machine, wiring)
        raise


def remove(machine: Netlink, wiring: Wiring) -> None:
    """Leaves the machine as it was."""
    with suppress(ObjectMissing):
        machine.perform([links.delete(wiring.link)])


def _inside(index: int, sides: Iterable[Side]) -> Iterator[Message]:
    yield links.switch(index, up=True)
    for side in sides:
        yield routes.add(_alone(index, side.node))
        yield routes.add(Route(ip_network(side.machine), index))
        for found in side.own:
            local = Route(found, LOOPBACK, kind=RouteKind.LOCAL, table=Table.LOCAL, source=side.node)
            yield routes.add(local)


def _outside(index: int, sides: Iterable[Side]) -> Iterator[Message]:
    yield links.switch(index, up=True)
    for side in sides:
        yield routes.add(_alone(index, side.machine))
        yield routes.add(Route(ip_network(side.node), index))
        for found in side.beyond:
            yield routes.add(Route(found, index, side.node, source=side.machine))


def _alone(index: int, address: IP) -> Address:
    """An address without a network around it; of IPv6 it is usable at once, because nobody else is on the link."""
    return Address(index, ip_interface(address), without_dad=address.version == 6)


def _known(machine: Netlink, versions: Iterable[int]) -> Iterator[Route]:
    for version in sorted(versions):
        yield from filter(None, map(routes.read_route, machine.request(routes.dump_routes(version))))


def _meet(one: Range, other: routes.Network) -> bool:
    return one.version == other.version and one.overlaps(other)
