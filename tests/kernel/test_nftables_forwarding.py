"""Packets that pass through a node: pods on links of their own, and a host outside; both families."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from inkernel import Sockets, sockets_of
from namespaces import Namespace
from pierhead.dataplane.nftables import Nftables
from pierhead.forwarding.diff import whole
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName
from pierhead.wire.nftables import Family

PATIENCE = 1.5
"""Seconds for an answer. A refusal that comes while the client is still within connect() counts only when its second attempt is
refused, a second later."""


@dataclass(frozen=True)
class Plan:
    """The addresses of one family."""

    ground: Ground
    family: socket.AddressFamily
    bits: int
    pods: tuple[str, str]
    outside: str
    cluster_ip: str
    floating: str

    @property
    def node(self) -> str:
        return self.ground.nodes[0]

    def table(self) -> ForwardingTable:
        """A Service with a cluster IP, a floating IP and a node port, and its first pod behind it."""
        key = PortKey(ServiceName("default", "web"), "http", "TCP", "IPv6" if self.ground.six else "IPv4")
        endpoints = (Endpoint(self.pods[0], 8080, local=True),)
        anywhere = "::" if self.ground.six else "0.0.0.0"
        rules = {
            Frontend("TCP", self.cluster_ip, 80): Rule(key, "cluster", "Cluster"),
            Frontend("TCP", self.floating, 80): Rule(key, "external", "Cluster"),
            Frontend("TCP", self.floating, 81): Rule(key, "external", "Local"),
            Frontend("TCP", anywhere, 30080): Rule(key, "node", "Cluster"),
        }
        return ForwardingTable(rules, {key: Backends(endpoints, endpoints, endpoints)})


FOUR = Plan(
    Ground(Family.IP, "uid", ("192.168.100.11",), (ip_network("10.96.0.0/16"),), (ip_network("10.244.0.0/16"),),
           ("up0",), sole=True),
    socket.AF_INET, 32, ("10.244.1.11", "10.244.1.12"), "192.168.100.100", "10.96.1.1", "203.0.113.10",
)  # fmt: skip
SIX = Plan(
    Ground(Family.IP6, "uid", ("fd00:100::11",), (ip_network("fd00:10:96::/112"),), (ip_network("fd00:10:244::/48"),),
           ("up0",), sole=True),
    socket.AF_INET6, 128, ("fd00:10:244:1::11", "fd00:10:244:1::12"), "fd00:100::100", "fd00:10:96::101", "2001:db8:113::10",
)  # fmt: skip
PLANS = pytest.mark.parametrize("plan", [FOUR, SIX], ids=["IPv4", "IPv6"])


class Lab:
    """A node, two pods and a host outside."""

    def __init__(self, plan: Plan, places: dict[str, Sockets], dataplane: Nftables, outside: Namespace) -> None:
        self.plan, self.places, self.dataplane, self.outside = plan, places, dataplane, outside

    async def ask(self, place: str, address: str, port: int) -> str:
        """Whom a server sees as its client; ``refused`` or ``dropped``."""
        loop = asyncio.get_running_loop()
        with self.places[place].make(socket.SOCK_STREAM, self.plan.family) as found:
            try:
                async with asyncio.timeout(PATIENCE):
                    await loop.sock_connect(found, (address, port))
                    return (await loop.sock_recv(found, 100)).decode()
            except TimeoutError:
                return "dropped"
            except OSError:
                return "refused"


@asynccontextmanager
async def lab(node: Namespace, plan: Plan) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        node.run(
            "sysctl",
            "-qw",
            "net.ipv4.ip_forward=1",
            "net.ipv6.icmp.ratelimit=0",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.accept_dad=0",
        )
        places = {"node": stack.enter_context(sockets_of(node))}
        others = {"pod1": plan.pods[0], "pod2": plan.pods[1], "outside": plan.outside}
        for name, address in others.items():
            there = stack.enter_context(node.another())  # the last one is outside
            attach(node, there, plan, "up0" if name == "outside" else name, address)
            places[name] = stack.enter_context(sockets_of(there))
        node.run("ip", "route", "add", "local", str(plan.ground.services[0]), "dev", "lo", "src", plan.node)
        node.run("ip", "route", "add", "local", f"{plan.floating}/{plan.bits}", "dev", "lo")
        for name in ("pod1", "pod2"):
            await stack.enter_async_context(telling(places[name], plan, others[name], 8080))
        await stack.enter_async_context(telling(places["node"], plan, "::" if plan.bits == 128 else "0.0.0.0", 22))
        dataplane = Nftables([plan.ground], node.open())
        await dataplane.commit(whole(plan.table()))
        yield Lab(plan, places, dataplane, there)


def attach(node: Namespace, there: Namespace, plan: Plan, link: str, address: str) -> None:
    """A link to another namespace: over it that one reaches everything, and the node reaches its one address."""
    six = plan.family == socket.AF_INET6
    whole, quick = f"/{plan.bits}", ("nodad",) if six else ()
    node.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", there.prefix[-1])
    node.run("ip", "link", "set", link, "up")
    there.run("ip", "link", "set", "eth0", "up")
    there.run("ip", "address", "add", address + whole, "dev", "eth0", *quick)
    if link == "up0":
        node.run("ip", "address", "add", plan.node + whole, "dev", link, *quick)
    gateway = plan.node
    if six:  # an address on another link is nobody's neighbour in IPv6
        gateway = "fe80::1"
        node.run("ip", "address", "add", "fe80::1/64", "dev", link, "nodad")
    node.run("ip", "route", "add", address + whole, "dev", link)
    there.run("ip", *(["-6"] if six else []), "route", "add", "default", "via", gateway, "dev", "eth0", "onlink")


@asynccontextmanager
async def telling(sockets: Sockets, plan: Plan, address: str, port: int) -> AsyncIterator[None]:
    """A server that tells each client how it is seen."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                writer.write(str(writer.get_extra_info("peername")[0]).encode())
                await writer.drain()
        finally:
            writer.close()

    listening = sockets.make(socket.SOCK_STREAM, plan.family)
    listening.bind((address, port))
    server = await asyncio.start_server(serve, sock=listening)
    try:
        yield
    finally:
        server.close()


