"""What a node in a network namespace of its own changes on the machine: one link, and routes over it. With ``border`` the
only room that changes anything there.

The kernel takes routes away with their link and a link with its other end, so that undoing is one message, also after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from ipaddress import ip_interface, ip_network
from typing import Final

import msgspec
from msgspec.structs import replace

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectMissing, UsageError
from pierhead.node.netns import LOOPBACK, NetworkNamespace
from pierhead.wire import links, routes
from pierhead.wire.links import UNKNOWN, Link
from pierhead.wire.netlink import Protocol
from pierhead.wire.routes import IP, Address, Route, RouteKind, Table

PREFIX: Final = "ph-"
"""How the machine's ends of such links are called, whichever region's they are."""
UPLINK: Final = "up0"
"""The node's end of the link."""

LINK_LOCAL: Final = ip_network("169.254.0.0/16")
"""No router passes these on (RFC 3927), least of all to what a cloud tells its machines there. In IPv6 the kernel sees to that itself."""
NOTE: Final = 255
"""Bytes that have room on a link."""
NOWHERE: Final = 0
"""The index of the link that an unreachable route leads to."""


class Side(msgspec.Struct, frozen=True):
    """One family of the link."""

    machine: IP
    """The machine's own address on it: whoever comes from there is inside."""
    node: IP
    own: tuple[Range, ...]
    """Addresses that the node takes for its own, so that its clients have a route to them, and those from elsewhere an answer."""
    beyond: tuple[Range, ...]
    """Everything that the machine reaches through the node: Services, pods, floating IPs."""
    elsewhere: tuple[Range, ...] = ()
    """What the node reaches through the machine: where endpoints may lie that are no pods of its own."""


class Wiring(msgspec.Struct, frozen=True):
    link: str
    """The machine's end, 15 bytes at most."""
    sides: tuple[Side, ...]
    whose: str = ""
    """The region's data directory; it stands on the link."""


def check(machine: Netlink, wiring: Wiring) -> None:
    """Raises:
    UsageError: the machine uses addresses already that the node is to have.
    """
    check_ranges(machine, wiring.link, taken(wiring))


def check_ranges(machine: Netlink, own: str, wanted: Sequence[Range]) -> None:
    """As ``check``, of these ranges alone. ``own``: the link whose routes are not the machine's.

    Raises:
        UsageError: the machine uses some of these addresses already.
    """
    there = {link.index: link for link in map(links.read, machine.request(links.dump()))}
    for route in _known(machine, {found.version for found in wanted}):
        link = there.get(route.index)
        hit = next((found for found in wanted if _meet(found, route.destination)), None)
        if hit and route.destination.prefixlen and not (link and link.name == own):
            place = f" ({link.name})" if link else ""
            raise UsageError(f"{hit} overlaps with this machine's route to {route.destination}{place}", _way_out(link))


def _way_out(link: Link | None) -> str:
    """``link``: the one that has the addresses."""
    if not link or not link.name.startswith(PREFIX):
        return "give the region ranges that are free here: --service-cidr, --pod-cidr, --floating-cidr"
    other = f"the one in {link.alias}" if link.alias else "the other"
    return (
        f"one region fits on a machine in this mode: end {other} (one that was killed: start it again first),"
        " or write: --network loopback"
    )


def lay(machine: Netlink, node: NetworkNamespace, wiring: Wiring, *, wholly: bool = True) -> None:
    """Connects the two. Of what an earlier run left under this name all that is right stays as it is, so that traffic over it goes on;
    what is missing is added, what is too much taken away. ``wholly``: a link that was not there before is not left behind without all
    that belongs to it.

    Raises:
        KernelError: the kernel refused a step; the others were done.
    """
    with node.open(Protocol.ROUTE) as inside:
        found = _ends(machine, inside, node, wiring.link)
        try:
            here, there = found or _connect(machine, inside, node, wiring.link)
            _bring(inside, {there, LOOPBACK, NOWHERE}, list(_inside(there, wiring.sides)))
            _bring(machine, {here}, list(_outside(here, wiring.sides)))
            machine.perform([links.set_master(here, 0)])
            if len(wiring.whose.encode()) <= NOTE:
                machine.perform([links.set_alias(here, wiring.whose)])
            for setting, value in _settings(wiring.sides):
                node.set(setting, value)
        except BaseException:
            if found is None and wholly:
                remove(machine, wiring.link)
            raise


