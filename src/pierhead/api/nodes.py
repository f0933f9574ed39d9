"""Nodes: where pods run."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.pods_scheduling import NOT_READY, TAINT_EFFECTS
from pierhead.api.rules import (
    cidr,
    forbidden_field,
    invalid_values,
    label_value,
    not_supported,
    qualified_name,
    required,
)
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

BIRTH = {"key": NOT_READY, "effect": "NoSchedule"}
"""The taint with which a Node is born: whoever manages nodes takes it away when the node is ready."""


class NodeStrategy(Strategy):
    """The status may be given at creation; later it changes through its subresource."""

    def default(self, obj: Tree) -> None:
        status = obj.get("status") or {}
        if status.get("capacity") and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])
        _agree(obj.get("spec") or {})

    def prepare_create(self, obj: Tree, write: Write) -> None:
        spec = obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(BIRTH.items() <= taint.items() for taint in taints):
            spec["taints"] = [*taints, dict(BIRTH)]

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        kept = "spec" if write.subresource == "status" else "status"
        obj[kept] = dict(old.get(kept) or {})

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes = _taint_causes(spec.get("taints") or [])
        for place, value in enumerate(spec.get("podCIDRs") or []):
            causes += invalid_values(f"spec.podCIDRs[{place}]", value, cidr(value))
        return causes

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "status":
            return []
        causes, before = self.validate(obj, write), old.get("spec") or {}
        new = obj.get("spec") or {}
        if before.get("podCIDRs") and new.get("podCIDRs") != before["podCIDRs"]:
            causes.append(
                forbidden_field("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
            )
        if before.get("providerID") and new.get("providerID") != before["providerID"]:
            causes.append(
                forbidden_field("spec.providerID", 'node updates may not change providerID except from "" to valid')
            )
        return causes

    def selectable(self, obj: Tree) -> dict[str, str]:
        return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}


def _agree(spec: Tree) -> None:
    """``podCIDR`` is the first of ``podCIDRs``; where they differ the older field wins, for clients that know only that."""
    first, ranges = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if first and ranges[:1] != [first]:
        spec["podCIDRs"] = [first]
    elif ranges and not first:
        spec["podCIDR"] = ranges[0]


def _taint_causes(taints: list[Tree]) -> list[Cause]:
    causes = []
    for place, taint in enumerate(taints):
        path = f"spec.taints[{place}]"
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
        causes += invalid_values(f"{path}.key", key, qualified_name(key))
        causes += invalid_values(f"{path}.value", value, label_value(value))
        if not effect:
            causes.append(required(f"{path}.effect"))
        elif effect not in TAINT_EFFECTS:
            causes.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return causes
