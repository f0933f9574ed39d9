"""What a ReplicaSet lacks or has too much of, which pods go first, and what its status says.

Rules: Kubernetes' replicaset controller (pkg/controller/replicaset) and ``ActivePods`` ranking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from pierhead.api import Tree, external
from pierhead.api.pods import DELETION_COST
from pierhead.api.selectors import LabelSelector, from_tree
from pierhead.api.views import Condition, OwnerReference, Pod, ReplicaSet, ReplicaSetStatus

BURST = 500
"""Pods created or deleted in one go."""
API_VERSION, KIND = "apps/v1", "ReplicaSet"


class Claims(NamedTuple):
    """Which pods are ours, and what to do to make it so."""

    owned: tuple[Pod, ...] = ()
    adopt: tuple[Pod, ...] = ()
    """They match and belong to nobody."""
    release: tuple[Pod, ...] = ()
    """They are ours and match no more."""


def selector_of(replica_set: ReplicaSet) -> LabelSelector:
    return from_tree(msgspec.to_builtins(replica_set.spec.selector))


def claim(replica_set: ReplicaSet, pods: Iterable[Pod]) -> Claims:
    """``pods``: those of its namespace that it owns or that nobody owns. One that ran to its end, or is being deleted, is not adopted;
    nor is an external one, which somebody registered by its name: as a replica it would be deleted to come to a number."""
    selector, uid = selector_of(replica_set), replica_set.metadata.uid
    going = replica_set.metadata.deletion_timestamp is not None
    owned, adopt, release = [], [], []
    for pod in pods:
        owner, matches = pod.metadata.controller, selector.matches(pod.metadata.labels)
        if owner is not None:
            if owner.uid == uid and (matches or going):
                owned.append(pod)
            elif owner.uid == uid and pod.metadata.deletion_timestamp is None:
                release.append(pod)
        elif matches and not going and is_active(pod) and pod.spec.runtime_class_name != external.RUNTIME_CLASS:
            adopt.append(pod)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def is_active(pod: Pod) -> bool:
    """It counts as a replica."""
    return not pod.finished and pod.metadata.deletion_timestamp is None


class Scale(NamedTuple):
    create: int = 0
    delete: tuple[Pod, ...] = ()


def scale(replica_set: ReplicaSet, owned: Sequence[Pod], burst: int = BURST) -> Scale:
    """How many to create, or which to delete. A ReplicaSet that is being deleted does neither."""
    if replica_set.metadata.deletion_timestamp is not None:
        return Scale()
    active = [pod for pod in owned if is_active(pod)]
    surplus = len(active) - replica_set.spec.replicas
    if surplus <= 0:
        return Scale(min(-surplus, burst))
    together = Counter(pod.spec.node_name for pod in active)
    newest = sorted(active, key=_times, reverse=True)
    ranked = sorted(newest, key=lambda pod: _dispensable(pod, together))
    return Scale(delete=tuple(ranked[: min(surplus, burst)]))


def _times(pod: Pod) -> tuple[str, int, str]:
    """Since when it is ready, its restarts, when it was created: the largest goes first. Times in UTC sort as texts."""
    since = next((found.last_transition_time for found in pod.status.conditions if found.type == "Ready"), None)
    restarts = max((found.restart_count for found in pod.status.container_statuses), default=0)
    return (since or "") if pod.ready else "", restarts, pod.metadata.creation_timestamp or ""


def _dispensable(pod: Pod, together: Mapping[str, int]) -> tuple[object, ...]:
    """Smallest goes first: unassigned, pending, unready, cheap, not alone on its node. Of equals the newest."""
    phase = {"Pending": 0, "Unknown": 1, "": 1}.get(pod.status.phase, 2)
    return bool(pod.spec.node_name), phase, pod.ready, _cost(pod), -together[pod.spec.node_name]


def _cost(pod: Pod) -> int:
    """A write of the status can put anything there: what is no number counts for nothing."""
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


# -- status -------------------------------------------------------------------------------------------------


def status(
    replica_set: ReplicaSet, owned: Sequence[Pod], now: datetime, failure: Condition | None = None
) -> ReplicaSetStatus:
    """``owned``: all of its pods. ``failure``: the ReplicaFailure condition, when the last attempt to scale failed."""
    active = [pod for pod in owned if is_active(pod)]
    labels = replica_set.spec.template.metadata.labels.items()
    kept = tuple(found for found in replica_set.status.conditions if found.type != "ReplicaFailure")
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(labels <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(pod.ready for pod in active),
        available_replicas=sum(available_in(replica_set, pod, now) == 0 for pod in active if pod.ready),
        terminating_replicas=sum(pod.metadata.deletion_timestamp is not None and not pod.finished for pod in owned),
        observed_generation=replica_set.metadata.generation,
        conditions=(*kept, failure) if failure else kept,
    )


def available_in(replica_set: ReplicaSet, pod: Pod, now: datetime) -> float:
    """Seconds until a ready pod has been so for ``minReadySeconds``; 0: it is available."""
    wanted = timedelta(seconds=replica_set.spec.min_ready_seconds)
    since = next((found.last_transition_time for found in pod.status.conditions if found.type == "Ready"), None)
    if not wanted or not since:
        return 0.0
    return max(0.0, (datetime.fromisoformat(since) + wanted - now).total_seconds())


def failed(message: str, reason: str, now: str, before: Iterable[Condition]) -> Condition:
    """The ReplicaFailure condition; one that already holds keeps its time."""
    old = next((found for found in before if found.type == "ReplicaFailure" and found.reason == reason), None)
    time = old.last_transition_time if old else now
    return Condition("ReplicaFailure", "True", reason, message, time)


# -- pods ---------------------------------------------------------------------------------------------------


def owner_of(replica_set: ReplicaSet) -> OwnerReference:
    meta = replica_set.metadata
    return OwnerReference(API_VERSION, KIND, meta.name, meta.uid, controller=True, block_owner_deletion=True)


def pod_from(replica_set: Tree) -> Tree:
    """A new pod as the template of a whole ReplicaSet says."""
    meta, template = replica_set["metadata"], replica_set["spec"]["template"]
    copied = {
        key: value
        for key in ("labels", "annotations", "finalizers")
        if (value := template.get("metadata", {}).get(key))
    }
    owner = {
        "apiVersion": API_VERSION, "kind": KIND, "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    named = {"generateName": f"{meta['name']}-", "namespace": meta["namespace"], "ownerReferences": [owner]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": copied | named, "spec": template.get("spec", {})}
