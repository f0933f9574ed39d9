"""What ``pierhead trace`` tells of a packet: the rules on its way, where it ends, and what differs."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from compiled import GROUND, Kernel
from forwarded import NETWORK, NODE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.api.views import EndpointSlice, FloatingIPPool, ProxyStatus, Service
from pierhead.cli.packets import Question, Seen, packet_of, place_of, sender_of
from pierhead.cli.telling import Account, Way, account
from pierhead.cli.telling import Kernel as Told
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.node import fabric
from pierhead.wire.instructions import Unknown
from pierhead.wire.nftables import Base, Chain, Family, Hook, Table
from unit.cli.test_packets import MACHINE, a_node, a_pod

NETWORKED = replace(NETWORK, machine_address=MACHINE)
"""With addresses of loopback, as all of these tests; who carries the traffic is told by the kernel that is given."""
UPLINKED = replace(GROUND, uplinks=("up0",), peers=(ip_network(MACHINE),), sole=True)
WEB = service(type="LoadBalancer", ingress=[VIP], selector={"app": "web"}, loadBalancerSourceRanges=["198.51.100.0/24"])
PODS = [a_pod("p", pod(1)), a_pod("q", pod(2))]
ANYWHERE = (Way(ip_network("0.0.0.0/0")),)
BOTH = slice_of("web", endpoint(1), endpoint(2))


def a_pool(*ranges: str) -> FloatingIPPool:
    return msgspec.convert({"metadata": {"name": "more"}, "spec": {"ranges": ranges}}, FloatingIPPool)


def seen(*objects: Any) -> Seen:
    slices = [found for found in objects if isinstance(found, EndpointSlice)]
    services = [found for found in objects if isinstance(found, Service)]
    nodes = [a_node("node-a", NODE, "z1"), a_node("node-b", "127.67.0.251", "z1")]
    return Seen(NETWORKED, services, slices, PODS, nodes, [], [a_pool(VIP)], ["default"])


def kernel(*objects: Any) -> Kernel:
    found = Kernel(UPLINKED)
    found.hold(table_of(*objects))
    return found


def told(origin: str, target: str, found: Seen, held: Told | None) -> Account:
    question = Question(origin, target, "default", "TCP")
    sender = sender_of(found, question)
    packet = packet_of(found, question, sender)
    return account(found, sender, packet, place_of(found, sender, packet), held)


def of(origin: str, target: str, *objects: Any) -> Account:
    """Where the kernel holds what it should."""
    return told(origin, target, seen(*objects), Told(UPLINKED, kernel(*objects).rules, ways=ANYWHERE))


GOES = f"goes to pod default/p {pod(1)}:9376 or pod default/q {pod(2)}:9376"


@pytest.mark.parametrize(
    ("origin", "target", "verdict"),
    [
        ("p", "svc/web:http", GOES),
        ("machine", "svc/web:8080", f"{GOES}, and sees the node as its client"),
        ("outside", f"{cluster_ip()}:8080", "dropped at the uplink: cluster IPs and pods are reachable from within only"),
        ("outside", f"{pod(1)}:9376", "dropped at the uplink: cluster IPs and pods are reachable from within only"),
        ("outside", f"{VIP}:8080", "dropped: 192.0.2.1 lies in none of loadBalancerSourceRanges"),
        ("198.51.100.7", f"{VIP}:8080", f"{GOES}, and sees the node as its client"),
        ("p", f"{VIP}:81", "refused: no Service has TCP port 81 of this address"),
        ("p", f"{cluster_ip()}:81", f"refused: {cluster_ip()} is a cluster IP without TCP port 81"),
        ("p", f"{cluster_ip(77)}:80", f"dropped: no Service has this address: {cluster_ip(77)} lies in the service range"),
        ("p", f"{pod(2)}:9376", f"goes to pod default/q {pod(2)}:9376 itself: no Service is involved"),
        ("p", f"{NODE}:22", "is for the node itself: no Service has TCP port 22 there"),
        ("p", "127.67.0.251:30080", "goes on to node node-b, and meets the rules there"),
        ("node", "203.0.113.9:80", "goes on to 203.0.113.9: no Service has TCP port 80 there"),
    ],
)  # fmt: skip
def test_where_it_ends(origin: str, target: str, verdict: str) -> None:
    found = of(origin, target, WEB, BOTH)
    assert found.lines[-1] == verdict
    assert not found.differs


@pytest.mark.parametrize(
    ("ranges", "address", "verdict"),
    [
        (("198.51.100.0/24",), "198.51.100.9", "refused: no Service has TCP port 80 of this address"),
        (("198.51.100.0/24",), "198.51.100.0", "refused: no Service has TCP port 80 of this address"),
        (("203.0.113.7", "198.51.100.4-198.51.100.9"), "198.51.100.9", "refused: no Service has TCP port 80 of this address"),
        (("203.0.113.7", "198.51.100.4-198.51.100.9"), "203.0.113.7", "refused: no Service has TCP port 80 of this address"),
        (("198.51.100.4-198.51.100.9",), "198.51.100.10", "goes on to 198.51.100.10: no Service has TCP port 80 there"),
        (("2001:db8::/64",), "198.51.100.9", "goes on to 198.51.100.9: no Service has TCP port 80 there"),
        ((), "198.51.100.9", "goes on to 198.51.100.9: no Service has TCP port 80 there"),
    ],
)  # fmt: skip
def test_an_address_that_nobody_has_ends_here_where_a_pool_holds_it(
    ranges: tuple[str, ...], address: str, verdict: str
) -> None:
    pools = replace(seen(WEB, BOTH), pools=[a_pool(VIP), a_pool(*ranges)])
    beyond = f"does not come to the nodes: {address} is none of the region's addresses"
    for origin in ("p", "outside"):
        if origin == "outside" and verdict.startswith("goes on"):
            verdict = beyond
        found = told(origin, f"{address}:80", pools, Told(UPLINKED, kernel(WEB, BOTH).rules, ways=ANYWHERE))
        assert (found.lines[-1], found.differs) == (verdict, "")


@pytest.mark.parametrize(
    ("origin", "target", "verdict"),
    [
        ("p", "8.8.8.8:80", "unreachable: the node has no route to 8.8.8.8"),
        ("node", "8.8.8.8:80", "unreachable: the node has no route to 8.8.8.8"),
        ("machine", "8.8.8.8:80", "does not come to the nodes: 8.8.8.8 is none of the region's addresses"),
        ("outside", "8.8.8.8:80", "does not come to the nodes: 8.8.8.8 is none of the region's addresses"),
        ("p", f"{pod(77)}:80", f"unreachable: no pod has the address {pod(77)}"),
        ("p", "127.0.0.1:80", "does not leave pod default/p: 127.0.0.1 is the sender itself"),
        ("outside", "127.0.0.1:80", "does not leave a host outside: 127.0.0.1 is the sender itself"),
        ("node", "0.0.0.0:80", "does not leave the node: 127.0.0.1 is the sender itself"),
        ("p", "224.0.0.1:80", "unreachable: TCP has no connection to a multicast address"),
        ("p", "255.255.255.255:80", "unreachable: TCP has no connection to a broadcast address"),
        (
            "p",
            "203.0.113.9:80",
            "goes on to the machine, which without --egress refuses it to pods unless 203.0.113.9 is its own",
        ),
        ("node", "203.0.113.9:80", "goes on to 203.0.113.9: no Service has TCP port 80 there"),
    ],
)
def test_where_no_way_leads_nothing_goes_on(origin: str, target: str, verdict: str) -> None:
    ways = tuple(Way(ip_network(text)) for text in ("203.0.113.0/24", "127.67.0.0/16"))
    found = told(origin, target, seen(WEB, BOTH), Told(UPLINKED, kernel(WEB, BOTH).rules, ways=ways))
    assert (found.lines[-1], found.differs) == (verdict, "")


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("169.254.169.254:80", "unreachable: the node has no route to 169.254.169.254"),
        ("8.8.8.8:80", "goes on to 8.8.8.8: no Service has TCP port 80 there"),
    ],
)
def test_of_the_ways_that_fit_the_longest_counts_where_it_leads_nowhere_too(target: str, verdict: str) -> None:
    ways = (*ANYWHERE, Way(ip_network("169.254.0.0/16"), dead=True))
    found = told("node", target, seen(WEB, BOTH), Told(UPLINKED, kernel(WEB, BOTH).rules, ways=ways))
    assert found.lines[-1] == verdict


def test_a_datagram_to_a_group_stays_on_the_senders_link() -> None:
    found, question = seen(WEB, BOTH), Question("p", "224.0.0.1:80", "default", "UDP")
    sender = sender_of(found, question)
    packet = packet_of(found, question, sender)
    lines = account(found, sender, packet, place_of(found, sender, packet), Told(UPLINKED)).lines
    assert lines[-1] == "goes no further than the sender's own link: 224.0.0.1 is a multicast address, and no Service's"


def test_whether_there_is_a_route_is_left_open_where_it_is_not_known() -> None:
    found = told("p", "8.8.8.8:80", seen(WEB, BOTH), Told(UPLINKED, unread="only root may"))
    assert found.lines[-1] == "goes on to 8.8.8.8, if the node has a route there: no Service has TCP port 80 there"


BEFORE = "it comes over the machine, whose own forwarding (net.ipv4.ip_forward) and firewall come first and are not looked at"


@pytest.mark.parametrize(
    ("origin", "said"), [("outside", True), ("198.51.100.7", True), ("machine", False), ("node", False), ("p", False)]
)
def test_who_comes_over_the_machine_is_told_what_he_meets_first(origin: str, said: bool) -> None:
    lines = of(origin, f"{VIP}:8080", WEB, BOTH).lines
    assert (BEFORE in lines) is said
    if said:
        assert lines.index(BEFORE) < lines.index("what the kernel holds, table ip pierhead:")


def test_in_a_lab_everybody_is_on_one_wire_with_the_nodes() -> None:
    wire = replace(seen(WEB, BOTH), network=replace(NETWORKED, machine_address=str(fabric.ROOT[4])))
    lines = told("outside", f"{VIP}:8080", wire, Told(UPLINKED, kernel(WEB, BOTH).rules)).lines
    assert lines[0] == f"TCP from a host outside (192.168.100.254) to {VIP}:8080"
    assert BEFORE not in lines


def test_a_line_for_each_rule_that_decides() -> None:
    head, asked, web, choice, held, *steps, _ = of("p", "svc/web:http", WEB, BOTH).lines
    assert head == f"TCP from pod default/p ({pod(1)}) to {cluster_ip()}:8080"
    assert [asked, web, choice] == [
        "what the Services ask for:",
        "  default/web port http (cluster address, policy Cluster)",
        "  one of 2 endpoints",
    ]
    assert held == "what the kernel holds, table ip pierhead:"
    assert [step.partition(":")[0].strip() for step in steps] == ["services 2", "n2 1", "n2 1", "hide 4"]


def test_of_many_endpoints_some_are_named() -> None:
    ends = [endpoint(number) for number in range(1, 8)]
    lines = of("q", "svc/web:http", WEB, slice_of("web", *ends)).lines
    assert lines[-1].endswith(f"{pod(4)}:9376 or 3 more")
    assert "  n7 1: 3 more" in lines


@pytest.mark.parametrize(
    ("objects", "behind"),
    [
        ((WEB,), "its selector app=web finds no pod"),
        ((service(),), "it has no selector, and nobody wrote endpoints for it"),
        ((WEB, slice_of("web", endpoint(1, ready=False))), "its EndpointSlices name 1 endpoints, 0 of them ready"),
    ],
)
def test_of_a_service_that_leads_nowhere_it_is_said_what_is_behind_it(objects: Any, behind: str) -> None:
    found = of("p", "svc/web:http", *objects)
    assert found.lines[-1] == "refused: Service default/web has no usable endpoints"
    assert f"  {behind}" in found.lines


def test_an_endpoint_that_may_not_be_served_is_named() -> None:
    lines = of("p", "svc/web:http", service(), slice_of("web", endpoint(1, addresses=["169.254.169.254"]))).lines
    assert "  169.254.169.254 is a link-local, multicast or unspecified address" in lines


@pytest.mark.parametrize("number", [-1, 0, 65536])
def test_an_endpoint_whose_port_is_none_is_named(number: int) -> None:
    ports = [{"name": "http", "protocol": "TCP", "port": number}]
    lines = of("p", "svc/web:http", service(), slice_of("web", endpoint(1), ports=ports)).lines
    assert f"  {number} is no port of {pod(1)}: ports are 1 to 65535" in lines


def test_what_differs_is_named_with_what_was_wanted() -> None:
    held = kernel(WEB, BOTH)
    held.rules.sets["frontends"].elements.clear()
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(UPLINKED, held.rules))
    assert found.differs == "the kernel does something else than the Services ask for"
    assert found.lines[-3:] == [
        f"differs: frontends lacks {cluster_ip()} . tcp . 8080",
        "refused by verdicts 4",
        f"wanted: {GOES}",
    ]


def test_a_kernel_that_holds_nothing_of_ours() -> None:
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(UPLINKED, Ruleset(kernel().rules.table)))
    assert found.differs == "the node has no table ip pierhead"
    assert found.lines[-1] == f"wanted: {GOES}"


def test_the_table_of_another_region_is_no_answer() -> None:
    held = kernel(WEB, BOTH)
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(replace(UPLINKED, owner="another"), held.rules))
    assert found.differs == "the node's table is another region's"
    assert found.step == "to give it up: nft delete table ip pierhead"


def test_a_rule_that_nobody_knows_is_said_to_be_in_the_way() -> None:
    held = kernel(WEB, BOTH)
    held.rules.chains["guard-pre"].rules.insert(0, (Unknown("limit"),))
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(UPLINKED, held.rules))
    assert found.differs == "the kernel holds rules that are not ours"
    assert "limit" in found.lines[-1]


def test_other_tables_that_see_the_packet_are_named() -> None:
    firewall = Chain(Table(Family.INET, "firewall"), "input", Base("filter", Hook.INPUT, 0))
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(UPLINKED, kernel(WEB, BOTH).rules, (firewall,)))
    assert "  chain input of table inet firewall sees these packets too, and is not followed here" in found.lines


def test_without_the_kernels_table_the_rules_that_should_be_there_are_followed() -> None:
    found = told("p", "svc/web:http", seen(WEB, BOTH), Told(UPLINKED, unread="only root may"))
    assert "the kernel's table was not read: only root may" in found.lines
    assert found.lines[-1] == GOES
    assert any(line.startswith("  services 2: ") for line in found.lines)
    assert not found.differs


def test_a_stranger_to_whom_no_route_leads_hears_no_answer() -> None:
    rules = kernel(WEB, BOTH).rules
    there, nowhere = (
        told("198.51.100.7", f"{VIP}:8080", seen(WEB, BOTH), Told(UPLINKED, rules, ways=(Way(ip_network(way)),)))
        for way in ("198.51.100.0/24", "10.0.0.0/8")
    )
    assert there.lines[-1] == f"{GOES}, and sees the node as its client"
    assert nowhere.lines[-1].endswith("; but the node has no route back to 198.51.100.7: nobody hears an answer")


# -- loopback mode


def carried(origin: str, target: str, *objects: Any) -> Account:
    return told(origin, target, seen(*objects), None)


def test_in_loopback_mode_there_is_no_table_to_read() -> None:
    found = carried("p", "svc/web:http", WEB, BOTH)
    assert "no rules of the kernel are read: in loopback mode a proxy in userspace carries the traffic" in found.lines
    assert found.lines[-1] == GOES


def test_in_loopback_mode_too_nothing_goes_on_to_a_group() -> None:
    verdict = "unreachable: TCP has no connection to a multicast address"
    assert carried("p", "224.0.0.1:80", WEB, BOTH).lines[-1] == verdict


def test_a_proxy_in_userspace_cannot_be_silent() -> None:
    said = carried("node", f"{cluster_ip(77)}:80", WEB, BOTH).lines[-1]
    assert said.startswith("refused: no Service has this address")
    assert said.endswith("; a proxy in the kernel would drop it silently")


def test_addresses_of_loopback_are_for_this_machine_alone() -> None:
    assert (
        carried("outside", "svc/web:http", WEB, BOTH).lines[-1]
        == "dropped: addresses of 127.0.0.0/8 never leave a machine"
    )


def test_what_the_proxy_cannot_serve_is_said_by_itself() -> None:
    refusal = {"protocol": "TCP", "address": cluster_ip(), "port": 8080, "message": "port 8080 belongs to nginx"}
    told_of = msgspec.convert({"metadata": {"name": "node-a"}, "status": {"refusals": [refusal]}}, ProxyStatus)
    found = told("p", "svc/web:http", replace(seen(WEB, BOTH), proxies=[told_of]), None)
    assert found.lines[-1] == "not carried: port 8080 belongs to nginx"
    assert found.differs == "the proxy does not serve this"
