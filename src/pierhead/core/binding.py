"""On which node a pod runs: one of those it may run on, spread over zones, then over nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pierhead.api.views import Node, Pod, Taint, Toleration


class Choice(NamedTuple):
    node: str = ""
    """Empty: none fits."""
    message: str = ""
    """Why none fits, in the scheduler's words."""


def wants_node(pod: Pod) -> bool:
    """It is waiting to be bound."""
    return not (pod.spec.node_name or pod.spec.scheduling_gates or pod.finished or pod.metadata.deletion_timestamp)


def choose(pod: Pod, nodes: Sequence[Node], load: Mapping[str, int]) -> Choice:
    """``load``: how many pods like this one (that is, of its owner, or of its namespace) each node already has."""
    reasons: Counter[str] = Counter()
    fitting = []
    for node in nodes:
        reason = refusal(pod, node)
        if reason:
            reasons[reason] += 1
        else:
            fitting.append(node)
    if not fitting:
        return Choice("", _unschedulable(len(nodes), reasons))
    zones = Counter({node.zone: 0 for node in nodes})
    for node in nodes:
        zones[node.zone] += load.get(node.metadata.name, 0)
    best = min(
        fitting,
        key=lambda node: (_tainted(pod, node), zones[node.zone], load.get(node.metadata.name, 0), node.metadata.name),
    )
    return Choice(best.metadata.name)


def refusal(pod: Pod, node: Node) -> str:
    """Why this pod may not run on this node; empty when it may."""
    unschedulable = Taint("node.kubernetes.io/unschedulable", "NoSchedule")
    if node.spec.unschedulable and not _tolerates(pod.spec.tolerations, unschedulable):
        return "node(s) were unschedulable"
    for taint in node.spec.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and not _tolerates(pod.spec.tolerations, taint):
            return f"node(s) had untolerated taint(s) {{{taint.key}: {taint.value}}}"
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    return "" if node.ready else "node(s) were not ready"


def _tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    return any(_matches(found, taint) for found in tolerations)


def _matches(found: Toleration, taint: Taint) -> bool:
    """An empty key with Exists matches every taint, an empty effect every effect."""
    if found.effect and found.effect != taint.effect:
        return False
    if found.operator == "Exists":
        return found.key in ("", taint.key)
    return found.key == taint.key and found.value == taint.value


def _tainted(pod: Pod, node: Node) -> int:
    """Taints that only ask for another node."""
    soft = (taint for taint in node.spec.taints if taint.effect == "PreferNoSchedule")
    return sum(not _tolerates(pod.spec.tolerations, taint) for taint in soft)


def _unschedulable(count: int, reasons: Mapping[str, int]) -> str:
    if not count:
        return "no nodes available to schedule pods"
    told = ", ".join(f"{times} {reason}" for reason, times in sorted(reasons.items()))
    return f"0/{count} nodes are available: {told}."
