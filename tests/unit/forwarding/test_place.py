"""Where no packet may be sent on behalf of a Service."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from msgspec.structs import replace

from forwarded import HERE, NETWORK, NODE, cluster_ip, endpoint, pod, service, slice_of
from pierhead.api.network import Network
from pierhead.forwarding.build import build
from pierhead.forwarding.place import API_SERVICE, Place
from pierhead.forwarding.table import ServiceName

WEB = ServiceName("default", "web")
WIDE = Place(
    frozenset(("node-a",)),
    Network(
        "namespace", (ip_network("10.96.0.0/16"),), (ip_network("10.244.0.0/16"),), (), (ip_network("192.168.1.0/24"),)
    ),
    api=frozenset((("192.168.1.1", 6443),)),
)


@pytest.mark.parametrize("address", ["10.244.3.4", "192.168.1.77"])
def test_pod_ranges_and_endpoint_ranges_are_allowed(address: str) -> None:
    assert WIDE.forbids(WEB, ip_address(address), 80) == ""


@pytest.mark.parametrize(
    ("address", "port", "why"),
    [
        ("169.254.169.254", 80, "169.254.169.254 is a link-local, multicast or unspecified address"),
        ("224.0.0.251", 80, "224.0.0.251 is a link-local, multicast or unspecified address"),
        ("fe80::7", 80, "fe80::7 is a link-local, multicast or unspecified address"),
        ("ff02::1", 80, "ff02::1 is a link-local, multicast or unspecified address"),
        ("0.0.0.0", 80, "0.0.0.0 is a link-local, multicast or unspecified address"),
        ("127.0.0.1", 80, "127.0.0.1 is a loopback address"),
        ("192.168.2.1", 80, "192.168.2.1 lies outside the pod ranges and --endpoint-cidrs"),
        ("192.168.1.1", 6443, "192.168.1.1:6443 is the API server"),
        ("10.96.0.7", 80, "10.96.0.7:80 is served by this proxy itself"),
    ],
)
def test_everything_else_is_not(address: str, port: int, why: str) -> None:
    assert WIDE.forbids(WEB, ip_address(address), port) == why


def test_the_api_server_is_an_endpoint_of_its_own_service() -> None:
    assert WIDE.forbids(API_SERVICE, ip_address("192.168.1.1"), 6443) == ""


def test_an_api_server_behind_a_wildcard_is_at_every_loopback_address() -> None:
    place = replace(HERE, network=replace(NETWORK, endpoint_ranges=(ip_network("127.0.0.0/8"),)))
    place = replace(place, api=frozenset((("192.168.1.1", 6443), ("0.0.0.0", 6443))))
    assert place.forbids(WEB, ip_address("127.0.0.9"), 6443) == "127.0.0.9:6443 is the API server"
    assert place.forbids(WEB, ip_address("127.0.0.9"), 6444) == ""
    assert place.forbids(API_SERVICE, ip_address("127.0.0.1"), 6443) == ""


def test_a_proxy_in_userspace_is_not_led_back_into_itself() -> None:
    everything = replace(HERE, network=replace(NETWORK, endpoint_ranges=(ip_network("127.0.0.0/8"),)))
    assert everything.forbids(WEB, ip_address(cluster_ip()), 8080)
    assert everything.forbids(WEB, ip_address(NODE), 30080)
    assert not everything.forbids(WEB, ip_address(NODE), 8080)


def test_an_endpoint_that_is_not_allowed_is_refused_and_the_others_are_served() -> None:
    part = build(service(), [slice_of("web", endpoint(1), endpoint(2, addresses=["8.8.8.8"]))], HERE)
    (backends,) = part.table.backends.values()
    assert [found.address for found in backends.cluster] == [pod(1)]
    (refusal,) = part.refusals
    assert (refusal.address, refusal.port, refusal.reason) == ("8.8.8.8", 9376, "EndpointNotAllowed")


@pytest.mark.parametrize("given", ["fd00:10:244::1", "somewhere", "10.244.0.300"])
def test_an_endpoint_that_is_of_another_family_than_its_slice_is_refused(given: str) -> None:
    part = build(service(), [slice_of("web", endpoint(1), endpoint(2, addresses=[given]))], HERE)
    assert [found.address for backends in part.table.backends.values() for found in backends.cluster] == [pod(1)]
    assert [(found.address, found.message) for found in part.refusals] == [(given, f"{given} is no IPv4 address")]


@pytest.mark.parametrize("number", [-(1 << 31), -1, 0, 65536, 70000, (1 << 31) - 1])
def test_an_endpoint_whose_port_is_none_is_refused_and_the_others_are_served(number: int) -> None:
    ports = [{"name": "http", "protocol": "TCP", "port": number}]
    part = build(service(), [slice_of("web", endpoint(1)), slice_of("web", endpoint(2), ports=ports)], HERE)
    assert [found.address for backends in part.table.backends.values() for found in backends.cluster] == [pod(1)]
    text = f"{number} is no port of {pod(2)}: ports are 1 to 65535"
    assert [(found.port, found.reason, found.message) for found in part.refusals] == [
        (number, "EndpointNotAllowed", text)
    ]


@pytest.mark.parametrize("number", [1, 65535])
def test_the_first_and_the_last_port_are_ports(number: int) -> None:
    ports = [{"name": "http", "protocol": "TCP", "port": number}]
    part = build(service(), [slice_of("web", endpoint(1), ports=ports)], HERE)
    assert [found.port for backends in part.table.backends.values() for found in backends.cluster] == [number]


def test_what_is_behind_ports_that_the_service_has_not_is_not_looked_at() -> None:
    """A slice of the greatest size would keep the proxy for minutes from everything else."""
    ports = [{"name": f"p{number}", "protocol": "TCP", "port": number} for number in range(1, 20_001)]
    ports.append({"name": "http", "protocol": "TCP", "port": 9376})
    others = [endpoint(number, addresses=["8.8.8.8"]) for number in range(999)]
    part = build(service(), [slice_of("web", endpoint(1), *others, ports=ports)], HERE)
    assert [found.address for backends in part.table.backends.values() for found in backends.cluster] == [pod(1)]
    assert [(found.address, found.port) for found in part.refusals] == [("8.8.8.8", 9376)]
