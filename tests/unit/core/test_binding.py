"""On which node a pod runs."""

from __future__ import annotations

from typing import Any

import pytest

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
        ({}, node(ready=False), "node(s) were not ready"),
        ({}, node(unschedulable=True), "node(s) were unschedulable"),
        ({}, TAINTED, "node(s) had untolerated taint(s) {k: v}"),
        ({"tolerations": [{"key": "k", "value": "v"}]}, TAINTED, ""),
        (
            {"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]},
            TAINTED,
            "node(s) had untolerated taint(s) {k: v}",
        ),
        ({"tolerations": [{"operator": "Exists"}]}, TAINTED, ""),
        (
            {"nodeSelector": {"topology.kubernetes.io/zone": "zb"}},
            node(),
            "node(s) didn't match Pod's node affinity/selector",
        ),
    ],
)
def test_why_a_node_does_not_fit(spec: dict[str, Any], on: Any, reason: str) -> None:
    assert binding.refusal(waiting(**spec), on) == reason


def test_a_soft_taint_is_avoided_not_refused() -> None:
    soft = node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    assert binding.choose(waiting(), [soft, node("b")], {"b": 5}).node == "b"
    assert binding.choose(waiting(), [soft], {}).node == "a"


def test_the_message_counts_the_reasons() -> None:
    nodes = [node("a", ready=False), node("b", unschedulable=True), node("c", unschedulable=True)]
    message = binding.choose(waiting(), nodes, {}).message
    assert message == "0/3 nodes are available: 1 node(s) were not ready, 2 node(s) were unschedulable."
    assert binding.choose(waiting(), [], {}).message == "no nodes available to schedule pods"


def test_who_wants_a_node() -> None:
    assert binding.wants_node(waiting())
    assert not binding.wants_node(pod("a"))
    assert not binding.wants_node(waiting(deleted=True))
    assert not binding.wants_node(waiting(schedulingGates=[{"name": "later"}]))
