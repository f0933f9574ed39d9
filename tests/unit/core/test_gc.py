"""What becomes of an object when its owners go."""

from __future__ import annotations

import pytest

from builders import meta
from pierhead.api.views import Object, OwnerReference
from pierhead.core import gc


def owned(*owners: str, blocking: bool = True, deleted: bool = False) -> Object:
    references = tuple(OwnerReference("v1", "Service", name, name, block_owner_deletion=blocking) for name in owners)
    return Object(
        meta("x", owner_references=references, deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None)
    )


@pytest.mark.parametrize(
    ("obj", "states", "dependents", "verdict"),
    [
        (owned(), {}, False, gc.Verdict()),
        (owned("a"), {"a": "here"}, False, gc.Verdict()),
        (owned("a"), {"a": "gone"}, False, gc.Verdict("Background")),
        (owned("a"), {"a": "unknown"}, False, gc.Verdict()),
        (owned("a", "b"), {"a": "gone", "b": "here"}, False, gc.Verdict(release=("a",))),
        (owned("a", "b"), {"a": "gone", "b": "gone"}, False, gc.Verdict("Background")),
        (owned("a"), {"a": "waiting"}, False, gc.Verdict("Background")),
        (owned("a"), {"a": "waiting"}, True, gc.Verdict("Foreground")),
        (owned("a", "b"), {"a": "waiting", "b": "here"}, False, gc.Verdict(release=("a",))),
        (owned("a", "b", blocking=False), {"a": "waiting", "b": "here"}, False, gc.Verdict()),
        (owned("a", deleted=True), {"a": "gone"}, False, gc.Verdict()),
    ],
)
def test_judgement(obj: Object, states: dict[str, gc.OwnerState], dependents: bool, verdict: gc.Verdict) -> None:
    assert gc.judge(obj, lambda owner: states[owner.uid], has_dependents=dependents) == verdict


def test_a_foreground_deletion_waits_for_those_that_block_it() -> None:
    owner = Object(meta("a", uid="a"))
    assert not gc.may_go(owner, [owned("a")])
    assert gc.may_go(owner, [owned("a", blocking=False), owned("b")])


def test_references_are_taken_out_by_uid() -> None:
    assert [found.name for found in gc.without(owned("a", "b"), ("a",))] == ["b"]
