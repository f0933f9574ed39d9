"""The taint of a node follows its readiness."""

from __future__ import annotations

import pytest
from msgspec import convert

from pierhead.api.views import Node
from pierhead.core.nodes import NOT_READY, taint_patch


def node(*, ready: str, tainted: bool) -> Node:
    taints = [
        {"key": "other", "effect": "NoSchedule"},
        *([{"key": NOT_READY, "effect": "NoSchedule"}] if tainted else []),
    ]
    conditions = [{"type": "Ready", "status": ready}]
    return convert({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions}}, Node)


def test_a_ready_node_loses_its_taint() -> None:
    assert taint_patch(node(ready="True", tainted=True)) == {
        "spec": {"taints": [{"$patch": "delete", "key": NOT_READY}]}
    }


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_node_that_is_not_ready_gets_it(ready: str) -> None:
    assert taint_patch(node(ready=ready, tainted=False)) == {
        "spec": {"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}
    }


@pytest.mark.parametrize(("ready", "tainted"), [("True", False), ("False", True), ("Unknown", True)])
def test_nothing_is_written_when_they_agree(ready: str, tainted: bool) -> None:
    assert taint_patch(node(ready=ready, tainted=tainted)) is None
