"""Addresses of pods (`node.addresses`)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.node.addresses import Addresses, Exhausted


def test_addresses_are_given_in_turn_and_not_at_once_again() -> None:
    pool = Addresses([ip_network("127.64.0.0/29")])
    assert [pool.take() for _ in range(3)] == ["127.64.0.1", "127.64.0.2", "127.64.0.3"]
    pool.give_back("127.64.0.1")
    assert [pool.take() for _ in range(3)] == ["127.64.0.4", "127.64.0.5", "127.64.0.6"]
    assert pool.take() == "127.64.0.1"
    with pytest.raises(Exhausted, match=r"all 6 addresses of 127\.64\.0\.0/29 are in use"):
        pool.take()


def test_an_address_a_pod_has_is_kept_once() -> None:
    pool = Addresses([ip_network("127.64.0.0/24")])
    assert pool.keep("127.64.0.9")
    assert not pool.keep("127.64.0.9")
    assert pool.take() == "127.64.0.10"


@pytest.mark.parametrize("address", ["", "x", "127.64.0.0", "127.64.0.255", "127.65.0.1", "10.0.0.1", "::1"])
def test_an_address_of_another_range_is_not_kept(address: str) -> None:
    assert not Addresses([ip_network("127.64.0.0/24")]).keep(address)


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=60))
def test_nobody_ever_has_another_s_address(steps: list[int | None]) -> None:
    pool, held = Addresses([ip_network("127.64.0.0/28")]), list[str]()
    for step in steps:
        if step is None and len(held) < 14:
            held.append(pool.take())
        elif step is not None and held:
            pool.give_back(held.pop(step % len(held)))
        assert len(held) == len(set(held))


def test_an_address_of_each_family_is_at_the_same_place() -> None:
    pool = Addresses([ip_network("10.244.64.0/18"), ip_network("fd00:10:244::4000/114")])
    assert pool.every(pool.take()) == ("10.244.64.1", "fd00:10:244::4001")
    assert pool.every("10.244.65.0") == ("10.244.65.0", "fd00:10:244::4100")
    assert Addresses([ip_network("127.64.0.0/24")]).every("127.64.0.9") == ("127.64.0.9",)
