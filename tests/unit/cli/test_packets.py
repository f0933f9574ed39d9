"""From the question of ``pierhead trace`` to a packet, or to one clear line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from forwarded import NETWORK, NODE, OUTSIDE, cluster_ip, endpoint, pod, service, slice_of
from pierhead.api.views import Node, Pod, ProxyStatus
from pierhead.cli.packets import Question, Seen, packet_of, place_of, sender_of
from pierhead.errors import UsageError
from pierhead.forwarding.place import Place
from pierhead.forwarding.trace import Packet
from pierhead.node import fabric
from pierhead.node.wiring import UPLINK

MACHINE = "127.67.0.250"
PORTS = [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]


def a_pod(name: str, address: str = "", *, node: str = "node-a") -> Pod:
    status = {"podIP": address, "podIPs": [{"ip": address}]} if address else {}
    tree = {"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": node}, "status": status}
    return msgspec.convert(tree, Pod)


def a_node(name: str, address: str, zone: str) -> Node:
    labels = {"topology.kubernetes.io/zone": zone}
    tree = {
        "metadata": {"name": name, "labels": labels},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }
    return msgspec.convert(tree, Node)


SEEN = Seen(
    replace(NETWORK, mode="namespace", machine_address=MACHINE),
    [service(ports=PORTS), service("bare", clusterIP="None"), service("elsewhere", type="ExternalName", clusterIP="", externalName="example.com")],
    [slice_of("web", endpoint(1))],
    [a_pod("p", pod(1)), a_pod("q", pod(2), node="node-b"), a_pod("waiting"), a_pod("elsewhere", "198.51.100.9")],
    [a_node("node-a", NODE, "z1"), a_node("node-b", "127.67.0.251", "z2")],
    [msgspec.convert({"metadata": {"name": name}, "status": {"nodes": [name]}}, ProxyStatus) for name in ("node-a", "node-b")],
    [],
    ["default", "other"],
)  # fmt: skip


def asked(origin: str, target: str = "svc/web:http", protocol: str = "TCP", seen: Seen = SEEN) -> Packet:
    question = Question(origin, target, "default", protocol)
    return packet_of(seen, question, sender_of(seen, question))


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("node", NODE),
        ("node-b", "127.67.0.251"),
        ("machine", MACHINE),
        ("outside", "192.0.2.1"),
        ("198.51.100.7", "198.51.100.7"),
        ("p", pod(1)),
        ("pod/p", pod(1)),
        ("default/q", pod(2)),
        (pod(2), pod(2)),
        ("elsewhere", "198.51.100.9"),
        (MACHINE, MACHINE),
        (NODE, NODE),
    ],
)
def test_who_sends_it(origin: str, source: str) -> None:
    assert asked(origin) == Packet(source, "TCP", cluster_ip(), 8080)


def test_whoever_has_the_address_is_named() -> None:
    names = {
        address: sender_of(SEEN, Question(address, "", "default", "TCP")).name for address in (pod(1), NODE, OUTSIDE)
    }
    assert names == {pod(1): "pod default/p", NODE: "the node", OUTSIDE: "a host outside"}


@pytest.mark.parametrize(
    ("origin", "outside"),
    [("outside", True), ("198.51.100.7", True), ("machine", True), ("elsewhere", True), ("p", False), ("node", False)],
)
def test_by_which_link_it_comes(origin: str, outside: bool) -> None:
    assert (sender_of(SEEN, Question(origin, "", "default", "TCP")).link == UPLINK) is outside


@pytest.mark.parametrize(("origin", "name"), [("elsewhere", "pod default/elsewhere"), ("198.51.100.7", "this machine")])
def test_whoever_has_an_address_of_the_machine_asks_from_its_end_of_the_link(origin: str, name: str) -> None:
    question, own = Question(origin, "svc/web:http", "default", "TCP"), ("198.51.100.7", "198.51.100.9")
    found = sender_of(SEEN, question, own)
    assert (found.name, found.addresses, found.link) == (name, (MACHINE,), UPLINK)
    assert sender_of(SEEN, question).addresses != (MACHINE,)
    alone = replace(SEEN, network=NETWORK)
    assert sender_of(alone, question, own) == sender_of(alone, question)


def test_where_a_region_has_no_machine_of_its_own_it_is_the_node() -> None:
    assert asked("machine", seen=replace(SEEN, network=NETWORK)).source == NODE


@pytest.mark.parametrize(
    ("target", "protocol", "address", "port"),
    [
        ("10.1.2.3:80", "TCP", "10.1.2.3", 80),
        ("0.0.0.0:80", "TCP", "127.0.0.1", 80),
        ("svc/web:8080", "TCP", cluster_ip(), 8080),
        ("service/default/web:http", "TCP", cluster_ip(), 8080),
        ("svc/web:dns", "UDP", cluster_ip(), 53),
        ("svc/web:77", "TCP", cluster_ip(), 77),
    ],
)
def test_where_it_goes(target: str, protocol: str, address: str, port: int) -> None:
    assert asked("node", target, protocol) == Packet(NODE, protocol, address, port)


@pytest.mark.parametrize(
    ("question", "said", "step"),
    [
        (("nobody", "10.0.0.1:80"), "there is no pod nobody in namespace default", "kubectl get pods"),
        (("other/p", "10.0.0.1:80"), "there is no pod p in namespace other", "kubectl get pods"),
        (("waiting", "10.0.0.1:80"), "pod default/waiting has no address yet", "kubectl describe pod waiting"),
        (("node", "10.0.0.1"), '"10.0.0.1" names no port', "pierhead trace"),
        (("node", ":80"), '":80" names no address and no Service', "pierhead trace"),
        (("node", "svc/:80"), '"svc/:80" names no Service', "pierhead trace"),
        (("node", "svc/default/:80"), '"svc/default/:80" names no Service', "pierhead trace"),
        (("node", "svc/web"), '"svc/web" names no port', "pierhead trace"),
        (("node", "svc/nowhere/web:80"), "there is no namespace nowhere", "kubectl get namespaces"),
        (("nowhere/p", "10.0.0.1:80"), "there is no namespace nowhere", "kubectl get namespaces"),
        (("", "10.0.0.1:80"), "--from names nobody", "a pod's"),
        (("0.0.0.0", "10.0.0.1:80"), "nobody sends from 0.0.0.0", "no host's address"),
        (("255.255.255.255", "10.0.0.1:80"), "nobody sends from 255.255.255.255", "no host's address"),
        (("224.0.0.1", "10.0.0.1:80"), "nobody sends from 224.0.0.1", "no host's address"),
        (("ff02::1", "10.0.0.1:80"), "nobody sends from ff02::1", "no host's address"),
        ((cluster_ip(), "10.0.0.1:80"), f"nobody sends from {cluster_ip()}", "the range of cluster IPs"),
        ((pod(77), "10.0.0.1:80"), f"no pod has the address {pod(77)}", "kubectl get pods -A -o wide"),
        (("node", "10.0.0.1:"), '"10.0.0.1:" names no port', "pierhead trace"),
        (("node", "10.0.0:80"), '"10.0.0" is no address and no Service', "svc/my-service"),
        (("node", "10.0.0.1:http"), '"http" is no port number', "1 to 65535"),
        (("node", "10.0.0.1:65536"), '"65536" is no port number', "1 to 65535"),
        (("node", "[fd00::1]:80"), "this region has no IPv6", "it has IPv4"),
        (("2001:db8::7", "10.0.0.1:80"), "a host outside has no IPv4", "--from"),
        (("node", f"10.0.0.1:{'9' * 5000}"), '"999', "1 to 65535"),
        (("node", "svc/none:80"), "there is no Service none in namespace default", "kubectl get services"),
        (("node", "svc/bare:80"), "Service bare has no cluster IP", "endpoints"),
        (("node", "svc/web:dns"), "port dns of Service web is UDP", "--udp"),
        (("node", "svc/web:none"), "Service web has no port none", "it has http (8080), dns (53)"),
        (("node", "svc/web:0"), '"0" is no port number', "1 to 65535"),
        (("node", "svc/elsewhere:80"), "Service elsewhere is the name example.com and no more", "name an address"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_clear_line(question: tuple[str, str], said: str, step: str) -> None:
    with pytest.raises(UsageError) as refused:
        asked(*question)
    assert str(refused.value).startswith(said)
    assert step in refused.value.hint


@pytest.mark.parametrize(
    ("namespace", "said"), [("nowhere", "there is no namespace nowhere"), ("", "--namespace names none")]
)
def test_a_namespace_that_is_not_there_is_said_whatever_is_asked(namespace: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        sender_of(SEEN, Question("machine", "10.0.0.1:80", namespace, "TCP"))
    assert str(refused.value) == said
    assert "kubectl get namespaces" in refused.value.hint


def test_in_loopback_mode_a_process_may_send_from_every_address_of_127() -> None:
    seen = replace(SEEN, network=replace(NETWORK, mode="loopback"))
    assert asked(pod(77), seen=seen).source == pod(77)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("nobody", "there is no pod nobody in namespace default, and no node of this name"),
        ("pod/node-a", "there is no pod node-a in namespace default"),
    ],
)
def test_who_means_a_pod_is_told_of_no_node(origin: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        asked(origin)
    assert str(refused.value) == said


def place(origin: str, target: str = "svc/web:http", seen: Seen = SEEN) -> Place:
    question = Question(origin, target, "default", "TCP")
    sender = sender_of(seen, question)
    return place_of(seen, sender, packet_of(seen, question, sender))


def test_the_proxy_is_that_of_the_senders_node() -> None:
    """In a lab, where each node has rules, and an address, of its own."""
    seen = replace(SEEN, network=replace(SEEN.network, machine_address=str(fabric.ROOT[4])))
    here, there = place("p", seen=seen), place("q", seen=seen)
    assert (set(here.nodes), set(here.zones), here.network.node_address) == ({"node-a"}, {"z1"}, NODE)
    assert (set(there.nodes), set(there.zones), there.network.node_address) == ({"node-b"}, {"z2"}, "127.67.0.251")


def test_who_comes_from_elsewhere_meets_the_node_that_he_asks() -> None:
    assert set(place("outside", "127.67.0.251:30080").nodes) == {"node-b"}
    assert set(place("outside").nodes) == {"node-a"}


def test_the_api_is_known_by_its_own_service() -> None:
    ports: Any = [{"name": "https", "protocol": "TCP", "port": 6443}]
    seen = replace(SEEN, slices=[slice_of("kubernetes", endpoint(9), ports=ports)])
    assert place("p", seen=seen).api == {(pod(9), 6443)}
