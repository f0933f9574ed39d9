"""When probes look and what their results mean (`core.probes`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.views import Probe
from pierhead.core.probes import Course, Purpose, begin, counted, observe


def run(purpose: Purpose, probe: Probe, results: str, *, slow: float = 0.0) -> tuple[Course, list[float]]:
    """Plays results (``+`` and ``-``) at the times the course asks for; answers the last course and the times of the looks."""
    course, looks = begin(purpose, probe, started=100.0, now=100.0, jitter=0.0), []
    for result in results:
        looks.append(round(course.due - 100.0, 3))
        course = observe(course, probe, result == "+", course.due + slow)
    return course, looks


def test_readiness_starts_from_not_ready_and_one_success_is_enough() -> None:
    assert begin("readiness", Probe(), started=0, now=0, jitter=0).passing is False
    assert run("readiness", Probe(), "+")[0].passing is True


def test_a_container_that_is_still_starting_is_looked_at_again_within_milliseconds() -> None:
    _, looks = run("readiness", Probe(period_seconds=10), "-----")
    assert looks == [0, 0.05, 0.15, 0.35, 0.75]


def test_early_failures_count_for_nothing_and_regular_ones_do() -> None:
    probe = Probe(period_seconds=1, failure_threshold=2)
    course, looks = run("startup", probe, "------")
    assert looks == [0, 0.05, 0.15, 0.35, 0.75, 1.0]
    assert (course.passing, course.streak, counted(course)) == (None, 1, True)
    course, looks = run("startup", probe, "-------")
    assert (course.passing, looks[-1]) == (False, 2.0)


def test_after_the_first_success_the_probe_s_own_pace_holds() -> None:
    course, looks = run("readiness", Probe(period_seconds=10), "-+-")
    assert looks == [0, 0.05, 10.05]
    assert counted(course)


def test_readiness_is_lost_only_after_a_row_of_failures() -> None:
    assert run("readiness", Probe(failure_threshold=3), "+--")[0].passing is True
    assert run("readiness", Probe(failure_threshold=3), "+---")[0].passing is False
    assert run("readiness", Probe(failure_threshold=3), "+--+--")[0].passing is True


def test_readiness_comes_back_only_after_a_row_of_successes() -> None:
    probe = Probe(failure_threshold=1, success_threshold=2)
    assert run("readiness", probe, "++-+")[0].passing is False
    assert run("readiness", probe, "++-++")[0].passing is True


def test_liveness_starts_from_alive_and_condemns_after_its_threshold() -> None:
    assert run("liveness", Probe(), "--")[0].passing is True
    course, looks = run("liveness", Probe(), "---")
    assert (course.passing, looks) == (False, [0, 10, 20])


def test_nobody_looks_before_the_initial_delay() -> None:
    purposes: tuple[Purpose, ...] = ("startup", "readiness", "liveness")
    for purpose in purposes:
        assert begin(purpose, Probe(initial_delay_seconds=7), started=100, now=101, jitter=0).due == 107


def test_a_delay_that_passed_while_the_startup_probe_gated_is_not_waited_for_again() -> None:
    assert begin("readiness", Probe(initial_delay_seconds=7), started=100, now=130, jitter=0).due == 130


def test_first_liveness_probes_are_spread_over_their_period() -> None:
    assert begin("liveness", Probe(period_seconds=10), started=0, now=0, jitter=0.5).due == 5


def test_a_slow_probe_moves_the_next_one() -> None:
    assert run("liveness", Probe(period_seconds=10), "++", slow=0.5)[1] == [0, 10.5]


@given(st.text("+-", min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 30))
def test_the_verdict_is_always_that_of_the_last_row_long_enough(
    results: str, failures: int, successes: int, period: int
) -> None:
    probe = Probe(failure_threshold=failures, success_threshold=successes, period_seconds=period)
    course, looks = run("liveness", probe, results)
    expected, row, last = True, 0, ""
    for result in results:
        row, last = (row + 1 if result == last else 1), result
        if row >= (successes if result == "+" else failures):
            expected = result == "+"
    assert course.passing is expected
    assert looks == sorted(looks)


@given(st.integers(1, 60))
def test_a_starting_container_costs_few_looks(period: int) -> None:
    course = begin("readiness", Probe(period_seconds=period), started=0, now=0, jitter=0)
    looks = 0
    while course.eager:
        course, looks = observe(course, Probe(period_seconds=period), False, course.due), looks + 1
    assert looks <= 13
    assert course.due == pytest.approx(2 * period)