def names(machine: Netlink) -> frozenset[str]:
    """Of all links of the machine."""
    return frozenset(links.read(message).name for message in machine.request(links.dump()))


def number(machine: Netlink, wiring: Wiring) -> int:
    """The index of the machine's end, another one each time that it is made.

    Raises:
        ObjectMissing: there is none.
    """
    return links.read(machine.request(links.find(wiring.link))[0]).index


def is_laid(machine: Netlink, node: NetworkNamespace, wiring: Wiring) -> bool:
    """Whether all of it is there.

    Raises:
        KernelError: it cannot be told.
    """
    with node.open(Protocol.ROUTE) as inside:
        found = _ends(machine, inside, node, wiring.link)
        if found is None:
            return False
        here, there = found
        if links.read(machine.request(links.find(here))[0]).master:
            return False
        return all(
            set(map(_key, wanted)) <= set(map(_key, _present(end, indexes)))
            for end, indexes, wanted in (
                (machine, {here}, _outside(here, wiring.sides)),
                (inside, {there, LOOPBACK, NOWHERE}, _inside(there, wiring.sides)),
            )
        )


def besides(machine: Netlink, wiring: Wiring) -> tuple[Range, ...]:
    """What a link that an earlier run left leads to, and this wiring knows nothing of."""
    here = {link.index for link in map(links.read, machine.request(links.dump())) if link.name == wiring.link}
    led = [found.destination for found in _present(machine, here) if isinstance(found, Route)]
    known = taken(wiring)
    return tuple(found for found in led if not any(_meet(one, found) for one in known))


def taken(wiring: Wiring) -> tuple[Range, ...]:
    """What it leads to, and its own ends."""
    return tuple(
        found for side in wiring.sides for found in (*side.beyond, ip_network(side.node), ip_network(side.machine))
    )


def leading(machine: Netlink, node: NetworkNamespace) -> list[str]:
    """The names of the machine's links that lead there."""
    found = [
        links.read(message) for message in machine.request(links.dump())
    ]  # which numbers the namespaces at other ends
    with node.opened() as file:
        number = links.read_namespace(machine.request(links.find_namespace(file))[0])
    return [link.name for link in found if link.name.startswith(PREFIX) and link.peer_namespace == number != UNKNOWN]


def remove(machine: Netlink, link: str) -> None:
    """Leaves the machine as it was."""
    with suppress(ObjectMissing):
        machine.perform([links.delete(link)])


def _ends(machine: Netlink, inside: Netlink, node: NetworkNamespace, name: str) -> tuple[int, int] | None:
    """The indexes of the link here and in the node; None: there is none that leads from here to there."""
    try:
        here, there = (links.read(end.request(links.find(of))[0]) for end, of in ((machine, name), (inside, UPLINK)))
    except ObjectMissing:
        return None
    with node.opened() as file:
        number = links.read_namespace(machine.request(links.find_namespace(file))[0])
    is_pair = (here.peer, here.peer_namespace, there.peer) == (there.index, number, here.index)
    return (here.index, there.index) if is_pair else None


def _connect(machine: Netlink, inside: Netlink, node: NetworkNamespace, name: str) -> tuple[int, int]:
    """As `_ends`, of a link that is new."""
    for end, of in ((machine, name), (inside, UPLINK)):
        with suppress(ObjectMissing):
            end.perform([links.delete(of)])
    with node.opened() as there:
        machine.perform([links.add_veth(links.End(name), links.End(UPLINK, there))])
    found = links.read(machine.request(links.find(name))[0])
    return found.index, found.peer


