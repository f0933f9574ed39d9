"""On which node a pod runs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from builders import node, pod
from pierhead.core import binding

TAINTED = node("n1", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])


def waiting(**spec: Any) -> Any:
    return pod("a", node="", **spec)


def test_pods_are_spread_over_zones_then_over_nodes() -> None:
    nodes = [node("a1", "za"), node("a2", "za"), node("b1", "zb")]
    load: dict[str, int] = {}
    for _ in range(6):
        chosen = binding.choose(waiting(), nodes, load).node
        load[chosen] = load.get(chosen, 0) + 1
    assert load == {"a1": 2, "a2": 1, "b1": 3}


@pytest.mark.parametrize(
    ("spec", "on", "reason"),
    [
        ({}, node(ready=False), "node(s) had untolerated taint(s)"),
        ({"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}, node(ready=False), ""),
        ({}, node(unschedulable=True), "node(s) were unschedulable"),
        ({}, TAINTED, "node(s) had untolerated taint(s)"),
        ({"tolerations": [{"key": "k", "value": "v"}]}, TAINTED, ""),
        (
            {"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]},
            TAINTED,
            "node(s) had untolerated taint(s)",
        ),
        ({"tolerations": [{"operator": "Exists"}]}, TAINTED, ""),
        ({"tolerations": [{"operator": "Exists"}]}, node(unschedulable=True), ""),
        (
            {"nodeSelector": {"topology.kubernetes.io/zone": "zb"}},
            node(),
            "node(s) didn't match Pod's node affinity/selector",
        ),
    ],
)
def test_why_a_node_does_not_fit(spec: dict[str, Any], on: Any, reason: str) -> None:
    assert binding.refusal(waiting(**spec), on) == reason


def requiring(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def wants(operator: str, *values: str, key: str = "topology.kubernetes.io/zone") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        ([{"matchExpressions": [wants("In", "za", "zc")]}], True),
        ([{"matchExpressions": [wants("NotIn", "za")]}], False),
        ([{"matchExpressions": [wants("NotIn", "za")]}, {"matchExpressions": [wants("Exists")]}], True),
        ([{"matchExpressions": [wants("In", "za"), wants("Exists", key="disk")]}], False),
        ([{"matchExpressions": [wants("Gt", "3", key="cores")]}], True),
        ([{"matchExpressions": [wants("Lt", "4", key="cores")]}], False),
        ([{"matchFields": [wants("In", "n1", key="metadata.name")]}], True),
        ([{"matchFields": [wants("NotIn", "n1", key="metadata.name")]}], False),
        ([{}], False),
    ],
)
def test_a_node_must_match_one_of_the_terms_a_pod_requires(terms: list[dict[str, Any]], fits: bool) -> None:
    found = node()
    labelled = structs.replace(found.metadata, labels=found.metadata.labels | {"cores": "4"})
    reason = binding.refusal(waiting(affinity=requiring(*terms)), structs.replace(found, metadata=labelled))
    assert reason == ("" if fits else "node(s) didn't match Pod's node affinity/selector")


def test_a_soft_taint_is_avoided_not_refused() -> None:
    soft = node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    assert binding.choose(waiting(), [soft, node("b")], {"b": 5}).node == "b"
    assert binding.choose(waiting(), [soft], {}).node == "a"


def test_the_message_counts_the_reasons() -> None:
    nodes = [TAINTED, node("b", unschedulable=True), node("c", unschedulable=True)]
    message = binding.choose(waiting(), nodes, {}).message
    assert message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) were unschedulable."
        " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert binding.choose(waiting(), [], {}).message == "no nodes available to schedule pods"


def test_a_pod_that_fits_nowhere_says_so_and_since_when() -> None:
    homeless = waiting(nodeSelector={"disk": "nvme"})
    choice = binding.choose(homeless, [node()], {})
    first = binding.unscheduled(homeless, choice, "2026-01-01T00:00:10Z")
    assert first is not None
    assert (first.type, first.status, first.reason) == ("PodScheduled", "False", "Unschedulable")
    assert first.message.startswith("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
    assert first.last_transition_time == "2026-01-01T00:00:10Z"

    told = structs.replace(homeless, status=structs.replace(homeless.status, conditions=(first,)))
    assert binding.unscheduled(told, choice, "2026-01-01T00:00:20Z") is None
    other = binding.unscheduled(told, binding.choose(homeless, [], {}), "2026-01-01T00:00:20Z")
    assert other is not None
    assert other.message == "no nodes available to schedule pods"
    assert other.last_transition_time == "2026-01-01T00:00:10Z"


def test_who_wants_a_node() -> None:
    assert binding.wants_node(waiting())
    assert not binding.wants_node(pod("a"))
    assert not binding.wants_node(waiting(deleted=True))
    assert not binding.wants_node(waiting(schedulingGates=[{"name": "later"}]))
    assert binding.wants_node(waiting(schedulerName="default-scheduler"))
    assert not binding.wants_node(waiting(schedulerName="somebody-else"))
