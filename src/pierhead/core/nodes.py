"""What a node's readiness means for those who would bind pods to it."""

from __future__ import annotations

from pierhead.api.pods_scheduling import NOT_READY
from pierhead.api.views import Node, Taint


def taints(node: Node) -> tuple[Taint, ...]:
    """Those it should have: NOT_READY, with which it was born, as long as its Ready condition does not hold; the others as they are."""
    if node.ready:
        return tuple(taint for taint in node.spec.taints if taint.key != NOT_READY)
    tainted = any(taint.key == NOT_READY for taint in node.spec.taints)
    return node.spec.taints if tainted else (*node.spec.taints, Taint(NOT_READY, "NoSchedule"))
