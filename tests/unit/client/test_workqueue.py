"""Keys to look at again: each once, one worker per key, failures later and later."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest
import uvloop

import virtual
from pierhead.client.workqueue import FIRST_DELAY, TRIES, Reconcile, WorkQueue
from pierhead.errors import ApiError


async def work(queue: WorkQueue, reconcile: Reconcile, done: asyncio.Event, patience: float = 5) -> None:
    """Runs the queue until ``done``, at most ``patience`` virtual seconds."""
    running = asyncio.ensure_future(queue.run(reconcile))
    async with asyncio.timeout(patience):
        await done.wait()
    running.cancel()
    await asyncio.wait([running])


def test_a_key_that_waits_already_is_not_added_twice() -> None:
    async def scenario() -> list[str]:
        queue, seen, done = WorkQueue("t"), [], asyncio.Event()

        async def reconcile(key: str) -> None:
            seen.append(key)
            if key == "last":
                done.set()

        for key in ("a", "a", "b", "a", "last"):
            queue.add(key)
        await work(queue, reconcile, done)
        return seen

    assert asyncio.run(scenario()) == ["a", "b", "last"]


def test_a_key_added_while_it_is_worked_on_is_worked_on_again_but_never_twice_at_once() -> None:
    async def scenario() -> list[str]:
        queue, passed, done = WorkQueue("t"), asyncio.Event(), asyncio.Event()
        steps: list[str] = []

        async def reconcile(key: str) -> None:
            steps.append(f"{key} begins")
            if key == "b":
                passed.set()
            elif not passed.is_set():
                queue.add("a")
                queue.add("b")
                await passed.wait()  # another worker takes b, and would have taken a before it
            else:
                done.set()
            steps.append(f"{key} ends")

        queue.add("a")
        await work(queue, reconcile, done)
        return steps

    assert asyncio.run(scenario()) == ["a begins", "b begins", "b ends", "a ends", "a begins", "a ends"]


def test_a_slow_key_does_not_hold_up_the_others() -> None:
    async def scenario() -> bool:
        queue, done = WorkQueue("t"), asyncio.Event()

        async def reconcile(key: str) -> None:
            if key == "slow":
                await done.wait()
            else:
                done.set()

        queue.add("slow")
        queue.add("quick")
        await work(queue, reconcile, done)
        return True

    assert asyncio.run(scenario())


def test_a_failed_key_comes_back_later_and_later_and_others_go_on() -> None:
    async def scenario() -> tuple[list[float], bool]:
        queue, done, times, others = WorkQueue("t"), asyncio.Event(), [], False

        async def reconcile(key: str) -> None:
            nonlocal others
            if key == "good":
                others = True
                return
            times.append(asyncio.get_running_loop().time())
            if len(times) == 4:
                done.set()
                return
            raise ApiError(409, "Conflict", "try again")

        queue.add("bad")
        queue.add("good")
        await work(queue, reconcile, done)
        return [later - sooner for sooner, later in pairwise(times)], others

    waits, others = virtual.run(scenario())
    assert others
    assert waits == pytest.approx([FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY])


def test_what_nobody_expected_is_logged_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        queue, done = WorkQueue("some-controller"), asyncio.Event()

        async def reconcile(key: str) -> None:
            if caplog.records:
                done.set()
                return
            raise KeyError(key)

        queue.add("default/web")
        await work(queue, reconcile, done)

    asyncio.run(scenario())
    assert caplog.records[0].getMessage() == "some-controller: default/web failed"
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("code", [404, 409])
def test_that_somebody_else_was_faster_is_no_news_until_it_goes_on(code: int, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[int]:
        queue, done, told = WorkQueue("some-controller"), asyncio.Event(), list[int]()

        async def reconcile(key: str) -> None:
            told.append(len(caplog.records))
            if len(told) == TRIES + 1:
                done.set()
                return
            raise ApiError(code, "NotFound", "it went")

        queue.add("default/web")
        await work(queue, reconcile, done, patience=FIRST_DELAY * 2 ** (TRIES + 1))
        return told

    assert virtual.run(scenario()) == [0] * TRIES + [1]


def test_what_fails_again_and_again_is_said_once_until_it_changes_or_ends(caplog: pytest.LogCaptureFixture) -> None:
    answers = ["full", "full", "full", "broken", "broken", "", "broken"]

    async def scenario() -> None:
        queue, done, left = WorkQueue("some-controller"), asyncio.Event(), iter(answers)

        async def reconcile(key: str) -> float | None:
            why = next(left, None)
            if why is None:
                done.set()
                return None
            if not why:
                return 0.001
            raise ApiError(500, "InternalError", f"the disk is {why}")

        queue.add("default/web")
        await work(queue, reconcile, done)

    virtual.run(scenario())
    said = [record.getMessage().rpartition(" ")[2] for record in caplog.records]
    assert said == ["full", "broken", "broken"]


def test_a_key_may_ask_to_be_looked_at_again() -> None:
    async def scenario() -> int:
        queue, done, runs = WorkQueue("t"), asyncio.Event(), 0

        async def reconcile(key: str) -> float | None:
            nonlocal runs
            runs += 1
            if runs == 2:
                done.set()
                return None
            return 0.001

        queue.add("a")
        await work(queue, reconcile, done)
        return runs

    assert asyncio.run(scenario()) == 2


def test_of_several_wishes_for_later_the_earliest_counts() -> None:
    async def scenario() -> list[float]:
        queue, times = WorkQueue("t"), []

        async def reconcile(key: str) -> None:
            times.append(asyncio.get_running_loop().time())

        for delay in (60, 1, 30):
            queue.add_after("a", delay)
        with suppress(TimeoutError):
            async with asyncio.timeout(100):
                await queue.run(reconcile)
        return times

    assert virtual.run(scenario()) == [1.0]


def test_what_waited_when_a_queue_was_stopped_hides_no_later_wish() -> None:
    async def scenario() -> list[str]:
        queue, seen = WorkQueue("t"), []

        async def reconcile(key: str) -> None:
            seen.append(key)

        for delay, seconds in ((5, 1), (20, 100)):
            queue.add_after("a", delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await queue.run(reconcile)
        return seen

    assert virtual.run(scenario()) == ["a"]


def test_wishes_without_a_delay_are_one_in_any_loop() -> None:
    async def scenario() -> list[str]:
        queue, seen = WorkQueue("t"), []

        async def reconcile(key: str) -> None:
            seen.append(key)

        for _ in range(2):
            queue.add_after("a", 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await queue.run(reconcile)
        return seen

    for made in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=made) as runner:
            assert runner.run(scenario()) == ["a"]
