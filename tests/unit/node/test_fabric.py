"""Who is on a lab's fabric, and which way leads to whom."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.network import Range
from pierhead.node import fabric
from pierhead.region import lab
from pierhead.region.placement import numbered

SERVICES, FLOATING = ip_network("10.96.0.0/16"), ip_network("10.99.0.0/24")
SIX = ip_network("fd00:10:96::/112")
OWN = (SERVICES, SIX, FLOATING)
COUNTS = st.integers(1, fabric.MOST_NODES)


def parts(count: int) -> dict[str, Sequence[Range]]:
    return {node.name: node.pod_ranges for node in numbered(lab.network(), ["z"] * count)}


@given(COUNTS)
def test_each_node_reaches_the_pods_of_each_other_by_its_address(count: int) -> None:
    pods = parts(count)
    found = fabric.nodes(pods, OWN)
    for name, port in found.items():
        others = [other for other in pods if other != name]
        assert port.routes == {
            part: address for other in others for part, address in zip(pods[other], found[other].addresses, strict=True)
        }
        assert all(part.version == address.version for part, address in port.routes.items())
        assert port.own == OWN
        assert port.forwards


@given(COUNTS)
def test_everybody_has_an_address_of_the_fabric_and_nobody_two(count: int) -> None:
    ports = [*fabric.nodes(parts(count), OWN).values(), fabric.outside(OWN)]
    addresses = [address for port in ports for address in port.addresses]
    assert len({*addresses, *fabric.ROOT.values()}) == len(addresses) + 2
    assert all(address in fabric.RANGES[address.version] for address in addresses)
    assert all(len(port.link) <= 15 for port in ports)


def test_the_host_outside_takes_the_first_node_for_the_way_to_everything_and_forwards_nothing() -> None:
    found, first = fabric.outside(OWN), fabric.node(0)
    assert found.routes == {SERVICES: first[4], SIX: first[6], FLOATING: first[4]}
    assert (found.own, found.forwards) == ((), False)


def test_pods_nodes_and_the_lab_are_no_strangers_and_the_host_outside_is_one() -> None:
    pods = (ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/112"))
    for version, pod in ((4, "10.244.3.4"), (6, "fd00:10:244::304")):
        known = fabric.peers(pods, 3, version)
        inside = [ip_address(pod), fabric.ROOT[version], *(fabric.node(number)[version] for number in range(3))]
        assert all(any(found in peer for peer in known) for found in inside)
        assert not any(fabric.STRANGER[version] in peer or fabric.node(3)[version] in peer for peer in known)


@given(COUNTS)
def test_however_many_they_are_few_ranges_say_who_they_are(count: int) -> None:
    known = fabric.peers((ip_network("10.244.0.0/16"),), count, 4)
    assert len(known) <= 20
    assert sum(found.num_addresses for found in known) == 2**16 + 1 + count


def test_a_machine_without_ipv6_has_a_lab_without_it() -> None:
    network = lab.network((4,))
    pods = {node.name: node.pod_ranges for node in numbered(network, "ab")}
    ports = [*fabric.nodes(pods, network.service_ranges).values(), fabric.outside(network.service_ranges)]
    assert {address.version for port in ports for address in port.addresses} == {4}
    assert network.node_addresses == ("192.168.100.11",)
    assert network.machine_addresses == ("192.168.100.1",)
