"""How many endpoints zones should have, and what they give each other."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders import node
from pierhead.core.zones import Allocation, allocate, capacity_of, refusal, transfers

NODES = [node("n1", "za", cpu="4"), node("n2", "zb", cpu="4")]


def test_capacity_counts_ready_nodes_and_is_unknown_when_one_is_silent() -> None:
    assert capacity_of(NODES) == {"za": 4 * 10**9, "zb": 4 * 10**9}
    assert capacity_of([*NODES, node("n3", "zc", ready=False)]) == capacity_of(NODES)
    assert capacity_of([*NODES, node("n3", "zc")]) == {}
    assert capacity_of([*NODES, node("n3", "", cpu="1")]) == {}


def test_nobody_should_have_fewer_than_keep_him_from_overload() -> None:
    assert allocate({"za": 3, "zb": 1}, 6) == {"za": Allocation(4.5, 4), "zb": Allocation(2, 2)}
    assert allocate({"za": 1, "zb": 1}, 12) == {"za": Allocation(6.0, 7), "zb": Allocation(6.0, 7)}


@pytest.mark.parametrize(
    ("given_now", "giving", "receiving"),
    [
        ({"za": 6}, {"za": 2}, {"zb": 2}),
        ({"za": 5, "zb": 1}, {"za": 1}, {"zb": 1}),
        ({"za": 4, "zb": 2}, {}, {}),
        ({"zc": 6}, {}, {}),
    ],
)
def test_half_an_endpoint_moves_where_a_whole_one_is_missing(
    given_now: dict[str, int], giving: dict[str, int], receiving: dict[str, int]
) -> None:
    assert transfers(allocate({"za": 3, "zb": 1}, 6), given_now) == (giving, receiving)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 64), min_size=2), st.data())
def test_zones_give_what_others_get_and_keep_what_they_need(capacity: dict[str, int], data: st.DataObject) -> None:
    now = {zone: data.draw(st.integers(0, 9)) for zone in capacity}
    count = sum(now.values())
    assume(not refusal(capacity, count))
    wanted = allocate(capacity, count)
    giving, receiving = transfers(wanted, now)
    assert giving.total() == receiving.total()
    assert not giving.keys() & receiving.keys()
    for zone in giving:
        assert wanted[zone].desired - 0.5 <= now[zone] - giving[zone]
    for zone in receiving:
        assert now[zone] + receiving[zone] <= wanted[zone].desired + 0.5
