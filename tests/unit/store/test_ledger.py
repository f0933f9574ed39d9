"""The pure part of every engine: what is staged, what becomes visible, and which rows of a log nothing needs any more."""

from __future__ import annotations

import pytest

from pierhead.errors import Compacted, PreconditionFailed
from pierhead.store import Absent, Delete, Event, Put
from pierhead.store.ledger import Ledger, Row


def ledger(rows: list[Row] | None = None, compacted: int = 0) -> Ledger:
    return Ledger(lambda value, _: value, rows=rows or [], compacted=compacted)


def test_what_is_staged_is_seen_by_decisions_only() -> None:
    books = ledger()
    events: list[Event] = []
    books.watch("", 0, events.extend)
    assert list(books.decide([Put("a", b"1"), Put("b", b"1")], [])) == [1, 2]
    with pytest.raises(PreconditionFailed):
        books.decide([Put("c", b"1")], [Absent("a")])
    assert (books.revision, books.get("a"), list(books.range("")), books.count(""), events) == (0, None, [], 0, [])
    assert [(row.revision, row.key, row.first) for row in books.staged] == [(1, "a", 1), (2, "b", 1)]
    books.publish()
    assert (books.revision, books.count(""), len(events), list(books.staged)) == (2, 2, 2, [])


def test_what_is_discarded_was_never_decided() -> None:
    books = ledger()
    books.decide([Put("a", b"1")], [])
    books.discard()
    books.publish()
    assert books.revision == 0
    assert list(books.decide([Put("a", b"2")], [Absent("a")])) == [1]


def test_commits_published_together_are_told_together() -> None:
    books = ledger()
    told: list[list[int]] = []
    books.watch("a", 0, lambda events: told.append([event.revision for event in events]))
    for key in ("a/1", "b/1", "a/2"):
        books.decide([Put(key, b"")], [])
    books.publish()
    books.decide([Put("b/2", b"")], [])
    books.publish()
    assert told == [[1, 3]]


def test_a_log_makes_the_state_and_the_history_it_was_written_from() -> None:
    rows = [Row(2, "a", b"2", 2), Row(3, "b", b"3", 3), Row(4, "a", b"4", 3), Row(6, "b", None, 6)]
    books = ledger(rows, compacted=3)
    assert (books.revision, books.compacted) == (6, 3)
    assert [(entry.key, entry.value) for entry in books.range("")] == [("a", b"4")]
    assert [(entry.key, entry.value) for entry in books.range("", at=4)] == [("a", b"4"), ("b", b"3")]
    with pytest.raises(Compacted):
        books.range("", at=2)


def test_superseded_rows_are_old_values_and_deletions() -> None:
    books = ledger()
    for operation in (Put("a", b""), Put("b", b""), Put("a", b""), Delete("b"), Put("b", b""), Delete("a")):
        books.decide([operation], [])
        books.publish()
    assert books.superseded(0) == books.superseded(2) == []
    assert sorted(books.superseded(4)) == [1, 2, 4]
    assert sorted(books.superseded(6)) == [1, 2, 3, 4, 6]
    books.compact(4)
    assert sorted(books.superseded(6)) == [3, 6]


def test_a_compaction_goes_in_steps() -> None:
    books = ledger()
    for _ in range(10):
        books.decide([Put("a", b"")], [])
        books.publish()
    assert books.step(9, most=4) == 4
    books.compact(4)
    assert books.step(9, most=4) == 8
    assert books.step(9, most=100) == 9
    assert books.step(3, most=4) == 4
    with pytest.raises(Compacted):
        books.step(11, most=4)
