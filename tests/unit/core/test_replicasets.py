"""How many pods a ReplicaSet lacks, and which of too many go first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import pod, view
from pierhead.api import external
from pierhead.api.pods import DELETION_COST
from pierhead.api.views import Pod, ReplicaSet
from pierhead.core import replicasets

NOW = datetime(2026, 1, 1, 0, 0, 15, tzinfo=UTC)


def replica_set(replicas: int = 3, *, deleted: bool = False, **spec: Any) -> ReplicaSet:
    metadata: dict[str, Any] = {"name": "r", "namespace": "default", "uid": "uid-r", "generation": 4}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    template = {"metadata": {"labels": {"app": "web"}}}
    plain = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return view(ReplicaSet, {"metadata": metadata, "spec": plain | spec})


def names(pods: tuple[Pod, ...]) -> list[str]:
    return [found.metadata.name for found in pods]


def test_pods_that_match_and_belong_to_nobody_are_adopted_those_that_match_no_more_released() -> None:
    pods = [
        pod("mine", owner="r"), pod("lost"), pod("strange", labels={"app": "db"}),
        pod("left", owner="r", labels={"app": "db"}), pod("other", owner="s"), pod("done", phase="Failed"),
    ]  # fmt: skip
    found = replicasets.claim(replica_set(), pods)
    assert (names(found.owned), names(found.adopt), names(found.release)) == (["mine"], ["lost"], ["left"])
    assert names(replicasets.claim(replica_set(deleted=True), pods).adopt) == []


def test_what_somebody_registered_is_nobodys_replica() -> None:
    plain = pod("registered")
    registered = replace(plain, spec=replace(plain.spec, runtime_class_name=external.RUNTIME_CLASS))
    assert replicasets.claim(replica_set(), [registered]) == replicasets.Claims()
    assert names(replicasets.claim(replica_set(), [plain]).adopt) == ["registered"]


def test_what_ended_or_is_going_is_replaced() -> None:
    owned = [pod("a"), pod("b", phase="Failed"), pod("c", deleted=True)]
    assert replicasets.scale(replica_set(3), owned).create == 2


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (pod("x", node=""), pod("y")),
        (pod("x", phase="Pending"), pod("y")),
        (pod("x", ready=False), pod("y")),
    ],
)
def test_the_least_useful_goes_first(first: Pod, later: Pod) -> None:
    assert names(replicasets.scale(replica_set(1), [later, first]).delete) == ["x"]


def aged(name: str, *, created: str = "00", ready: str = "05", restarts: int = 0, cost: str = "0") -> Pod:
    """``created`` and ``ready``: seconds."""
    time = "2026-01-01T00:00:{}Z"
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time.format(ready)}],
        "containerStatuses": [{"name": "c", "restartCount": restarts}],
    }
    metadata = {
        "name": name, "namespace": "default", "creationTimestamp": time.format(created),
        "annotations": {DELETION_COST: cost},
    }  # fmt: skip
    return view(Pod, {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status})


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (aged("x", cost="-1", ready="01"), aged("y", ready="09")),
        (aged("x", ready="09"), aged("y", ready="05", restarts=3, created="04")),
        (aged("x", restarts=1), aged("y", created="04")),
        (aged("x", created="04"), aged("y", created="03")),
        (aged("x"), aged("y", cost="nothing", created="00", ready="04")),
    ],
)
def test_of_useful_ones_the_cheaper_then_the_newer_goes_first(first: Pod, later: Pod) -> None:
    for owned in ([first, later], [later, first]):
        assert names(replicasets.scale(replica_set(1), owned).delete) == ["x"]


def test_of_equals_one_of_a_crowded_node_goes_first() -> None:
    assert names(replicasets.scale(replica_set(2), [pod("a", node="n2"), pod("b"), pod("c")]).delete)[0] in "bc"


def test_a_replicaset_that_is_going_scales_nothing() -> None:
    assert replicasets.scale(replica_set(0, deleted=True), [pod("a")]) == replicasets.Scale()


@given(st.integers(0, 6), st.lists(st.sampled_from(["Running", "Pending", "Failed"]), max_size=8))
def test_after_scaling_there_are_as_many_as_asked(wanted: int, phases: list[str]) -> None:
    owned = [pod(f"p{i}", phase=phase) for i, phase in enumerate(phases)]
    found = replicasets.scale(replica_set(wanted), owned)
    active = sum(replicasets.is_active(one) for one in owned)
    assert active + found.create - len(found.delete) == wanted
    assert all(map(replicasets.is_active, found.delete))


def test_status_counts() -> None:
    owned = [pod("a"), pod("b", ready=False), pod("c", deleted=True), pod("d", labels={"x": "y"})]
    found = replicasets.status(replica_set(minReadySeconds=60), owned, NOW)
    assert (found.replicas, found.fully_labeled_replicas, found.ready_replicas) == (3, 2, 2)
    assert (found.available_replicas, found.terminating_replicas, found.observed_generation) == (0, 1, 4)
    assert replicasets.available_in(replica_set(minReadySeconds=60), owned[0], NOW) == 50.0
    assert replicasets.status(replica_set(), owned, NOW).available_replicas == 2


def test_a_pod_is_made_from_the_whole_template() -> None:
    tree = {
        "metadata": {"name": "r", "namespace": "default", "uid": "uid-r"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}, "name": "x"}, "spec": {"anything": [1]}}},
    }
    made = replicasets.pod_from(tree)
    assert made["spec"] == {"anything": [1]}
    assert made["metadata"]["generateName"] == "r-"
    assert "name" not in made["metadata"]
    assert made["metadata"]["ownerReferences"][0]["controller"] is True
