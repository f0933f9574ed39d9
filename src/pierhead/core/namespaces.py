"""The end of a namespace: what is left in it, and what its status says about that.

Texts: Kubernetes' namespaced resources deleter and its status condition updater.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pierhead.api.views import Condition, Namespace

SYSTEM = ("default", "kube-node-lease", "kube-public", "kube-system")
"""Made at the start; they cannot be deleted."""
FINALIZER = "kubernetes"


class Remains(NamedTuple):
    """What is left in a namespace after everything in it was told to go."""

    counts: Mapping[str, int]
    """Resource (``services.``: name, dot, group) → how many."""
    finalizers: Mapping[str, int]
    """Finalizer → on how many objects it stands."""
    failure: str = ""
    """Why something could not be deleted."""

    def __bool__(self) -> bool:
        return bool(self.counts or self.failure)


def remains(found: Mapping[str, Iterable[Sequence[str]]], failure: str = "") -> Remains:
    """``found``: resource → the finalizers of each object left of it."""
    counts: Counter[str] = Counter()
    finalizers: Counter[str] = Counter()
    for resource, objects in found.items():
        for of_one in objects:
            counts[resource] += 1
            finalizers.update(of_one)
    return Remains(counts, finalizers, failure)


def conditions(namespace: Namespace, left: Remains, now: str) -> tuple[Condition, ...]:
    """The five conditions of a namespace that is going; one that keeps its status keeps its time."""
    before = {found.type: found for found in namespace.status.conditions}
    return tuple(_kept(before.get(found.type), found) for found in _conditions(left, now))


def _kept(before: Condition | None, found: Condition) -> Condition:
    if before is None or before.status != found.status:
        return found
    return Condition(found.type, found.status, found.reason, found.message, before.last_transition_time)


def _conditions(left: Remains, now: str) -> Iterable[Condition]:
    def condition(name: str, bad: str, good: tuple[str, str], reason: str) -> Condition:
        status, (why, text) = ("True", (reason, bad)) if bad else ("False", good)
        return Condition(name, status, why, text, now)

    yield condition(
        "NamespaceDeletionDiscoveryFailure", "", ("ResourcesDiscovered", "All resources successfully discovered"), ""
    )
    yield condition(
        "NamespaceDeletionGroupVersionParsingFailure", "",
        ("ParsedGroupVersions", "All legacy kube types successfully parsed"), "",
    )  # fmt: skip
    yield condition(
        "NamespaceDeletionContentFailure", left.failure,
        ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"), "ContentDeletionFailed",
    )  # fmt: skip
    counts = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.counts.items()))
    yield condition(
        "NamespaceContentRemaining", f"Some resources are remaining: {counts}" if counts else "",
        ("ContentRemoved", "All content successfully removed"), "SomeResourcesRemain",
    )  # fmt: skip
    told = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items()))
    yield condition(
        "NamespaceFinalizersRemaining", f"Some content in the namespace has finalizers remaining: {told}" if told else "",
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished"), "SomeFinalizersRemain",
    )  # fmt: skip
