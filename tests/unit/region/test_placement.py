"""One node for each zone, and which addresses are whose."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.errors import UsageError
from pierhead.region import ranges
from pierhead.region.placement import numbered, place

WHOLE = ip_network("127.64.0.0/16")
NETWORK = ranges.choose("loopback")
ZONES = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), min_size=1, max_size=20, unique=True)


def test_one_node_has_the_whole_range() -> None:
    assert place(NETWORK, ["z"]) == (("node-1", "z", (ip_network("127.64.0.0/16"),)),)
    assert place(NETWORK, ["z"], "web")[0].name == "web"


def test_several_are_named_after_their_zones() -> None:
    assert [node.name for node in place(NETWORK, ["b", "a"])] == ["node-b", "node-a"]
    assert [node.name for node in place(NETWORK, ["b", "a"], "web")] == ["web-b", "web-a"]


@given(ZONES)
def test_each_has_a_part_of_its_own(zones: list[str]) -> None:
    placed = place(NETWORK, zones)
    assert [node.zone for node in placed] == zones
    assert all(node.pod_ranges[0][0] in WHOLE and node.pod_ranges[0][-1] in WHOLE for node in placed)
    assert not any(one.pod_ranges[0].overlaps(other.pod_ranges[0]) for one, other in combinations(placed, 2))


def test_a_range_too_small_for_its_nodes_is_refused() -> None:
    small = ranges.choose("loopback", pods=(ip_network("127.64.0.0/28"),))
    assert len(place(small, ["a", "b"])) == 2
    with pytest.raises(UsageError, match="too small for 3 nodes") as refused:
        place(small, ["a", "b", "c"])
    assert refused.value.hint == "take a prefix of at most /27, or fewer zones"
    assert len(place(ranges.choose("loopback", pods=(ip_network("127.64.0.0/27"),)), ["a", "b", "c"])) == 3


def test_a_range_too_small_for_the_one_node_says_how_large_it_has_to_be() -> None:
    with pytest.raises(UsageError, match="too small for a node") as refused:
        place(ranges.choose("loopback", pods=(ip_network("127.64.0.0/30"),)), ["a"])
    assert refused.value.hint == "take a prefix of at most /29"


def test_numbered_nodes_may_share_a_zone() -> None:
    found = numbered(NETWORK, ["b", "a", "b"])
    assert [(node.name, node.zone) for node in found] == [("node-1", "b"), ("node-2", "a"), ("node-3", "b")]
    assert not any(one.pod_ranges[0].overlaps(other.pod_ranges[0]) for one, other in combinations(found, 2))
