"""Regions of one machine keep out of each other's ranges."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pierhead.errors import UsageError
from pierhead.region import ranges, tenure

PART = tenure.part(209)
NETWORK = ranges.choose(
    "loopback", services=(PART.services,), pods=(PART.pods,), floating=(PART.floating, ip_network("192.0.2.7/32"))
)


def test_a_range_of_another_region_is_refused_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ranges that it can have: neither those that are taken, nor those of somebody who followed the same advice."""
    other = ranges.choose("loopback", services=tenure.part(208)[:1], pods=(PART.pods,))
    match = "another region on this machine has"
    with tenure.held(NETWORK), pytest.raises(UsageError, match=match) as caught, tenure.held(other):
        pass
    words = caught.value.hint.removeprefix("give this one ranges of its own: ").split()
    assert words[::2] == ["--service-cidr", "--pod-cidr", "--floating-cidr"]
    services, pods, floating = (ip_network(text) for text in words[1::2])
    advised = ranges.choose("loopback", services=(services,), pods=(pods,), floating=(floating,))
    with tenure.held(NETWORK), tenure.held(advised):
        pass
    monkeypatch.setattr(tenure, "ADVISED", ())
    with tenure.held(NETWORK), pytest.raises(UsageError) as caught, tenure.held(NETWORK):
        pass
    assert caught.value.hint == "end one that nobody needs"


def test_what_a_region_held_is_free_when_it_has_ended() -> None:
    with tenure.held(NETWORK):
        pass
    with tenure.held(NETWORK):
        pass


def test_parts_that_are_free_are_given_out_and_never_twice() -> None:
    with tenure.spare() as one, tenure.spare() as other:
        assert not any(mine.overlaps(theirs) for mine in one for theirs in other)
        assert ranges.choose("loopback", services=one[:1], pods=one[1:2], floating=one[2:]).pod_ranges == (one.pods,)


def test_when_every_part_is_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "PARTS", range(0))
    with pytest.raises(UsageError, match="took what was free"), tenure.spare():
        pass
