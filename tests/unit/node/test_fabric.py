"""Who is on a lab's fabric, and which way leads to whom."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.network import Range
from pierhead.node import fabric
from pierhead.region import lab
from pierhead.region.placement import numbered

SERVICES, FLOATING = ip_network("10.96.0.0/16"), ip_network("10.99.0.0/24")
COUNTS = st.integers(1, fabric.MOST_NODES)


def parts(count: int) -> dict[str, Range]:
    return {node.name: node.pod_range for node in numbered(lab.network(), ["z"] * count)}


@given(COUNTS)
def test_each_node_reaches_the_pods_of_each_other_by_its_address(count: int) -> None:
    pods = parts(count)
    found = fabric.nodes(pods, (SERVICES, FLOATING))
    for name, port in found.items():
        others = {pods[other]: found[other].address for other in pods if other != name}
        assert port.routes == others
        assert port.own == (SERVICES, FLOATING)
        assert port.forwards


@given(COUNTS)
def test_everybody_has_an_address_of_the_fabric_and_nobody_two(count: int) -> None:
    ports = [*fabric.nodes(parts(count), ()).values(), fabric.outside(())]
    addresses = [port.address for port in ports]
    assert len({*addresses, fabric.ROOT}) == len(addresses) + 1
    assert all(address in fabric.RANGE for address in addresses)
    assert all(len(port.link) <= 15 for port in ports)


def test_the_host_outside_takes_the_first_node_for_the_way_to_everything_and_forwards_nothing() -> None:
    found = fabric.outside((SERVICES, FLOATING))
    assert found.routes == {SERVICES: fabric.node_address(0), FLOATING: fabric.node_address(0)}
    assert (found.own, found.forwards) == ((), False)


def test_pods_nodes_and_the_lab_are_no_strangers_and_the_host_outside_is_one() -> None:
    pods = (ip_network("10.244.0.0/16"),)
    known = fabric.peers(pods, 3)
    inside = ["10.244.3.4", "192.168.100.1", *(str(fabric.node_address(number)) for number in range(3))]
    assert all(any(ip_address(found) in peer for peer in known) for found in inside)
    assert not any(fabric.STRANGER in peer or fabric.node_address(3) in peer for peer in known)
