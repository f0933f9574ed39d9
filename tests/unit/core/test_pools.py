"""Bands of numbers, and which comes next."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.core.pools import Pool, addresses, ports


@pytest.mark.parametrize(
    ("network", "first", "last", "band"),
    [
        ("10.96.0.0/16", 1, 65534, 256),
        ("10.96.0.0/24", 1, 254, 16),
        ("10.96.0.0/28", 1, 14, 1),
        ("10.96.0.0/30", 1, 2, 1),
        ("fd00:10:96::/112", 1, 65535, 256),
        ("fd00:10:96::/64", 1, 2**64 - 1, 256),
    ],
)
def test_addresses_leave_out_the_network_and_ipv4_broadcast(network: str, first: int, last: int, band: int) -> None:
    found = ip_network(network)
    base = int(found.network_address)
    assert addresses(found) == Pool(base + first, base + last, base + band)


def test_node_ports_keep_the_lowest_86_of_the_default_range_for_choosing() -> None:
    assert ports(range(30000, 32768)) == Pool(30000, 32767, 30086)
    assert ports(range(30000, 30010)) == Pool(30000, 30009, 30000)


@given(st.sets(st.integers(0, 30)), st.integers(0, 31), st.data())
def test_the_upper_band_first_then_the_lower_then_none(taken: set[int], dynamic: int, data: st.DataObject) -> None:
    found = Pool(0, 30, dynamic).next_free(taken.__contains__, lambda n: data.draw(st.integers(0, n - 1)))
    free = set(range(31)) - taken
    upper = {number for number in free if number >= dynamic}
    assert (found in upper) if upper else (found in free) if free else (found is None)
