"""Ranges of a pool: what each text gives out, and what is said about a text that is none."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.addressranges import RANGE_TEXT, AddressRange, of_network, parse, range_causes

ends = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted)
ranges = st.builds(lambda version, pair: AddressRange(version, *pair), st.sampled_from([4, 6]), ends)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("127.99.0.0/24", "127.99.0.1", "127.99.0.254"),
        ("192.0.2.0/30", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.0/31", "192.0.2.0", "192.0.2.1"),
        ("192.0.2.7/32", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.0-192.0.2.255", "192.0.2.0", "192.0.2.255"),
        ("192.0.2.7-192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
        ("2001:db8::7", "2001:db8::7", "2001:db8::7"),
        ("2001:db8::7-2001:db8::9", "2001:db8::7", "2001:db8::9"),
    ],
)
def test_a_prefix_of_ipv4_keeps_its_first_and_last_address_as_long_as_it_has_others(
    text: str, first: str, last: str
) -> None:
    found = parse(text)
    assert found is not None
    assert found.ends == (ip_address(first), ip_address(last))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", RANGE_TEXT),
        ("all of them", RANGE_TEXT),
        ("192.0.2", RANGE_TEXT),
        ("192.0.2.0/33", RANGE_TEXT),
        ("192.0.2.1-", RANGE_TEXT),
        ("192.0.2.1-2001:db8::1", RANGE_TEXT),
        ("192.0.2.1-192.0.2.9-192.0.2.12", RANGE_TEXT),
        ("192.0.2.0/24-192.0.2.9", RANGE_TEXT),
        ("192.0.2.9-192.0.2.1", "must not end before it begins"),
        ("192.0.2.1/24", "must not have bits set beyond the prefix length"),
        ("192.0.02.0/24", "must not have leading 0s in IP or prefix length"),
        ("192.0.02.1", "must not have leading 0s"),
        ("::ffff:192.0.2.1", "must not be an IPv4-mapped IPv6 address"),
    ],
)
def test_a_text_that_is_no_range(text: str, why: str) -> None:
    assert parse(text) is None
    found = range_causes("spec.ranges", ["192.0.2.128/25", text])
    assert [(cause.field, cause.message) for cause in found] == [("spec.ranges[1]", f'Invalid value: "{text}": {why}')]


def test_the_ranges_of_a_pool_are_of_one_family_and_meet_nowhere() -> None:
    found = range_causes("spec.ranges", ["192.0.2.0/28", "2001:db8::1", "192.0.2.14", "192.0.2.15"])
    assert [(cause.field, cause.message) for cause in found] == [
        ("spec.ranges[1]", 'Invalid value: "2001:db8::1": must be of the same IP family as spec.ranges[0]: a pool has one'),
        ("spec.ranges[2]", 'Invalid value: "192.0.2.14": overlaps spec.ranges[0] (192.0.2.0/28)'),
    ]  # fmt: skip


@given(ranges, ranges)
def test_to_overlap_is_mutual_and_means_to_share_an_address(one: AddressRange, other: AddressRange) -> None:
    shared = [n for n in range(61) if one.address(n) in one and one.address(n) in other]
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)


@given(st.integers(0, 2**32 - 1), st.integers(8, 32), st.integers(0, 2**32 - 1))
def test_an_address_is_in_the_range_of_a_network_when_it_is_in_the_network(start: int, length: int, ip: int) -> None:
    block = IPv4Network((start, length), strict=False)
    assert (IPv4Address(ip) in of_network(block)) == (IPv4Address(ip) in block)
    assert of_network(ip_network("2001:db8::/64")).size == 2**64
