"""What a node's readiness means for those who would bind pods to it."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.views import Node

NOT_READY = "node.kubernetes.io/not-ready"
"""Every new node is born with this taint (effect NoSchedule), so that nothing is bound to it before it is ready."""


def taint_patch(node: Node) -> Tree | None:
    """The strategic merge patch that makes the taint agree with the node's Ready condition; None when it does."""
    tainted = any(taint.key == NOT_READY for taint in node.spec.taints)
    if node.ready and tainted:
        return {"spec": {"taints": [{"$patch": "delete", "key": NOT_READY}]}}
    if not node.ready and not tainted:
        return {"spec": {"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}}
    return None
