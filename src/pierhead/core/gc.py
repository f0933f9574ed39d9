"""What becomes of an object when its owners go: collected, released, or waited for.

Rules: Kubernetes' garbage collector (pkg/controller/garbagecollector).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from pierhead.api.views import Object, OwnerReference

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

OwnerState: TypeAlias = Literal["here", "gone", "waiting", "unknown"]
"""``waiting``: it is being deleted and waits for its dependents (foreground). ``unknown``: a kind we do not serve: let it be."""


class Verdict(NamedTuple):
    """What to do with one object."""

    delete: Literal["", "Background", "Foreground"] = ""
    """Delete it, this way."""
    release: tuple[str, ...] = ()
    """Take out the references to owners with these uids."""


def judge(obj: Object, state: Callable[[OwnerReference], OwnerState], *, has_dependents: bool) -> Verdict:
    """An object goes when none of its owners is here; as long as one is, references to the others are taken out."""
    owners = obj.metadata.owner_references
    if not owners or obj.metadata.deletion_timestamp is not None:
        return Verdict()
    states = [(owner, state(owner)) for owner in owners]
    if any(found in ("here", "unknown") for _, found in states):
        blocked = [
            owner.uid
            for owner, found in states
            if found == "gone" or (found == "waiting" and owner.block_owner_deletion)
        ]
        return Verdict(release=tuple(blocked))
    if any(found == "waiting" for _, found in states) and has_dependents:
        return Verdict("Foreground")
    return Verdict("Background")


def may_go(owner: Object, dependents: Sequence[Object]) -> bool:
    """Whether an object deleted in the foreground has nobody left that it must wait for."""
    return not any(_blocks(dependent, owner.metadata.uid) for dependent in dependents)


def _blocks(dependent: Object, uid: str) -> bool:
    return any(found.uid == uid and found.block_owner_deletion for found in dependent.metadata.owner_references)


def without(obj: Object, uids: Sequence[str]) -> tuple[OwnerReference, ...]:
    """Its owner references but for those."""
    return tuple(found for found in obj.metadata.owner_references if found.uid not in uids)
