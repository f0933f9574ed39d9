"""On which node a pod runs: one of those it may run on, spread over zones, then over nodes.

Why none fits is told in the words of kube-scheduler 1.36, and of several reasons that a node has only the first, in its order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pierhead.api.selectors import from_tree
from pierhead.api.views import Condition, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration
from pierhead.core import nodes as health

SCHEDULER = "default-scheduler"
"""Pods that name another scheduler are left to it."""
UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "NoSchedule")
"""Who tolerates this taint may run on a cordoned node, whether the node bears it or not."""
HARD = ("NoSchedule", "NoExecute")


class Choice(NamedTuple):
    node: str = ""
    """Empty: none fits."""
    message: str = ""
    """Why none fits, in the scheduler's words."""


def wants_node(pod: Pod) -> bool:
    """It is waiting to be bound, by us."""
    spec = pod.spec
    if spec.scheduler_name not in ("", SCHEDULER):
        return False
    return not (spec.node_name or spec.scheduling_gates or pod.finished or pod.metadata.deletion_timestamp)


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
    """Why this pod may not run on this node; empty when it may. A node that is not ready refuses by its taint."""
    tolerations = pod.spec.tolerations
    if node.spec.unschedulable and not _tolerates(tolerations, UNSCHEDULABLE):
        return "node(s) were unschedulable"
    if not all(_tolerates(tolerations, taint) for taint in health.taints(node) if taint.effect in HARD):
        return "node(s) had untolerated taint(s)"
    if not _is_wanted(pod, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def unscheduled(pod: Pod, choice: Choice, now: str) -> Condition | None:
    """The condition PodScheduled of a pod that fits nowhere; None when it says so already.

    ``now``: RFC 3339 in UTC, whole seconds. A condition that was False before keeps the time since when it is.
    """
    old = next((found for found in pod.status.conditions if found.type == "PodScheduled"), None)
    since = old.last_transition_time if old and old.status == "False" else now
    generation = pod.metadata.generation
    new = Condition("PodScheduled", "False", "Unschedulable", choice.message, since, observed_generation=generation)
    return None if new == old else new


def _is_wanted(pod: Pod, node: Node) -> bool:
    """By its node selector and what its affinity requires. A term without requirements matches no node."""
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return False
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    if not affinity or affinity.required is None:
        return True
    return any(_matches_term(term, node) for term in affinity.required.node_selector_terms)


def _matches_term(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    labels, fields = node.metadata.labels, {"metadata.name": node.metadata.name}
    return _selects(term.match_expressions, labels) and _selects(term.match_fields, fields)


def _selects(requirements: Sequence[NodeSelectorRequirement], values: Mapping[str, str]) -> bool:
    return from_tree({"matchExpressions": msgspec.to_builtins(requirements)}).matches(values)


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
    """Nothing here is for other pods to make room for, hence the sentence on preemption."""
    if not count:
        return "no nodes available to schedule pods"
    none = f"0/{count} nodes are available:"
    told = ", ".join(sorted(f"{times} {reason}" for reason, times in reasons.items()))
    return f"{none} {told}. preemption: {none} {count} Preemption is not helpful for scheduling."