def _bring(end: Netlink, indexes: Set[int], wanted: Sequence[Address | Route]) -> None:
    """Makes it that links with these indexes have exactly the addresses and routes that are wanted. What is too much goes last, so that
    an address which is led by another route from now on is led all the time, but for what is in the way of a new one."""
    there = {_key(found): found for found in _present(end, indexes)}
    missing = [found for found in wanted if _key(found) not in there]
    surplus = [there[key] for key in there.keys() - set(map(_key, wanted))]
    taken = set(map(_place, missing))
    end.perform([routes.delete(found) for found in surplus if _place(found) in taken], forgiving=(ObjectMissing,))
    end.perform([links.switch(index, up=True) for index in indexes - {NOWHERE}])
    end.perform([routes.add(found) for found in missing])
    end.perform([routes.delete(found) for found in surplus if _place(found) not in taken], forgiving=(ObjectMissing,))


def _present(end: Netlink, indexes: Set[int]) -> Iterator[Address | Route]:
    """What somebody gave them; not what the kernel made of it, nor the addresses of lo."""
    for found in map(routes.read_address, end.request(routes.dump_addresses())):
        if found.index in indexes - {LOOPBACK} and not found.interface.is_link_local:
            yield found
    one = next(iter(indexes)) if len(indexes) == 1 else 0  # a machine may have a million routes
    for route in _known(end, (4, 6), one):
        if route.index in indexes and route.protocol == routes.STATIC:
            yield route


def _key(found: Address | Route) -> Address | Route:
    """Without what the kernel reports otherwise than it was told."""
    if isinstance(found, Address):
        return replace(found, without_dad=False)
    return replace(found, metric=0, index=NOWHERE if found.kind is RouteKind.UNREACHABLE else found.index)


def _place(found: Address | Route) -> tuple[object, int]:
    """Where there is room for one only."""
    return (found.destination, found.table) if isinstance(found, Route) else (found.interface, found.index)


def _inside(index: int, sides: Iterable[Side]) -> Iterator[Address | Route]:
    for side in sides:
        yield _alone(index, side.node)
        yield Route(ip_network(side.machine), index)
        for found in side.own:
            yield Route(found, LOOPBACK, kind=RouteKind.LOCAL, table=Table.LOCAL, source=side.node)
        for found in side.beyond:
            if found not in side.own:  # what nobody has is not to go back to the machine, which sends it here
                yield Route(found, NOWHERE, kind=RouteKind.UNREACHABLE)
        if any(_meet(LINK_LOCAL, found) for found in side.elsewhere):
            yield Route(LINK_LOCAL, NOWHERE, kind=RouteKind.UNREACHABLE)
        for found in side.elsewhere:
            if found != ip_network(side.machine) and not found.is_link_local:
                yield Route(found, index, side.machine, source=side.node)


def _outside(index: int, sides: Iterable[Side]) -> Iterator[Address | Route]:
    for side in sides:
        yield _alone(index, side.machine)
        yield Route(ip_network(side.node), index)
        for found in side.beyond:
            yield Route(found, index, side.node, source=side.machine)


def _settings(sides: Iterable[Side]) -> Iterator[tuple[str, str]]:
    """Of the node's namespace. What comes from the machine and goes back to it is on its way: there is no shorter one to tell of."""
    versions = {side.node.version for side in sides}
    if 4 in versions:
        yield "net/ipv4/ip_forward", "1"
        yield "net/ipv4/conf/all/send_redirects", "0"
        yield f"net/ipv4/conf/{UPLINK}/send_redirects", "0"
    if 6 in versions:
        yield "net/ipv6/conf/all/forwarding", "1"


def _alone(index: int, address: IP) -> Address:
    """An address without a network around it; of IPv6 it is usable at once, because nobody else is on the link."""
    return Address(index, ip_interface(address), without_dad=address.version == 6)


def _known(machine: Netlink, versions: Iterable[int], index: int = 0) -> Iterator[Route]:
    for version in sorted(versions):
        yield from filter(None, map(routes.read_route, machine.request(routes.dump_routes(version, index))))


def _meet(one: Range, other: routes.Network) -> bool:
    return one.version == other.version and one.overlaps(other)
