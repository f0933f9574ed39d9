"""Compiled nftables rules lead packets where the table says, however the table came to be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from compiled import INSIDE, Kernel
from forwarded import NODE, OUTSIDE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.forwarding.table import ForwardingTable
from pierhead.forwarding.trace import Packet, trace

POLICIES = st.sampled_from(["Cluster", "Local"])
ENDPOINTS = st.lists(
    st.builds(
        endpoint,
        st.integers(1, 5),
        node=st.sampled_from(["node-a", "node-b", None]),
        ready=st.none() | st.booleans(),
        terminating=st.none() | st.booleans(),
    ),
    max_size=6,
)
PORTS: list[dict[str, Any]] = [
    {"name": "http", "port": 8080, "nodePort": 30080},
    {"name": "dns", "port": 8080, "protocol": "UDP", "nodePort": 30081},
]
TARGETS = [{"name": "http", "protocol": "TCP", "port": 9376}, {"name": "dns", "protocol": "UDP", "port": 9377}]


def web(
    number: int, endpoints: list[dict[str, Any]], internal: str, external: str, sources: list[str], sticky: str
) -> Any:
    """Service ``number``, reachable every way there is."""
    ports = [port | {"nodePort": port["nodePort"] + 10 * number} for port in PORTS]
    return (
        service(
            f"web{number}", clusterIP=cluster_ip(number), type="LoadBalancer", ports=ports, ingress=[VIP],
            internalTrafficPolicy=internal, externalTrafficPolicy=external, loadBalancerSourceRanges=sources,
            sessionAffinity=sticky, created=f"2026-01-0{number}T00:00:00Z",
        ),
        slice_of(f"web{number}", *endpoints, ports=TARGETS),
    )  # fmt: skip


WEB = st.builds(
    web,
    st.integers(1, 3),
    ENDPOINTS,
    POLICIES,
    POLICIES,
    st.sampled_from([[], [f"{OUTSIDE}/32"], [f"{pod(0)}/24", "198.51.100.0/24"]]),
    st.sampled_from(["None", "ClientIP"]),
)
WORLDS = st.lists(WEB, max_size=3, unique_by=lambda objects: objects[0].metadata.name)
PACKETS = [
    Packet(source, protocol, address, port)
    for source in (NODE, pod(1), pod(20), OUTSIDE)
    for protocol in ("TCP", "UDP")
    for address, port in (
        (cluster_ip(1), 8080), (cluster_ip(2), 8080), (cluster_ip(1), 8081), (cluster_ip(77), 8080), (VIP, 8080), (VIP, 8081),
        (NODE, 30090), (NODE, 30101), (NODE, 22), (pod(3), 9376),
    )
]  # fmt: skip


def table(world: list[Any]) -> ForwardingTable:
    return table_of(*(found for objects in world for found in objects), place=INSIDE)


def agree(kernel: Kernel, held: ForwardingTable) -> None:
    """The rules do with every packet what the table says."""
    for packet in PACKETS:
        said = trace(held, packet, INSIDE)
        fates = kernel.fates(packet)
        assert {fate.verdict for fate in fates} == {said.verdict}, (packet, said.why, fates[0].why)
        if said.verdict == "forward":
            expected = {(found.address, found.port, said.hides(packet, found, INSIDE)) for found in said.endpoints}
            met = {(str(fate.destination), fate.port, fate.masquerade) for fate in fates}
            assert met == expected, (packet, fates[0].why)


@given(WORLDS)
def test_rules_do_what_the_table_says(world: list[Any]) -> None:
    kernel = Kernel()
    kernel.hold(table(world))
    agree(kernel, table(world))


@given(st.lists(WORLDS, min_size=2, max_size=5))
def test_any_sequence_of_changes_ends_in_the_rules_of_one_full_load(worlds: list[list[Any]]) -> None:
    kernel, whole = Kernel(), Kernel()
    for world in worlds:
        kernel.hold(table(world))
    whole.hold(table(worlds[-1]))
    kernel.hold(table(worlds[-1]))
    for layout in (kernel.compiler.layout,):
        for there in (layout.frontends, layout.strangers, layout.guarded, layout.cluster_ips, layout.hairpin):
            held, expected = kernel.rules.sets[there.name].elements, whole.rules.sets[there.name].elements
            assert held.keys() == expected.keys(), there.name
        assert len(kernel.rules.sets["endpoints"].elements) == len(whole.rules.sets["endpoints"].elements)
    for name, count in kernel.compiler.counts().items():
        assert len(kernel.rules.sets[name].elements) == count
    agree(kernel, table(worlds[-1]))
