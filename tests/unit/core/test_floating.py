"""Which address comes out of a pool, which one a Service may use, and which one it is bound to."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import view
from pierhead.api.views import FloatingIP, FloatingIPPool, Service
from pierhead.core.floating import (
    Known,
    bound_address,
    default_pool,
    frontend_claims,
    in_pool,
    may_use,
    next_free,
    overlaps,
    owned_name,
    pool_of,
    resolve,
    usage,
)
from pierhead.core.pools import Pick


def pool(*ranges: str, name: str = "default", region: str = "local", deleted: bool = False) -> FloatingIPPool:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    return view(FloatingIPPool, {"metadata": metadata, "spec": {"ranges": list(ranges), "region": region}})


def fip(name: str, address: str = "", *, service: str = "", deleted: bool = False) -> FloatingIP:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    return view(FloatingIP, {"metadata": metadata, "spec": {"service": service}, "status": {"address": address}})


def service(wish: str = "", *ingress: str, deleted: bool = False, **spec: Any) -> Service:
    metadata = {"name": "web", "namespace": "default", "uid": "u1"}
    asked = {"type": "LoadBalancer", "loadBalancerIP": wish, "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}
    return view(Service, {
        "metadata": metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}),
        "spec": asked | spec,
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ingress]}},
    })  # fmt: skip


FIPS = Known.of([
    fip("site", "192.0.2.7"),
    fip("waiting"),
    fip("going", "192.0.2.8", deleted=True),
    fip("service-u1", "192.0.2.9", service="default/web"),
    fip("service-u2", "192.0.2.10", service="default/api"),
    fip("gone-soon", "192.0.2.11", service="default/web", deleted=True),
    fip("six", "2001:db8::7"),
])  # fmt: skip
POOLS = [pool("192.0.2.0/24"), pool("2001:db8::/120", name="six"), pool("198.51.100.0/24", name="far", region="north")]


# -- pools --------------------------------------------------------------------------------------------------

texts = st.lists(
    st.one_of(
        st.integers(0, 30).map(lambda n: f"192.0.2.{n}"),
        st.tuples(st.integers(0, 30), st.integers(0, 9)).map(lambda p: f"192.0.2.{p[0]}-192.0.2.{p[0] + p[1]}"),
        st.sampled_from(["192.0.2.0/29", "192.0.2.16/30", "192.0.2.32/31", "198.51.100.4/32"]),
    ),
    min_size=1,
    max_size=3,
)
every = [*(f"192.0.2.{n}" for n in range(48)), *(f"198.51.100.{n}" for n in range(8))]


def always(number: int) -> Pick:
    return lambda _: number


class Crowd(set[str]):
    """Addresses among which no guess finds a free one."""

    def __contains__(self, ip: object) -> bool:
        return True


def disjoint(ranges: list[str]) -> list[str]:
    """As many of them, in order, as meet nowhere."""
    kept: list[str] = []
    for text in ranges:
        if not any(overlaps(pool(text), pool(other)) for other in kept):
            kept.append(text)
    return kept


@given(texts, st.sets(st.sampled_from(every)), st.data())
def test_the_next_address_is_a_free_one_of_the_pool_until_there_is_none(
    ranges: list[str], used: set[str], data: st.DataObject
) -> None:
    found = pool(*disjoint(ranges))
    members = {ip for ip in every if in_pool(found, ip_address(ip))}
    chosen = next_free(found, used, lambda n: data.draw(st.integers(0, n - 1)))
    assert (chosen in members - used) if members - used else chosen is None
    assert usage(found, used) == (len(members & used), len(members - used))


@given(texts, st.sets(st.sampled_from(every)))
def test_in_a_crowded_pool_each_free_address_has_one_place(ranges: list[str], used: set[str]) -> None:
    found = pool(*disjoint(ranges))
    free = [ip for ip in every if in_pool(found, ip_address(ip)) and ip not in used]
    crowd = Crowd(used)
    chosen = [next_free(found, crowd, always(number)) for number in range(len(free))]
    assert Counter(chosen) == Counter(free)


def test_each_free_address_is_as_likely_as_every_other() -> None:
    found, chance = pool("192.0.2.1", "192.0.2.10-192.0.2.19"), random.Random(9)
    used = {f"192.0.2.{n}" for n in (1, 10, 11, 12, 17)}
    chosen = Counter(next_free(found, used, chance.randrange) for _ in range(6000))
    assert set(chosen) == {f"192.0.2.{n}" for n in (13, 14, 15, 16, 18, 19)}
    assert all(850 < times < 1150 for times in chosen.values()), "a thousand each, and five deviations"


def test_a_pool_that_is_being_deleted_gives_out_nothing() -> None:
    assert next_free(pool("192.0.2.1", deleted=True), [], always(0)) is None


def test_a_huge_pool_is_no_effort() -> None:
    assert next_free(pool("2001:db8::/32"), [], lambda n: n - 1) == "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
    assert usage(pool("2001:db8::/32"), ["2001:db8::1"]) == (1, 2**63 - 1)


@given(texts, texts)
def test_pools_that_meet_meet_mutually_and_an_address_is_in_one(ranges: list[str], others: list[str]) -> None:
    one, other = pool(*disjoint(ranges), name="one"), pool(*disjoint(others), name="other")
    shared = [ip for ip in every if in_pool(one, ip_address(ip)) and in_pool(other, ip_address(ip))]
    assert bool(overlaps(one, other)) == bool(overlaps(other, one)) == bool(shared)
    for ip in every:
        home = pool_of(ip, [one])
        assert (home is one) == in_pool(one, ip_address(ip))


def test_an_overlap_names_the_place_and_what_lies_there() -> None:
    assert overlaps(pool("192.0.2.1", "192.0.2.64/26"), pool("192.0.2.0/28", "192.0.2.100")) == [
        (0, "192.0.2.0/28"),
        (1, "192.0.2.100"),
    ]


def test_who_names_no_pool_means_the_default_one_or_the_only_one() -> None:
    a, b, six = pool("192.0.2.1", name="a"), pool("192.0.2.2", name="b"), pool("2001:db8::1", name="six")
    far, going = pool("192.0.2.3", region="north"), pool("192.0.2.4", name="c", deleted=True)
    assert default_pool([], "local") is None
    assert default_pool([a, far, going], "local") is a
    assert default_pool([a, b], "local") is None
    assert default_pool([a, pool("192.0.2.9"), b], "local") == pool("192.0.2.9")
    assert default_pool([a, b, six], "local", "IPv6") is six


# -- Services -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ("192.0.2.7", "site"),
        ("site", "site"),
        ("waiting", "waiting"),
        ("192.0.2.9", "service-u1"),
        ("service-u1", "service-u1"),
        ("300.1.2.3", "must be empty, an allocated address, or the name of a FloatingIP"),
        ("192.0.2", "must be empty, an allocated address, or the name of a FloatingIP"),
        ("fe80::1%eth0", "must be empty, an allocated address, or the name of a FloatingIP"),
        ("a b", "must be empty, an allocated address, or the name of a FloatingIP"),
        ("192.0.02.7", "must not have leading 0s"),
        ("nobody", "no FloatingIP has this name"),
        ("203.0.113.1", "is in no pool of floating IPs"),
        ("198.51.100.7", 'belongs to region "north", and floating IPs are used in their own; this is "local"'),
        ("192.0.2.77", 'is not allocated: create a FloatingIP with spec.address "192.0.2.77" first'),
        ("192.0.2.8", 'FloatingIP "going" is being deleted'),
        ("192.0.2.10", "belongs to Service default/api alone"),
        ("service-u2", "belongs to Service default/api alone"),
        ("2001:db8::7", "is of family IPv6, and this Service has IPv4 only"),
        ("2001:DB8:0::7", "is of family IPv6, and this Service has IPv4 only"),
    ],
)
def test_what_a_wish_means_or_why_it_is_refused(wish: str, found: str) -> None:
    resolution = resolve(service(wish, ipFamilies=["IPv4"]), POOLS, FIPS, "local")
    assert found in (resolution.problem, resolution.fip and resolution.fip.metadata.name)
    assert bool(resolution.problem) == (resolution.fip is None)


@pytest.mark.parametrize(
    ("asks", "bound"),
    [
        (service("192.0.2.7"), "192.0.2.7"),
        (service("site"), "192.0.2.7"),
        (service("site", "192.0.2.9"), "192.0.2.7"),
        (service("waiting"), ""),
        (service("going"), ""),
        (service("", "192.0.2.11"), ""),
        (service("nobody"), ""),
        (service("service-u2"), ""),
        (service("", "192.0.2.9"), "192.0.2.9"),
        (service(""), ""),
        (service("", "192.0.2.7"), ""),
        (service("", "203.0.113.1"), ""),
        (service("site", type="ClusterIP"), ""),
        (service("site", loadBalancerClass="example.com/other"), ""),
        (service("site", "192.0.2.7", deleted=True), "192.0.2.7"),
        (service("site", deleted=True), ""),
    ],
)
def test_the_address_a_service_is_bound_to(asks: Service, bound: str) -> None:
    assert bound_address(asks, FIPS) == bound


def test_one_claim_for_each_port_and_one_key_for_each_address() -> None:
    assert frontend_claims("192.0.2.7", service()) == (
        "claims/frontend/192.0.2.7/TCP/80",
        "claims/frontend/192.0.2.7/UDP/53",
    )
    assert frontend_claims("2001:db8:0::7", service()) == frontend_claims("2001:db8::7", service())
    assert frontend_claims("", service()) == ()


def test_what_was_made_for_one_service_is_used_by_that_one() -> None:
    assert owned_name(service()) == "service-u1"
    assert may_use(fip("x"), service())
    assert may_use(fip("x", service="default/web"), service())
    assert not may_use(fip("x", service="default/api"), service())
    assert not may_use(fip("x", deleted=True), service())
