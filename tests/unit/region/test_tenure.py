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


def test_a_range_of_another_region_is_refused_with_the_line_to_type() -> None:
    other = ranges.choose("loopback", services=tenure.part(208)[:1], pods=(PART.pods,))
    match = "another region on this machine has"
    with tenure.held(NETWORK), pytest.raises(UsageError, match=match) as caught, tenure.held(other):
        pass
    assert caught.value.hint == (
        "give this one ranges of its own: --service-cidr 127.209.0.0/17 --pod-cidr 127.209.128.0/18 --floating-cidr 127.209.192.0/24"
    )


def test_what_a_region_held_is_free_when_it_has_ended() -> None:
    with tenure.held(NETWORK):
        pass
    with tenure.held(NETWORK):
        pass


def test_parts_that_are_free_are_given_out_and_never_twice() -> None:
    with tenure.spare() as one, tenure.spare() as other:
        assert not any(mine.overlaps(theirs) for mine in one for theirs in other)
        assert ranges.choose("loopback", services=one[:1], pods=one[1:2], floating=one[2:])


def test_when_every_part_is_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "PARTS", range(0))
    with pytest.raises(UsageError, match="took what was free"), tenure.spare():
        pass
