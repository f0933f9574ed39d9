"""What a pod says about nodes: tolerations, and how it wants to be spread."""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.rules import (
    forbidden_field,
    invalid_value,
    invalid_values,
    label_value,
    not_supported,
    qualified_name,
    required,
)
from pierhead.errors import Cause

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
TOLERATED_SECONDS = 300
"""How long a pod stays on a node that is gone, unless it says otherwise."""
MANNERS = ("DoNotSchedule", "ScheduleAnyway")


def add_tolerations(spec: Tree) -> None:
    """A pod tolerates a node that is gone for a while, unless it says itself for how long. In place."""
    tolerations = spec.get("tolerations") or []
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_SECONDS}
        for key in (NOT_READY, UNREACHABLE)
        if not any(_tolerates(toleration, key) for toleration in tolerations)
    ]
    if added:
        spec["tolerations"] = [*tolerations, *added]


def _tolerates(toleration: Tree, key: str) -> bool:
    return (toleration.get("key") or key) == key and (toleration.get("effect") or "NoExecute") == "NoExecute"


def toleration_causes(path: str, tolerations: Sequence[Tree]) -> list[Cause]:
    return [cause for place, found in enumerate(tolerations) for cause in _toleration(f"{path}[{place}]", found)]


def _toleration(path: str, found: Tree) -> list[Cause]:
    key, operator, effect = (found.get(name) or "" for name in ("key", "operator", "effect"))
    causes = invalid_values(f"{path}.key", key, qualified_name(key)) if key else []
    if not key and operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        causes.append(invalid_value(f"{path}.operator", operator, text))
    if found.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes.append(invalid_value(f"{path}.effect", effect, text))
    value = found.get("value") or ""
    if operator in ("", "Equal"):
        causes += invalid_values(f"{path}.operator", value, label_value(value))
    elif operator != "Exists":
        causes.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    elif value:
        causes.append(invalid_value(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'"))
    if effect and effect not in TAINT_EFFECTS:
        causes.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return causes


def added_toleration_causes(path: str, new: Sequence[Tree], old: Sequence[Tree]) -> list[Cause]:
    """A pod may gain tolerations and change their seconds, never lose one."""
    kept = [_without_seconds(found) for found in new]
    if any(_without_seconds(found) not in kept for found in old):
        return [forbidden_field(path, "existing toleration can not be modified except its tolerationSeconds")]
    return toleration_causes(path, new)


def _without_seconds(toleration: Tree) -> Tree:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def spread_causes(path: str, constraints: Sequence[Tree]) -> list[Cause]:
    """``topologySpreadConstraints``."""
    causes = []
    for place, found in enumerate(constraints):
        here = f"{path}[{place}]"
        skew, manner = found.get("maxSkew") or 0, found.get("whenUnsatisfiable") or ""
        if skew <= 0:
            causes.append(invalid_value(f"{here}.maxSkew", skew, "must be greater than zero"))
        if not found.get("topologyKey"):
            causes.append(required(f"{here}.topologyKey", "can not be empty"))
        if manner not in MANNERS:
            causes.append(not_supported(f"{here}.whenUnsatisfiable", manner, MANNERS))
    return causes
