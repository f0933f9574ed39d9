"""Whoever listens on a node at all its addresses, as sshd does, is reached at the node's own and at no other: not at those of Services,
assigned or not, not at floating IPs, not at those of pods. And nobody outside reaches what is inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import product
from random import Random
from typing import Final, NamedTuple

from msgspec.structs import replace

from kernel.packets.conftest import Recorded
from kernel.packets.objects import PODS, RANGES, Objects, Tree
from kernel.packets.playing import QUIET
from kernel.packets.probes import Call, Met, meet
from kernel.packets.proxying import Proxy
from kernel.packets.servers import Listener, Servers
from kernel.packets.topology import ADDRESSES, Topology
from pierhead.api.network import Network, Range
from pierhead.forwarding.nftlayout import Ground
from pierhead.wire.nftables import Family

CLIENTS: Final = ("pod-a1", "pod-b1", "node-a", "outside")
LISTENED: Final = (22, 80, 30080)
"""Where node-a listens at all its addresses; two of them are ports of the Service as well."""
CLUSTER_IPS: Final = ("10.96.1.1", "fd00:10:96::101")
FLOATING: Final = ("203.0.113.10", "2001:db8:113::10")
FLOATING_RANGES: Final = tuple(map(ip_network, ("203.0.113.0/28", "2001:db8:113::/120")))
SERVICE_RANGES: Final = tuple(map(ip_network, RANGES))
AT_ONCE: Final = 150


class Target(NamedTuple):
    client: str
    protocol: str
    address: str
    port: int


class Closed(Objects):
    """On a node whose uplink is known, and which holds floating IPs."""

    def ground(self, network: Network, family: Family) -> Ground:
        found = super().ground(network, family)
        return replace(found, uplinks=("eth0",), sole=True, peers=tuple(of(found.six, NODE_B)))


NODE_B: Final = tuple(map(ip_network, (*ADDRESSES["node-b"], "10.244.2.0/24", "fd00:10:244:2::/64")))


def of(six: bool, ranges: Iterable[Range]) -> Iterator[Range]:
    return (found for found in ranges if (found.version == 6) == six)


def service() -> Tree:
    """A Service in both families, reachable every way there is, and one of its endpoints is here."""
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}]
    return {
        "kind": "Service", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"type": "LoadBalancer", "clusterIP": CLUSTER_IPS[0], "clusterIPs": CLUSTER_IPS, "ports": ports},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in FLOATING]}},
    }  # fmt: skip


def endpoints(number: int, family: str) -> Tree:
    ready = [{"addresses": [ADDRESSES["pod-a2"][number]], "nodeName": "node-a", "conditions": {"ready": True}}]
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "kind": "EndpointSlice", "metadata": {"namespace": "default", "name": f"web-{number}", "labels": labels},
        "addressType": family, "ports": [{"name": "http", "port": 8080}], "endpoints": ready,
    }  # fmt: skip


@asynccontextmanager
async def programmed(network: Topology) -> AsyncIterator[None]:
    """The Service is served, the node takes addresses of Services and floating IPs for its own, and listens at all of them."""
    routes = [f"local {found} dev lo" for found in (*SERVICE_RANGES, *FLOATING_RANGES)]
    slices = [endpoints(number, family) for number, family in enumerate(("IPv4", "IPv6"))]
    proxy, servers = Proxy(network, Closed({"objects": {"all": [service(), *slices]}})), Servers()
    for route in routes:
        network.route("node-a", route)
    try:
        await servers.start(network, (Listener("node-a", "::", port) for port in LISTENED))
        await proxy.start()
        yield
    finally:
        proxy.clear()
        await servers.close()
        for route in routes:
            network.route("node-a", route, add=False)


async def met(network: Topology, targets: Iterable[Target]) -> dict[Target, Met]:
    async def one(target: Target) -> Met:
        call = Call(network.host(target.client).sockets, target.protocol, target.address)
        return await meet(call, target.port, QUIET)

    asked, found = list(targets), list[Met]()
    while len(found) < len(asked):
        found += await asyncio.gather(*map(one, asked[len(found) : len(found) + AT_ONCE]))
    return dict(zip(asked, found, strict=True))


def everywhere(addresses: Iterable[str]) -> Iterator[Target]:
    return (Target(*found) for found in product(CLIENTS, ("TCP", "UDP"), addresses, LISTENED))


def sampled(ranges: Iterable[Range], count: int) -> list[str]:
    dice = Random(10)
    return [str(found[dice.randrange(1, found.num_addresses)]) for found in ranges for _ in range(count)]


def test_no_address_but_the_nodes_own_leads_to_its_listeners(recorded: Recorded) -> None:
    inside = [*CLUSTER_IPS, *sampled(SERVICE_RANGES, 5), *ADDRESSES["pod-a1"]]
    elsewhere = [*sampled(PODS, 4), *ADDRESSES["pod-b1"], *FLOATING, *sampled(FLOATING_RANGES, 3)]

    async def scenario() -> None:
        async with programmed(recorded.network):
            found = await met(recorded.network, everywhere((*inside, *elsewhere)))
            assert not [target for target, what in found.items() if what.by == "node-a"]
            from_outside = {target: what for target, what in found.items() if target.client == "outside"}
            assert {what.outcome for target, what in from_outside.items() if target.address in inside} == {"timeout"}
            served = {target[:3] for target, what in found.items() if what.by == "pod-a2"}
            assert served >= {(client, "TCP", address) for client in CLIENTS for address in FLOATING}
            assert served >= {(client, "TCP", address) for client in ("pod-a1", "node-a") for address in CLUSTER_IPS}

    recorded.runner.run(scenario())


def test_the_nodes_own_addresses_lead_to_its_listeners_but_for_node_ports(recorded: Recorded) -> None:
    async def scenario() -> None:
        async with programmed(recorded.network):
            found = await met(recorded.network, everywhere(ADDRESSES["node-a"]))
            for target, what in found.items():
                assert what.by == ("pod-a2" if target[1::2] == ("TCP", 30080) else "node-a"), (target, what)

    recorded.runner.run(scenario())
