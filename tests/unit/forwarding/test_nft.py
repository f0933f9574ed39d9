"""Compiled nftables rules lead packets where the table says, however the table came to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from compiled import GROUND, INSIDE, Kernel
from forwarded import NODE, OUTSIDE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.forwarding import nft
from pierhead.forwarding.nftlayout import FIRST_TERMS
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName
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
    return table_of(*(found for objects in world for found in objects))


def agree(kernel: Kernel, held: ForwardingTable) -> None:
    """The rules do with every packet what the table says."""
    sets = [(*backends.cluster, *backends.local) for backends in held.backends.values()]
    here = {found.address for endpoints in sets for found in endpoints if found.local}
    for packet in PACKETS:
        said = trace(held, packet, INSIDE)
        fates = kernel.fates(packet)
        assert {fate.verdict for fate in fates} == {said.verdict}, (packet, said.why, fates[0].why)
        if said.verdict == "forward":
            # One that some port knows as local is hidden from itself at every port, here on purpose.
            itself = packet.source in here
            expected = {
                (
                    found.address,
                    found.port,
                    said.hides(packet, found, INSIDE) or (itself and found.address == packet.source),
                )
                for found in said.endpoints
            }
            met = {(str(fate.destination), fate.port, fate.masquerade) for fate in fates}
            assert met == expected, (packet, fates[0].why)


@settings(max_examples=25)
@given(WORLDS)
def test_rules_do_what_the_table_says(world: list[Any]) -> None:
    kernel = Kernel()
    kernel.hold(table(world))
    agree(kernel, table(world))


@settings(max_examples=25)
@given(st.lists(WORLDS, min_size=2, max_size=5))
def test_any_sequence_of_changes_ends_in_the_rules_of_one_full_load(worlds: list[list[Any]]) -> None:
    kernel, whole = Kernel(), Kernel()
    for world in worlds:
        kernel.hold(table(world))
    whole.hold(table(worlds[-1]))
    kernel.hold(table(worlds[-1]))
    for name in kernel.compiler.counts():
        held, expected = kernel.rules.sets[name].elements, whole.rules.sets[name].elements
        assert len(held) == len(expected) if name == "endpoints" else held.keys() == expected.keys(), name
    for name, count in kernel.compiler.counts().items():
        assert len(kernel.rules.sets[name].elements) == count
    agree(kernel, table(worlds[-1]))


KEY = PortKey(ServiceName("default", "web"), "http", "TCP", "IPv4")
FRONTEND = Frontend("TCP", cluster_ip(), 8080)


def backends(*numbers: int, affinity: int = 0) -> Backends:
    found = tuple(Endpoint(pod(number), 9376, local=True) for number in numbers)
    return Backends(found, found, found, affinity)


def one(found: Backends, **terms: Any) -> ForwardingTable:
    return ForwardingTable({FRONTEND: Rule(KEY, "cluster", "Cluster", **terms)}, {KEY: found})


def test_a_slot_is_emptied_one_sync_after_the_last_packet_may_have_picked_it() -> None:
    kernel = Kernel()
    kernel.hold(one(backends(1, 2, 3)))
    kernel.hold(one(backends(1, 3)))
    assert len(kernel.rules.sets["endpoints"].elements) == 3
    kernel.commit(())
    assert len(kernel.rules.sets["endpoints"].elements) == 2


def test_a_sticky_client_stays_while_its_endpoint_does() -> None:
    kernel = Kernel(sticky=True)
    kernel.hold(one(backends(1, 2, 3, affinity=60)))
    packet = Packet(pod(20), "TCP", cluster_ip(), 8080)
    (kept,) = {str(fate.destination) for fate in kernel.fates(packet)}
    others = [number for number in (1, 2, 3) if pod(number) != kept]
    step = kernel.hold(one(backends(*others, affinity=60)))
    assert len(step.forgotten) == 1
    assert all(keep is not None and len(keep) == 2 for keep in step.forgotten.values())


def test_a_changed_timeout_forgets_nobody_and_no_affinity_everybody() -> None:
    kernel = Kernel()
    kernel.hold(one(backends(1, 2, affinity=60)))
    assert not kernel.hold(one(backends(1, 2, affinity=90))).forgotten
    assert set(kernel.hold(one(backends(1, 2))).forgotten.values()) == {None}


def test_one_endpoint_changed_costs_a_handful_of_elements() -> None:
    kernel = Kernel()
    kernel.hold(one(backends(*range(1, 11))))
    kernel.hold(one(backends(*range(1, 10))))
    step = kernel.hold(one(backends(*range(1, 11))))
    assert not step.rules
    assert sum(len(message.body) for message in step.messages) < 600


def test_udp_flows_may_stay_on_serving_endpoints_and_on_no_other() -> None:
    key, frontend = KEY._replace(protocol="UDP"), FRONTEND._replace(protocol="UDP")
    kernel = Kernel()
    rules = {frontend: Rule(key, "cluster", "Cluster")}
    kernel.hold(ForwardingTable(rules, {key: backends(1, 2)}))
    step = kernel.hold(ForwardingTable(rules, {key: backends(2)}))
    (stay,) = step.flows.values()
    assert [port for _, port in stay] == [9376]
    assert not kernel.commit(()).flows
    (stay,) = kernel.hold(ForwardingTable()).flows.values()
    assert not stay


def test_sctp_is_refused_and_the_rest_is_served() -> None:
    kernel = Kernel()
    key, frontend = KEY._replace(protocol="SCTP"), FRONTEND._replace(protocol="SCTP")
    held = one(backends(1))
    kernel.hold(
        ForwardingTable({**held.rules, frontend: Rule(key, "cluster", "Cluster")}, {**held.backends, key: backends(1)})
    )
    assert [found.reason for found in kernel.compiler.refused.values()] == ["ProtocolNotSupported"]
    assert {fate.verdict for fate in kernel.fates(Packet(NODE, "TCP", cluster_ip(), 8080))} == {"forward"}


def test_endpoints_of_another_family_are_left_out() -> None:
    kernel = Kernel()
    wrong = Endpoint("fd00::1", 9376)
    kernel.hold(one(Backends((wrong,), (), (wrong,))))
    assert {fate.verdict for fate in kernel.fates(Packet(NODE, "TCP", cluster_ip(), 8080))} == {"reject"}


def test_strangers_at_an_uplink_reach_neither_cluster_ips_nor_pods() -> None:
    kernel = Kernel(replace(GROUND, uplinks=("veth1",)))
    kernel.hold(one(backends(1)))
    for address, port in ((cluster_ip(), 8080), (pod(1), 9376)):
        assert {fate.verdict for fate in kernel.fates(Packet(OUTSIDE, "TCP", address, port))} == {"drop"}


def test_an_endpoint_that_is_no_pod_sees_the_node() -> None:
    kernel = Kernel()
    elsewhere = Endpoint("192.0.2.77", 80)
    kernel.hold(one(Backends((elsewhere,), (), (elsewhere,))))
    assert all(fate.masquerade for fate in kernel.fates(Packet(pod(20), "TCP", cluster_ip(), 8080)))


def crowd(numbers: Iterable[int]) -> ForwardingTable:
    """Services with so many endpoints each."""
    rules, found = {}, {}
    for number in numbers:
        key = KEY._replace(service=ServiceName("default", f"web{number}"))
        rules[Frontend("TCP", cluster_ip(), number)] = Rule(key, "cluster", "Cluster")
        found[key] = Backends(tuple(Endpoint(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80) for n in range(number)))
    return ForwardingTable(rules, found)


def test_what_has_no_room_is_refused_and_the_rest_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "TERMS", FIRST_TERMS + 3)
    kernel = Kernel()
    kernel.hold(crowd([1, 2, 3, 4]))
    assert [(refusal.service.name, refusal.reason) for refusal in kernel.compiler.refused.values()] == [
        ("web4", "NoRoom")
    ]
    assert [fate.verdict for fate in kernel.fates(Packet(pod(9), "TCP", cluster_ip(), 4))] == ["reject"]
    assert {fate.verdict for fate in kernel.fates(Packet(pod(9), "TCP", cluster_ip(), 3))} == {"forward"}
    assert not kernel.compiler.worn


def test_terms_that_nobody_uses_make_room_in_another_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "TERMS", FIRST_TERMS + 3)
    kernel = Kernel()
    for table in (crowd([1, 2, 3]), crowd([2, 3]), crowd([2, 3, 4])):
        kernel.hold(table)
    assert kernel.compiler.worn
    fresh = Kernel()
    fresh.hold(kernel.compiler.table())
    assert not fresh.compiler.refused
    assert not fresh.compiler.worn


def test_a_service_without_room_is_served_when_it_has_fewer_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "SLOTS", 3)
    kernel = Kernel()
    kernel.hold(one(backends(1, 2, 3, 4)))
    assert list(kernel.compiler.refused) == [FRONTEND]
    kernel.hold(one(backends(1, 2, 3)))
    assert not kernel.compiler.refused
    agree(kernel, one(backends(1, 2, 3)))


def test_thousands_of_endpoints_are_a_choice_like_any_other() -> None:
    kernel = Kernel()
    kernel.hold(crowd([5000]))
    met = {fate.destination for fate in kernel.fates(Packet(pod(9), "TCP", cluster_ip(), 5000))}
    assert len(met) == 5000
