"""A region's network: the mode's own ranges, and the reasons to refuse others."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pierhead.api.network import Network
from pierhead.api.views import FloatingIPPool, FloatingIPPoolSpec, ObjectMeta, Service, ServiceSpec
from pierhead.core.floating import STARTED_WITH
from pierhead.errors import UsageError
from pierhead.region import ranges


def test_loopback_has_ranges_of_its_own() -> None:
    network = ranges.choose("loopback")
    found = (network.service_ranges, network.pod_ranges, network.floating_ranges)
    assert [str(one) for (one,) in found] == ["127.96.0.0/16", "127.64.0.0/16", "127.99.0.0/24"]
    assert network.loopback_endpoints
    assert network.families == ("IPv4",)


def test_endpoints_may_lie_in_the_subnets_of_the_machine_unless_said_otherwise() -> None:
    subnet = ip_network("192.0.2.0/24")
    assert subnet in ranges.choose("loopback", subnets=[subnet]).endpoint_ranges
    only = ranges.parse("--endpoint-cidrs", "198.51.100.0/24")
    assert ranges.choose("loopback", endpoints=only, subnets=[subnet]).endpoint_ranges == only


def test_without_traffic_both_families_are_served() -> None:
    services = ranges.parse("--service-cidr", "10.96.0.0/16,fd00:10:96::/112")
    network = ranges.choose("none", services=services)
    assert network.families == ("IPv4", "IPv6")
    assert not network.loopback_endpoints


def test_in_namespaces_endpoints_may_lie_on_the_machine_and_beside_it() -> None:
    subnets = ranges.parse("", "192.0.2.0/24,10.97.0.2/32")
    network = ranges.choose("namespace", subnets=subnets)
    assert [str(found) for found in network.service_ranges] == ["10.96.0.0/16"]
    assert network.endpoint_ranges == (ip_network(network.machine_address), subnets[0])
    assert ranges.choose("namespace", endpoints=subnets[:1]).endpoint_ranges == subnets[:1]
    assert not network.loopback_endpoints


@pytest.mark.parametrize(
    "services", ["10.96.0.0/16,fd00:10:96::/112", "fd00:10:96::/112,10.96.0.0/16", "fd00:10:96::/112"]
)
def test_namespaces_have_pods_and_a_link_of_each_family_that_services_have(services: str) -> None:
    asked = ranges.parse("--service-cidr", services)
    network = ranges.choose("namespace", services=asked)
    versions = [found.version for found in asked]
    assert [found.version for found in network.pod_ranges] == versions
    for addresses in (network.node_addresses, network.machine_addresses):
        assert [ip_network(address).version for address in addresses] == versions
    assert network.floating_ranges[0].version == versions[0]


def test_pods_have_the_families_of_services_and_an_address_of_each() -> None:
    both = ranges.parse("--service-cidr", "10.96.0.0/16,fd00:10:96::/112")
    with pytest.raises(UsageError, match="differ in families"):
        ranges.choose("namespace", services=both, pods=both[:1])
    with pytest.raises(UsageError, match=r"fd00:1::/120 is smaller than 10\.1\.0\.0/16"):
        ranges.choose("namespace", services=both, pods=ranges.parse("--pod-cidr", "10.1.0.0/16,fd00:1::/120"))


@pytest.mark.parametrize(
    ("services", "text"),
    [
        ("10.96.0.0/15", "10.97.0.1 and 10.97.0.2 for its link, so not 10.96.0.0/15"),
        ("10.96.0.0/16,fd00:10:97::/112", "fd00:10:97::1 and fd00:10:97::2 for its link"),
        ("10.244.128.0/20", "overlap"),
    ],
)
def test_namespaces_refuse(services: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        ranges.choose("namespace", services=ranges.parse("--service-cidr", services))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("services", "pods", "free"),
    [
        ("10.96.0.0/16", "10.97.0.0/16", "10.244.0.0/16"),
        ("10.96.0.0/16", "10.0.0.0/8", "172.16.0.0/16"),
        ("10.97.0.0/16", "10.244.0.0/16", "10.96.0.0/16"),
        ("10.97.0.0/16", None, "10.96.0.0/16"),
        ("fd00:10:96::/112", "fd00:10:97::/112", "fd00:10:244::/112"),
        ("fd00:10:97::/112", None, "fd00:10:96::/112"),
    ],
)
def test_who_takes_the_links_range_is_told_one_that_is_free(services: str, pods: str | None, free: str) -> None:
    asked, given = ranges.parse("--service-cidr", services), ranges.parse("--pod-cidr", pods)
    with pytest.raises(UsageError, match="for its link") as caught:
        ranges.choose("namespace", services=asked, pods=given)
    assert caught.value.hint == f"take another range, such as {free}"


@pytest.mark.parametrize(("services", "pods"), [("fd00::/8", None), ("172.16.0.0/12", "10.0.0.0/8")])
def test_where_none_is_free_smaller_ones_are_the_next_step(services: str, pods: str | None) -> None:
    asked, given = ranges.parse("--service-cidr", services), ranges.parse("--pod-cidr", pods)
    with pytest.raises(UsageError, match="for its link") as caught:
        ranges.choose("namespace", services=asked, pods=given)
    assert caught.value.hint == "take smaller ranges: these leave none free"


@pytest.mark.parametrize(
    ("services", "pods", "text"),
    [
        ("10.96.0.0/16", None, "inside 127.0.0.0/8"),
        ("127.0.0.0/16", None, "127.0.0.1"),
        ("127.64.0.0/20", None, "overlap"),
        ("127.96.0.0/16", "127.96.3.0/24", "overlap"),
        ("127.96.0.0/30", None, "too small"),
        ("127.96.0.0/16,127.97.0.0/16", None, "different families"),
        ("127.96.0.0/16", "127.64.0.0/17,127.65.0.0/17", "differ in families"),
    ],
)
def test_loopback_refuses(services: str, pods: str | None, text: str) -> None:
    asked, given = ranges.parse("--service-cidr", services), ranges.parse("--pod-cidr", pods)
    with pytest.raises(UsageError, match=text) as caught:
        ranges.choose("loopback", services=asked, pods=given)
    assert caught.value.hint


def test_without_traffic_there_is_nothing_for_the_ranges_of_traffic() -> None:
    found = ranges.parse("--pod-cidr", "10.64.0.0/16")
    with pytest.raises(UsageError, match="--network none has no pods for --pod-cidr"):
        ranges.choose("none", pods=found)
    with pytest.raises(UsageError, match="--network none has no traffic for --endpoint-cidrs"):
        ranges.choose("none", endpoints=found)


def test_floating_ips_may_be_addresses_of_the_machine_but_nobody_elses() -> None:
    asked = ranges.parse("--floating-cidr", "192.0.2.10/32,127.98.0.0/24")
    assert ranges.choose("loopback", floating=asked).floating_ranges == asked
    assert ranges.choose("none").floating_ranges == ()
    for text, why in (("127.96.7.0/24", "overlap"), ("127.64.7.0/24", "overlap"), ("127.0.0.1/32", "127.0.0.1")):
        with pytest.raises(UsageError, match=why):
            ranges.choose("loopback", floating=ranges.parse("--floating-cidr", text))


def service(name: str, *addresses: str) -> Service:
    return Service(ObjectMeta(name, namespace="shop"), ServiceSpec(cluster_ip=addresses[0], cluster_ips=addresses))


def test_services_keep_a_region_in_the_ranges_that_gave_them_their_addresses() -> None:
    network = ranges.choose("none", services=ranges.parse("--service-cidr", "10.97.0.0/16"))
    inside = [service("a", "10.97.0.9"), service("headless", "None"), Service()]
    ranges.check_services(network, inside)
    moved = [service("b", "10.96.0.7"), service("dual", "10.97.0.8", "fd00::8")]
    with pytest.raises(UsageError) as caught:
        ranges.check_services(network, [*inside, *moved])
    told = "2 Services have cluster IPs outside 10.97.0.0/16: shop/b (10.96.0.7), shop/dual (10.97.0.8, fd00::8)"
    assert str(caught.value) == told
    assert "--service-cidr" in caught.value.hint
    with pytest.raises(UsageError, match=r"^1 Service has a cluster IP outside"):
        ranges.check_services(network, moved[:1])


def pool(*given: str, name: str = "lan", **annotations: str) -> FloatingIPPool:
    return FloatingIPPool(ObjectMeta(name, annotations=annotations), FloatingIPPoolSpec(given, region="local"))


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("10.97.3.0/24", r"the range of cluster IPs \(10.97.0.0/16\)"),
        ("10.64.0.1-10.64.0.9", r"the range of pods \(10.64.0.0/16\)"),
        ("192.0.2.9", r"the address of the node \(192.0.2.9\)"),
        ("192.0.2.7-192.0.2.8", r"this machine's address on the link to its nodes \(192.0.2.8\)"),
    ],
)
def test_no_range_may_come_to_be_a_pool_s(text: str, noun: str) -> None:
    """Which an earlier start with other ranges may have let it be."""
    network = Network(
        "namespace", ranges.parse("", "10.97.0.0/16"), ranges.parse("", "10.64.0.0/16"), node_address="192.0.2.9",
        machine_address="192.0.2.8",
    )  # fmt: skip
    ranges.check_pools(network, [pool("198.51.100.7", "10.98.0.0/16")])
    with pytest.raises(UsageError, match=f"^{text}, which pool lan gives out, overlaps {noun}$") as caught:
        ranges.check_pools(network, [pool("198.51.100.7"), pool("198.51.100.8", text)])
    assert "kubectl edit fippool lan" in caught.value.hint


def test_the_default_pool_counts_as_a_start_leaves_it() -> None:
    services, made = ranges.parse("", "10.97.0.0/16"), {STARTED_WITH: "10.97.3.0/24"}
    moving = ranges.choose("none", services=services, floating=ranges.parse("", "10.98.0.0/24"))
    ranges.check_pools(moving, [pool("10.97.3.0/24", name="default", **made)])
    for found in (pool("10.97.3.0/24", name="default"), pool("10.97.3.0/24", name="default", **made)):
        with pytest.raises(UsageError, match="which pool default gives out"):
            ranges.check_pools(ranges.choose("none", services=services), [found])


def test_an_option_that_is_not_given_means_the_ranges_of_the_mode() -> None:
    assert ranges.parse("--pod-cidr", None) == ()


@pytest.mark.parametrize("text", ["10.96.0.1/16", "ten", "10.96.0.0/33", "", "10.96.0.0/16,"])
def test_what_is_not_a_range_is_named_with_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--pod-cidr"):
        ranges.parse("--pod-cidr", text)


@pytest.mark.parametrize(
    ("option", "text", "step"),
    [
        ("--floating-cidr", "192.0.2.10/24", "--floating-cidr 192.0.2.0/24, for the one address --floating-cidr 192.0.2.10/32"),
        ("--floating-cidr", "192.0.2.10-192.0.2.20", "--floating-cidr 192.0.2.10/32"),
        ("--service-cidr", "ten", "--service-cidr 127.96.0.0/16"),
        ("--pod-cidr", "ten", "--pod-cidr 127.64.0.0/16"),
    ],
)  # fmt: skip
def test_the_next_step_is_one_that_this_option_takes(option: str, text: str, step: str) -> None:
    with pytest.raises(UsageError) as caught:
        ranges.parse(option, text)
    assert caught.value.hint.endswith(step)
    assert ranges.parse(option, step.rpartition(" ")[2])


def test_a_prefix_for_ipv6_services_has_a_limit() -> None:
    with pytest.raises(UsageError, match="too large"):
        ranges.choose("none", services=ranges.parse("--service-cidr", "fd00::/48"))
