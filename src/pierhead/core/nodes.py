"""What a node's readiness means for those who would bind pods to it."""

from __future__ import annotations

from pierhead.api.views import Node, Taint

NOT_READY = "node.kubernetes.io/not-ready"
"""Every new node is born with this taint (effect NoSchedule), so that nothing is bound to it before it is ready."""


def taints(node: Node) -> tuple[Taint, ...]:
    """Those it should have: NOT_READY as long as its Ready condition does not hold, the others as they are."""
    if node.ready:
        return tuple(taint for taint in node.spec.taints if taint.key != NOT_READY)
    tainted = any(taint.key == NOT_READY for taint in node.spec.taints)
    return node.spec.taints if tainted else (*node.spec.taints, Taint(NOT_READY, "NoSchedule"))
