"""The taint of a node follows its readiness."""

from __future__ import annotations

import pytest
from msgspec import convert

from pierhead.api.pods_scheduling import NOT_READY
from pierhead.api.views import Node
from pierhead.core import nodes


def node(*, ready: str, tainted: bool) -> Node:
    taints = [
        {"key": "other", "effect": "NoSchedule"},
        *([{"key": NOT_READY, "effect": "NoSchedule"}] if tainted else []),
    ]
    conditions = [{"type": "Ready", "status": ready}]
    return convert({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions}}, Node)


def keys(found: Node) -> list[str]:
    return [taint.key for taint in nodes.taints(found)]


def test_a_ready_node_loses_its_taint_and_keeps_the_others() -> None:
    assert keys(node(ready="True", tainted=True)) == ["other"]


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_node_that_is_not_ready_gets_it(ready: str) -> None:
    assert keys(node(ready=ready, tainted=False)) == ["other", NOT_READY]


@pytest.mark.parametrize(("ready", "tainted"), [("True", False), ("False", True), ("Unknown", True)])
def test_nothing_changes_when_they_agree(ready: str, tainted: bool) -> None:
    found = node(ready=ready, tainted=tainted)
    assert nodes.taints(found) == found.spec.taints
