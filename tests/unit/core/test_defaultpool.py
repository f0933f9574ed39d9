"""What a start does about the default pool."""

from __future__ import annotations

from builders import view
from pierhead.api.views import FloatingIPPool
from pierhead.core.defaultpool import STARTED_WITH, Start, refused, start

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


def test_a_pool_of_a_region_that_was_named_otherwise_is_of_no_use() -> None:
    problem = start(pool(*RANGES, told=TOLD, region="north"), RANGES, "local").problem
    assert problem.startswith('pool "default" belongs to region "north"')
    assert problem.endswith("delete it, and start again")


def test_what_the_api_server_refused_is_said_with_its_first_reasons() -> None:
    causes = [
        f'Invalid value: ["192.0.2.0/28"]: must keep 192.0.2.{n}, which belongs to FloatingIP "x"'
        for n in range(90, 95)
    ]
    assert refused(["192.0.2.0/28"], causes) == (
        "--floating-cidr 192.0.2.0/28 cannot be had, and the pool stays as it is:"
        ' must keep 192.0.2.90, which belongs to FloatingIP "x"; must keep 192.0.2.91, which belongs to FloatingIP "x";'
        ' must keep 192.0.2.92, which belongs to FloatingIP "x"; and 2 more'
    )
    overlap = 'Invalid value: "192.0.2.0/28": overlaps 192.0.2.0/24 of pool "mine"'
    assert refused(["192.0.2.0/28"], [overlap]).endswith(f"stays as it is: {overlap}")
