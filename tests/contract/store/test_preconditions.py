"""What a commit may ask for, and what it is told when that does not hold. One table for every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias, cast

import pytest

from pierhead.errors import PreconditionFailed
from pierhead.store import Absent, AtRevision, Delete, Event, Operation, Precondition, Present, Put, RangeEmpty, Store

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]

PUT, DELETE = Put("a/key", b"#"), Delete("a/key")

HISTORIES: dict[str, Sequence[Operation]] = {
    "never written": [],
    "written": [PUT],
    "rewritten": [PUT, PUT],
    "deleted": [PUT, DELETE],
    "written again": [PUT, DELETE, PUT],
}

QUESTIONS: dict[str, Precondition | Delete] = {
    "absent": Absent("a/key"),
    "present": Present("a/key"),
    "at 1": AtRevision("a/key", 1),
    "at 2": AtRevision("a/key", 2),
    "at 3": AtRevision("a/key", 3),
    "empty a/": RangeEmpty("a/"),
    "empty a/k": RangeEmpty("a/k"),
    "empty all": RangeEmpty(""),
    "empty b/": RangeEmpty("b/"),
    "empty a/keys": RangeEmpty("a/keys"),
    "none in a/ after 1": RangeEmpty("a/", after=1),
    "none in a/ after 2": RangeEmpty("a/", after=2),
    "delete": DELETE,
}

# ok: it holds. 1, 2, 3: it does not, because the key stands at that revision. none: it does not, because there is no such key.
TABLE = """
state           absent  present  at 1   at 2   at 3   empty a/  empty a/k  empty all  empty b/  empty a/keys  none in a/ after 1  none in a/ after 2  delete
never written   ok      none     none   none   none   ok        ok         ok         ok        ok            ok                  ok                  none
written         1       ok       ok     1      1      1         1          1          ok        ok            ok                  ok                  ok
rewritten       2       ok       2      ok     2      2         2          2          ok        ok            2                   ok                  ok
deleted         ok      none     none   none   none   ok        ok         ok         ok        ok            ok                  ok                  none
written again   3       ok       3      3      ok     3         3          3          ok        ok            3                   3                   ok
"""


def cases() -> list[tuple[str, str, str]]:
    heading, *rows = (line.split("  ") for line in TABLE.strip().splitlines())
    questions = [cell.strip() for cell in heading if cell.strip()][1:]
    table = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return [(state, asked, told) for state, *answers in table for asked, told in zip(questions, answers, strict=True)]


def attempt(question: Precondition | Delete) -> tuple[Sequence[Operation], Sequence[Precondition]]:
    """A commit that writes something else, too, so that it shows whether any of it was written."""
    other = Put("c/other", b"#")
    return ([other, question], []) if isinstance(question, Delete) else ([other], [question])


def outcome(answer: Sequence[int] | BaseException) -> str:
    if isinstance(answer, PreconditionFailed):
        assert answer.key == "a/key"
        return "none" if answer.revision is None else str(answer.revision)
    assert not isinstance(answer, BaseException)
    return "ok"


@pytest.mark.parametrize("together", [False, True], ids=["after earlier commits", "with them under way"])
@pytest.mark.parametrize(("state", "asked", "told"), cases())
def test_table(opened: Opened, state: str, asked: str, told: str, together: bool) -> None:
    async def scenario() -> None:
        async with opened() as store:
            earlier = [store.commit([operation]) for operation in HISTORIES[state]]
            operations, preconditions = attempt(QUESTIONS[asked])
            if not together:
                for each in earlier:
                    await each
                earlier = []
            *_, answer = await asyncio.gather(*earlier, store.commit(operations, preconditions), return_exceptions=True)
            assert outcome(answer) == told
            written = len(HISTORIES[state]) + (len(operations) if told == "ok" else 0)
            assert store.revision == written
            assert (store.get("c/other") is not None) == (told == "ok")

    asyncio.run(scenario())


def test_the_first_precondition_that_fails_is_named(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("a", b""), Put("b", b"")])
            asked: list[Precondition] = [Present("a"), AtRevision("b", 1), Absent("a")]
            with pytest.raises(PreconditionFailed) as caught:
                await store.commit([Delete("missing")], asked)
            assert (caught.value.key, caught.value.revision) == ("b", 2)

    asyncio.run(scenario())


def test_a_range_that_is_not_empty_names_a_key_in_it(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            await store.commit([Put("pods/x/1", b""), Put("pods/x/2", b"")])
            with pytest.raises(PreconditionFailed) as caught:
                await store.commit([Put("z", b"")], [RangeEmpty("pods/x/")])
            assert (caught.value.key, caught.value.revision) == ("pods/x/1", 1)

    asyncio.run(scenario())


def test_one_wins_when_many_claim_at_once(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            claims = [
                store.commit([Put("claims/ip/10.96.0.7", b"%d" % n)], [Absent("claims/ip/10.96.0.7")])
                for n in range(50)
            ]
            answers = await asyncio.gather(*claims, return_exceptions=True)
            assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
            assert {type(answer) for answer in answers[1:]} == {PreconditionFailed}
            assert store.revision == 1

    asyncio.run(scenario())


def test_a_failed_commit_leaves_no_trace(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            events: list[Event] = []
            store.watch("", 0, events.extend)
            with pytest.raises(PreconditionFailed):
                await store.commit([Put("a", b""), Put("b", b""), Delete("missing")])
            assert (store.revision, list(store.range("")), events) == (0, [], [])
            assert list(await store.commit([Put("a", b"")])) == [1]

    asyncio.run(scenario())


def test_a_key_is_written_once_per_commit(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            with pytest.raises(ValueError, match="only once"):
                await store.commit([Put("a", b""), Delete("a")])

    asyncio.run(scenario())


def test_a_commit_may_ask_and_write_nothing(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store:
            assert list(await store.commit([], [Absent("a")])) == []
            with pytest.raises(PreconditionFailed):
                await store.commit([], [Present("a")])
            assert store.revision == 0

    asyncio.run(scenario())


def test_a_commit_that_makes_no_sense_is_its_own_trouble(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as store, asyncio.timeout(10):
            await store.commit([PUT])
            nonsense = store.commit([Put("a/other", b"")], [RangeEmpty(cast(str, None))])
            failed, done = await asyncio.gather(nonsense, store.commit([PUT]), return_exceptions=True)
            assert isinstance(failed, TypeError)
            assert list(cast(Sequence[int], done)) == [2]
            assert store.get("a/other") is None

    asyncio.run(scenario())
