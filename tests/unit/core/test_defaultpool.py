"""What a start does about the default pool."""

from __future__ import annotations

import pytest

from builders import view
from pierhead.api.views import FloatingIPPool
from pierhead.core.defaultpool import Start, refused, start
from pierhead.core.floating import STARTED_WITH, no_pool

RANGES = ("192.0.2.0/28", "198.51.100.7/32")
TOLD = ",".join(RANGES)


def pool(*ranges: str, told: str = "", region: str = "local") -> FloatingIPPool:
    metadata = {"name": "default", "annotations": {STARTED_WITH: told} if told else {}}
    return view(FloatingIPPool, {"metadata": metadata, "spec": {"ranges": list(ranges), "region": region}})


def test_it_is_made_where_there_is_none() -> None:
    made = start(None, RANGES, "local").make
    assert made == {
        "metadata": {"name": "default", "annotations": {STARTED_WITH: TOLD}},
        "spec": {"ranges": list(RANGES)},
    }


def test_without_ranges_there_is_nothing_to_do() -> None:
    assert start(None, (), "local") == Start()
    assert start(pool("192.0.2.0/28", told="192.0.2.0/28"), (), "local") == Start()


def test_the_same_ranges_as_last_time_leave_what_users_made_of_it() -> None:
    assert start(pool("203.0.113.0/24", told=TOLD), RANGES, "local") == Start()
    assert start(pool(*RANGES), RANGES, "local") == Start()


def test_other_ranges_than_last_time_replace_what_it_has() -> None:
    change = start(pool("203.0.113.0/24", told="203.0.113.0/24"), RANGES, "local").change
    assert change == {"metadata": {"annotations": {STARTED_WITH: TOLD}}, "spec": {"ranges": list(RANGES)}}


def test_a_pool_that_somebody_made_by_that_name_is_not_taken_over() -> None:
    problem = start(pool("203.0.113.0/24"), RANGES, "local").problem
    assert problem == (
        f'--floating-cidr {TOLD} is left out: somebody has made a pool named "default"; to use it: kubectl edit fippool default'
    )


@pytest.mark.parametrize("ranges", [RANGES, ()])
def test_it_follows_its_region_under_another_name_with_what_users_made_of_it(ranges: tuple[str, ...]) -> None:
    found = pool("203.0.113.0/24", told=TOLD, region="north")
    assert start(found, ranges, "local") == Start(change={"spec": {"region": "local"}})


def test_another_name_and_other_ranges_are_one_change() -> None:
    change = start(pool("203.0.113.0/24", told="203.0.113.0/24", region="north"), RANGES, "local").change
    assert change == {
        "metadata": {"annotations": {STARTED_WITH: TOLD}},
        "spec": {"ranges": list(RANGES), "region": "local"},
    }


def test_a_pool_that_somebody_made_does_not_follow() -> None:
    whose = 'somebody has made a pool named "default" in region "north"; to use it: kubectl edit fippool default'
    assert start(pool("203.0.113.0/24", region="north"), (), "local") == Start(problem=whose)
    for found in (pool("203.0.113.0/24", region="north"), pool(*RANGES, region="north")):
        assert start(found, RANGES, "local") == Start(problem=f"--floating-cidr {TOLD} is left out: {whose}")


def test_what_the_api_server_refused_is_said_with_its_first_reasons() -> None:
    causes = [
        f'Invalid value: ["192.0.2.0/28"]: must keep 192.0.2.{n}, which belongs to FloatingIP "x"'
        for n in range(90, 95)
    ]
    assert refused(pool("192.0.2.0/24"), ["192.0.2.0/28"], "local", causes) == (
        "--floating-cidr 192.0.2.0/28 cannot be had, and the pool stays as it is:"
        ' must keep 192.0.2.90, which belongs to FloatingIP "x"; must keep 192.0.2.91, which belongs to FloatingIP "x";'
        ' must keep 192.0.2.92, which belongs to FloatingIP "x"; and 2 more'
    )
    overlap = 'Invalid value: "192.0.2.0/28": overlaps 192.0.2.0/24 of pool "mine"'
    assert refused(pool("192.0.2.0/24"), ["192.0.2.0/28"], "local", [overlap]).endswith(f"stays as it is: {overlap}")


def test_where_there_was_no_pool_there_is_none() -> None:
    overlap = 'Invalid value: "192.0.2.0/28": overlaps 192.0.2.0/24 of pool "mine"'
    assert refused(None, ["192.0.2.0/28"], "local", [overlap]) == (
        f'--floating-cidr 192.0.2.0/28 cannot be had, and there is no pool "default": {overlap}'
    )


def test_a_pool_that_stays_in_the_region_of_before_is_said_with_what_to_do() -> None:
    cause = 'Invalid value: "local": FloatingIP site has an address of this pool'
    assert refused(pool("192.0.2.0/28", told=TOLD, region="north"), ["192.0.2.0/28"], "local", [cause]) == (
        'pool "default" stays in region "north": FloatingIP site has an address of this pool;'
        " release its addresses (pierhead fip get) and it follows, or start with --region north"
    )


def test_whoever_asks_for_an_address_meanwhile_is_told_the_same() -> None:
    """Who made his pool himself has to move it himself."""
    started, own = pool(*RANGES, told=TOLD, region="north"), pool(*RANGES, region="north")
    found = 'there is no FloatingIPPool in region "local", and pool "default" belongs to region "north": release its addresses'
    assert no_pool([started], "local") == f"{found} (pierhead fip get) and it follows, or start with --region north"
    assert "change its spec.region (kubectl edit fippool default), or start" in no_pool([own], "local")
