"""Flows: what the kernel tracks is read, one protocol at a time, and one entry is ended without touching the next."""

from __future__ import annotations

import socket

import pytest

from namespaces import Namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectMissing
from pierhead.wire import conntrack
from pierhead.wire.expressions import Status
from pierhead.wire.nftables import Family

UDP, TCP = 17, 6
TALK = """
import socket
for family, lo in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    there = socket.socket(family, socket.SOCK_DGRAM)
    there.bind((lo, 5353))
    for port in (4001, 4002):
        here = socket.socket(family, socket.SOCK_DGRAM)
        here.bind((lo, port))
        here.sendto(b"x", ("10.96.0.1" if family == socket.AF_INET else lo, 5353))
with socket.create_server(("127.0.0.1", 80)) as server:
    socket.create_connection(server.getsockname())
"""
RULES = """
table ip nat { chain out { type nat hook output priority -100; ip daddr 10.96.0.1 meta mark set 0x100001 ct mark set 7 dnat to 127.0.0.1; }; }
table ip6 nat { chain out { type filter hook output priority 0; ct state new accept; }; }
"""


@pytest.fixture
def kernel(namespace: Namespace) -> Netlink:
    namespace.run("ip", "route", "add", "local", "10.96.0.0/16", "dev", "lo")
    namespace.nft(RULES)
    namespace.run("python3", "-c", TALK)
    return namespace.open()


def flows(kernel: Netlink, family: Family, protocol: int | None = None) -> list[conntrack.Flow]:
    return [conntrack.read(found) for found in kernel.request(conntrack.dump(family, protocol))]


def test_a_translated_flow_has_the_service_in_one_tuple_and_the_endpoint_in_the_other(kernel: Netlink) -> None:
    service, endpoint = socket.inet_aton("10.96.0.1"), socket.inet_aton("127.0.0.1")
    found = {flow.original.source_port: flow for flow in flows(kernel, Family.IP, UDP)}
    assert set(found) == {4001, 4002}
    flow = found[4001]
    assert (flow.original.destination, flow.original.destination_port) == (service, 5353)
    assert (flow.reply.source, flow.reply.source_port, flow.reply.protocol) == (endpoint, 5353, UDP)
    assert flow.status & Status.DNAT
    assert flow.mark == 7


def test_one_protocol_or_all_of_them(kernel: Netlink) -> None:
    assert {flow.original.protocol for flow in flows(kernel, Family.IP)} == {UDP, TCP}
    assert {flow.original.protocol for flow in flows(kernel, Family.IP, TCP)} == {TCP}


def test_the_other_family(kernel: Netlink) -> None:
    loopback = socket.inet_pton(socket.AF_INET6, "::1")
    found = flows(kernel, Family.IP6, UDP)
    assert {flow.reply.source for flow in found} == {loopback}
    assert len(found) == 2


@pytest.mark.parametrize(("family", "address"), [(Family.IP, "10.96.0.1"), (Family.IP6, "::1")])
def test_only_those_to_one_address_and_port(kernel: Netlink, family: Family, address: str) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if family is Family.IP6 else socket.AF_INET, address)
    ports = [len(kernel.request(conntrack.dump(family, UDP, (packed, port)))) for port in (5353, 5354)]
    assert ports == [2, 0]
    others = kernel.request(conntrack.dump(family, UDP, (bytes(len(packed)), 5353)))
    assert len(others) == (0 if family is Family.IP else 2), "of IPv6 the port alone counts"


@pytest.mark.parametrize("family", [Family.IP, Family.IP6])
def test_one_flow_is_ended_and_only_that_one(kernel: Netlink, family: Family) -> None:
    first, second = flows(kernel, family, UDP)
    kernel.perform([conntrack.delete(family, first)])
    assert [flow.original for flow in flows(kernel, family, UDP)] == [second.original]
    with pytest.raises(ObjectMissing, match="flow"):
        kernel.perform([conntrack.delete(family, first)])


def test_another_entry_with_the_same_tuple_is_not_ended(kernel: Netlink) -> None:
    first = flows(kernel, Family.IP, UDP)[0]
    another = first._replace(name=first.name[:-4] + bytes(4))
    with pytest.raises(ObjectMissing):
        kernel.perform([conntrack.delete(Family.IP, another)])
    assert first.original in {flow.original for flow in flows(kernel, Family.IP, UDP)}


def test_many_are_ended_at_once(namespace: Namespace, kernel: Netlink) -> None:
    many = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    many += "for port in range(1, 3001): s.sendto(b'x', ('10.96.0.1', port))\n"
    namespace.run("python3", "-c", many)
    found = flows(kernel, Family.IP, UDP)
    assert len(found) == 3002
    kernel.perform([conntrack.delete(Family.IP, flow) for flow in found])
    assert flows(kernel, Family.IP, UDP) == []