def play(node: Namespace, plan: Plan, scenario: Callable[[Lab], Awaitable[None]]) -> None:
    async def run() -> None:
        async with lab(node, plan) as found:
            await scenario(found)

    asyncio.run(run())


@PLANS
def test_who_is_seen_by_the_endpoint(namespace: Namespace, plan: Plan) -> None:
    async def scenario(lab: Lab) -> None:
        assert await lab.ask("pod2", plan.cluster_ip, 80) == plan.pods[1]
        assert await lab.ask("pod1", plan.cluster_ip, 80) == plan.node, "itself, through the Service"
        assert await lab.ask("node", plan.cluster_ip, 80) == plan.node
        assert await lab.ask("outside", plan.floating, 80) == plan.node
        assert await lab.ask("outside", plan.floating, 81) == plan.outside, "policy Local"
        assert await lab.ask("outside", plan.node, 30080) == plan.node

    play(namespace, plan, scenario)


@PLANS
def test_only_reachable_from_within(namespace: Namespace, plan: Plan) -> None:
    async def scenario(lab: Lab) -> None:
        assert await lab.ask("outside", plan.cluster_ip, 80) == "dropped"
        assert await lab.ask("outside", plan.pods[0], 8080) == "dropped"
        assert await lab.ask("outside", plan.node, 22) == plan.outside

    play(namespace, plan, scenario)


@PLANS
def test_nobody_outside_is_told_where_cluster_ips_are(namespace: Namespace, plan: Plan) -> None:
    unassigned = str(plan.ground.services[0][77])

    async def scenario(lab: Lab) -> None:
        """Who has a route to the segment itself asks all its hosts by ARP or NDP."""
        version = "ipv4" if plan.bits == 32 else "ipv6"
        lab.outside.run("sysctl", "-qw", f"net.{version}.neigh.eth0.retrans_time_ms=50")
        for address, told in ((plan.node, True), (plan.cluster_ip, False), (unassigned, False)):
            lab.outside.run("ip", "route", "replace", f"{address}/{plan.bits}", "dev", "eth0")
            await lab.ask("outside", address, 80)
            assert ("lladdr" in lab.outside.run("ip", "neighbour", "show", address)) == told, address

    play(namespace, plan, scenario)


@PLANS
def test_no_listener_of_the_node_is_reached_through_addresses_of_services(namespace: Namespace, plan: Plan) -> None:
    unassigned = str(plan.ground.services[0][77])

    async def scenario(lab: Lab) -> None:
        for place in ("pod2", "node", "outside"):
            for address in (plan.cluster_ip, unassigned, plan.floating):
                assert await lab.ask(place, address, 22) in ("refused", "dropped"), (place, address)

    play(namespace, plan, scenario)


@PLANS
def test_what_is_refused_and_what_is_silence(namespace: Namespace, plan: Plan) -> None:
    unassigned = str(plan.ground.services[0][77])

    async def scenario(lab: Lab) -> None:
        for place in ("pod2", "node"):
            assert await lab.ask(place, plan.cluster_ip, 22) == "refused"
            assert await lab.ask(place, unassigned, 22) == "dropped"
        for place in ("pod2", "node", "outside"):
            assert await lab.ask(place, plan.floating, 22) == "refused"

    play(namespace, plan, scenario)


@PLANS
def test_whole_tables_are_written_again_under_traffic_without_a_loss(namespace: Namespace, plan: Plan) -> None:
    async def scenario(lab: Lab) -> None:
        async def rewrite() -> None:
            for _ in range(40):
                await lab.dataplane.commit(whole(plan.table()))
                await asyncio.sleep(0.005)

        writing = asyncio.create_task(rewrite())
        seen = set()
        while not writing.done():
            seen.add(await lab.ask("pod2", plan.cluster_ip, 80))
        await writing
        assert seen == {plan.pods[1]}

    play(namespace, plan, scenario)
