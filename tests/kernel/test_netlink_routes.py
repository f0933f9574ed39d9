"""Links, addresses, routes, rules and neighbours: what is made is there, as it was meant, and can be taken away."""

from __future__ import annotations

import os
from contextlib import nullcontext
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from namespaces import Namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectExists, ObjectMissing
from pierhead.wire import links, routes
from pierhead.wire.links import UNKNOWN, End
from pierhead.wire.netlink import Protocol
from pierhead.wire.routes import Address, Neighbour, Route, RouteKind, Rule, Table

MAC = bytes.fromhex("02005e000001")
ONE = 3
"""The index of the veth end ``one``: lo is 1, and of a pair the far end is made first."""


@pytest.fixture
def kernel(namespace: Namespace) -> Netlink:
    """With a veth pair in it, both ends here and on; ``one`` has addresses."""
    found = namespace.open(Protocol.ROUTE)
    found.perform([links.add_veth(End("one", address=MAC, mtu=1400), End("two")), links.add_bridge("bridge")])
    found.perform([links.switch(name, up=True) for name in ("one", "two", "bridge")])
    assert links.read(found.request(links.find(ONE))[0]).name == "one"
    found.perform([routes.add(Address(ONE, ip_interface("10.9.0.1/24")))])
    found.perform([routes.add(Address(ONE, ip_interface("fd00:9::1/64"), without_dad=True))])
    return found


def link(kernel: Netlink, which: links.Which) -> links.Link:
    return links.read(kernel.request(links.find(which))[0])


def test_both_ends_of_a_pair_know_each_other(kernel: Netlink) -> None:
    one, two = link(kernel, "one"), link(kernel, "two")
    assert (one.peer, two.peer) == (two.index, one.index)
    assert (one.kind, one.mtu, one.address, one.up, one.carrier) == ("veth", 1400, MAC, True, True)
    assert one.peer_namespace == UNKNOWN
    assert link(kernel, one.index) == one


def test_a_link_is_switched_sized_and_joined(namespace: Namespace, kernel: Netlink) -> None:
    bridge = link(kernel, "bridge").index
    kernel.perform([links.set_master("two", bridge), links.set_mtu("two", 1300), links.switch("two", up=False)])
    two = link(kernel, "two")
    assert (two.master, two.mtu, two.up) == (bridge, 1300, False)
    assert "master bridge" in namespace.run("ip", "link", "show", "two")
    kernel.perform([links.set_master("two", 0)])
    assert link(kernel, "two").master == 0


def test_a_pair_reaches_into_another_namespace(namespace: Namespace, kernel: Netlink) -> None:
    with namespace.another() as other:
        far = os.open(other.file, os.O_RDONLY)
        try:
            kernel.perform([links.add_veth(End("here"), End("eth0", far)), links.switch("here", up=True)])
            kernel.perform([links.number_namespace(far)], forgiving=(ObjectExists,))
            number = links.read_namespace(kernel.request(links.find_namespace(far))[0])
        finally:
            os.close(far)
        inside = other.open(Protocol.ROUTE)
        inside.perform([links.switch("eth0", up=True)])
        here, there = link(kernel, "here"), link(inside, "eth0")
        assert (there.index, there.carrier) == (here.peer, True)
        assert here.peer_namespace == number >= 0
        kernel.perform([links.delete("here")])
        with pytest.raises(ObjectMissing):
            link(inside, "eth0")


def test_a_link_is_moved_into_another_namespace(namespace: Namespace, kernel: Netlink) -> None:
    with namespace.another() as other:
        far = os.open(other.file, os.O_RDONLY)
        try:
            assert links.read_namespace(kernel.request(links.find_namespace(far))[0]) == UNKNOWN
            kernel.perform([links.move("two", far)])
        finally:
            os.close(far)
        assert not link(other.open(Protocol.ROUTE), "two").up
        with pytest.raises(ObjectMissing):
            link(kernel, "two")


