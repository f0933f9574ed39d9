"""Both engines against the simplest thing that could be right: a list of states, one for each revision."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pierhead.errors import Compacted, PreconditionFailed
from pierhead.store import (
    Absent,
    AtRevision,
    Delete,
    Entry,
    Event,
    Operation,
    Precondition,
    Present,
    Put,
    RangeEmpty,
    Store,
)
from pierhead.store.memory import MemoryStore
from pierhead.store.sqlite import SqliteStore

Commit: TypeAlias = tuple[Sequence[Operation], Sequence[Precondition]]
State: TypeAlias = dict[str, Entry]

keys = st.sampled_from(["a", "a/1", "a/2", "ab", "b/1", "b/é"])
prefixes = st.sampled_from(["", "a", "a/", "b/", "b/1", "c"])
revisions = st.integers(0, 60)
operations = st.one_of(st.builds(Put, keys, st.just(b"#")), st.builds(Delete, keys))
preconditions = st.one_of(
    st.builds(Absent, keys),
    st.builds(Present, keys),
    st.builds(AtRevision, keys, revisions),
    st.builds(RangeEmpty, prefixes),
    st.builds(RangeEmpty, prefixes, revisions),
)
commits = st.tuples(
    st.lists(operations, max_size=3, unique_by=lambda operation: operation.key), st.lists(preconditions, max_size=1)
)


def stamp(value: bytes, revision: int) -> bytes:
    return value.replace(b"#", str(revision).encode())


@dataclass
class Model:
    """``states[n]``: what stands after the commit that holds revision n."""

    states: list[State] = field(default_factory=lambda: [{}])
    events: list[Event] = field(default_factory=list)
    compacted: int = 0

    def commit(self, operations: Sequence[Operation], preconditions: Sequence[Precondition]) -> list[int] | str:
        now = self.states[-1]
        if not all(self.holds(each, now) for each in preconditions):
            return "failed"
        if any(isinstance(each, Delete) and each.key not in now for each in operations):
            return "failed"
        state, first = dict(now), len(self.states)
        for revision, operation in enumerate(operations, first):
            self.turn(state, operation, revision)
        self.states += [state] * len(operations)
        return list(range(first, len(self.states)))

    def turn(self, state: State, operation: Operation, revision: int) -> None:
        previous, value = state.pop(operation.key, None), None
        if isinstance(operation, Put):
            value = stamp(operation.value, revision)
            state[operation.key] = Entry(operation.key, value, revision)
        self.events.append(Event(revision, operation.key, value, previous))

    def holds(self, precondition: Precondition, now: State) -> bool:
        match precondition:
            case Absent(key):
                return key not in now
            case Present(key):
                return key in now
            case AtRevision(key, revision):
                return key in now and now[key].revision == revision
            case RangeEmpty(prefix, after):
                return not any(key.startswith(prefix) and entry.revision > after for key, entry in now.items())

    def range(self, prefix: str, at: int) -> list[Entry]:
        return sorted(entry for key, entry in self.states[at].items() if key.startswith(prefix))


class Engines(RuleBasedStateMachine):
    """Whatever is done to the model is done to both engines, and all three show the same."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.live: list[list[Event]] = [[], []]
        self.stores: list[Store] = []

    @initialize()
    def open(self) -> None:
        self.stores = [MemoryStore(stamp), self.runner.run(SqliteStore.open(Path(self.directory.name), stamp))]
        for store, seen in zip(self.stores, self.live, strict=True):
            store.watch("", 0, self.recorder(store, seen))

    def recorder(self, store: Store, seen: list[Event]) -> Callable[[Sequence[Event]], None]:
        def deliver(events: Sequence[Event]) -> None:
            seen.extend(events)
            assert store.revision == events[-1].revision

        return deliver

    @rule(burst=st.lists(commits, min_size=1, max_size=4))
    def commit(self, burst: list[Commit]) -> None:
        expected = [self.model.commit(*each) for each in burst]
        for store in self.stores:
            assert self.runner.run(self.together(store, burst)) == expected

    async def together(self, store: Store, burst: list[Commit]) -> list[list[int] | str]:
        answers = await asyncio.gather(*(store.commit(*each) for each in burst), return_exceptions=True)
        return [self.shown(answer) for answer in answers]

    def shown(self, answer: Sequence[int] | BaseException) -> list[int] | str:
        if isinstance(answer, PreconditionFailed):
            return "failed"
        assert not isinstance(answer, BaseException)
        return list(answer)

    @rule(prefix=prefixes, after=st.one_of(st.just(""), keys), limit=st.integers(0, 3), at=revisions)
    def range(self, prefix: str, after: str, limit: int, at: int) -> None:
        for store in self.stores:
            if at and not self.model.compacted <= at < len(self.model.states):
                self.expect_compacted(partial(store.range, prefix, at=at))
                continue
            whole = [entry for entry in self.model.range(prefix, at or -1) if entry.key > after]
            assert store.range(prefix, after=after, limit=limit, at=at) == whole[: limit or None]

    @rule(prefix=prefixes, after=revisions)
    def resume(self, prefix: str, after: int) -> None:
        for store in self.stores:
            events: list[Event] = []
            if not self.model.compacted <= after < len(self.model.states):
                self.expect_compacted(partial(store.watch, prefix, after, events.extend))
                continue
            store.watch(prefix, after, events.extend)()
            assert events == [event for event in self.model.events[after:] if event.key.startswith(prefix)]

    def expect_compacted(self, call: Callable[[], object]) -> None:
        with pytest.raises(Compacted) as caught:
            call()
        assert caught.value.oldest == self.model.compacted

    @rule(revision=revisions)
    def compact(self, revision: int) -> None:
        revision = min(revision, len(self.model.states) - 1)
        self.model.compacted = max(self.model.compacted, revision)
        for store in self.stores:
            self.runner.run(store.compact(revision))

    @rule()
    def restart(self) -> None:
        memory, sqlite = self.stores
        self.runner.run(sqlite.close())
        again = self.runner.run(SqliteStore.open(Path(self.directory.name), stamp))
        assert again.uid == sqlite.uid
        again.watch("", again.revision, self.recorder(again, self.live[1]))
        self.stores = [memory, again]

    @invariant()
    def alike(self) -> None:
        for store, seen in zip(self.stores, self.live, strict=False):
            assert store.revision == len(self.model.states) - 1
            assert store.compacted == self.model.compacted
            assert store.range("") == self.model.range("", -1)
            assert store.count("a/") == len(self.model.range("a/", -1))
            assert seen == self.model.events

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        self.directory.cleanup()


TestEngines = Engines.TestCase
TestEngines.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