@pytest.mark.parametrize(
    "what",
    [
        Address(ONE, ip_interface("10.9.1.1/16")),
        Address(ONE, ip_interface("10.9.1.2/32"), without_route=True),
        Address(1, ip_interface("127.9.0.1/8")),
        Address(ONE, ip_interface("fd00:9::2/128"), without_dad=True, without_route=True),
        Route(ip_network("10.96.0.0/16"), 1, kind=RouteKind.LOCAL, table=Table.LOCAL, source=ip_address("10.9.0.1")),
        Route(ip_network("fd00:96::/112"), 1, kind=RouteKind.LOCAL, table=Table.LOCAL, metric=7, protocol=99),
        Route(ip_network("10.20.0.0/16"), ONE, ip_address("10.9.0.2")),
        Route(ip_network("10.21.0.0/16"), ONE, ip_address("192.0.2.1"), onlink=True, metric=5, protocol=99),
        Route(ip_network("0.0.0.0/0"), ONE, ip_address("10.9.0.2"), table=1000),
        Route(ip_network("fd00:20::/64"), ONE, ip_address("fd00:9::2"), metric=1024),
        Route(ip_network("::/0"), ONE, metric=1024),
        Route(ip_network("10.22.0.0/16"), ONE),
        Route(ip_network("10.23.0.0/16"), kind=RouteKind.UNREACHABLE),
        Route(ip_network("10.24.0.0/16"), kind=RouteKind.BLACKHOLE),
        Rule(4, 100, 1000, ip_network("10.96.0.0/16")),
        Rule(6, 101, 100, destination=ip_network("fd00:96::/112"), link="one"),
        Rule(4, 102, 100, mark=0x100000, mask=0xFFF00000),
        Neighbour(ONE, ip_address("10.9.0.3"), MAC),
        Neighbour(ONE, ip_address("10.9.0.4"), proxy=True),
        Neighbour(ONE, ip_address("fd00:9::4"), proxy=True),
    ],
    ids=str,
)
def test_what_is_made_is_read_and_taken_away(kernel: Netlink, what: routes.Anything) -> None:
    assert what not in held(kernel, what)
    kernel.perform([routes.add(what)])
    assert what in held(kernel, what)
    with pytest.raises(ObjectExists) if exclusive(what) else nullcontext():
        kernel.perform([routes.add(what)])
    if not isinstance(what, Rule):
        kernel.perform([routes.put(what)])
    kernel.perform([routes.delete(what)])
    assert what not in held(kernel, what)
    with pytest.raises(ObjectMissing):
        kernel.perform([routes.delete(what)])


def exclusive(what: routes.Anything) -> bool:
    """The kernel minds a second one, except of proxies."""
    return not (isinstance(what, Neighbour) and what.proxy)


def held(kernel: Netlink, like: routes.Anything) -> list[routes.Anything]:
    """All of the kernel's that are of the kind of ``like``."""
    match like:
        case Address():
            return [routes.read_address(found) for found in kernel.request(routes.dump_addresses())]
        case Route():
            version = like.destination.version
            found = [routes.read_route(answer) for answer in kernel.request(routes.dump_routes(version))]
            return [route for route in found if route]
        case Rule():
            return [routes.read_rule(found) for found in kernel.request(routes.dump_rules(like.version))]
        case Neighbour():
            asked = routes.dump_neighbours(like.address.version, proxy=like.proxy)
            return [routes.read_neighbour(found) for found in kernel.request(asked)]


def test_ip_shows_them(namespace: Namespace, kernel: Netlink) -> None:
    anyip = Route(ip_network("10.96.0.0/16"), 1, kind=RouteKind.LOCAL, table=Table.LOCAL)
    kernel.perform([routes.add(anyip), routes.add(Route(ip_network("10.20.0.0/16"), ONE, ip_address("10.9.0.2")))])
    kernel.perform([routes.add(Neighbour(ONE, ip_address("10.9.0.4"), proxy=True))])
    assert "local 10.96.0.0/16 dev lo proto static scope host" in namespace.run("ip", "route", "show", "table", "local")
    assert "10.20.0.0/16 via 10.9.0.2 dev one proto static" in namespace.run("ip", "route")
    assert namespace.run("ip", "neighbour", "show", "proxy").split()[:3] == ["10.9.0.4", "dev", "one"]
