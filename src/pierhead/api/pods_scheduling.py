"""What a pod says about its scheduling: tolerations, affinity to nodes, gates, and how it wants to be spread."""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.rules import (
    dns1123_subdomain,
    duplicate,
    forbidden_field,
    invalid_value,
    invalid_values,
    label_value,
    not_supported,
    qualified_name,
    required,
)
from pierhead.api.selectors import expression_causes
from pierhead.errors import Cause

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
TOLERATED_SECONDS = 300
"""How long a pod stays on a node that is gone, unless it says otherwise."""
GATED = {
    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}  # fmt: skip
"""The condition with which a pod is born that has gates."""
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


# -- gates --------------------------------------------------------------------------------------------------


def gate_causes(path: str, gates: Sequence[Tree]) -> list[Cause]:
    causes, names = [], set()
    for place, gate in enumerate(gates):
        here, name = f"{path}[{place}]", gate.get("name") or ""
        causes += invalid_values(here, name, qualified_name(name))
        if name in names:
            causes.append(duplicate(here, name))
        names.add(name)
    return causes


def added_gate_causes(path: str, new: Sequence[Tree], old: Sequence[Tree]) -> list[Cause]:
    """A pod may lose gates, never gain one."""
    known = {gate.get("name") for gate in old}
    text = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden_field(f"{path}[{place}].name", f"{text} '{gate.get('name') or ''}'")
        for place, gate in enumerate(new)
        if gate.get("name") not in known
    ]


# -- affinity to nodes --------------------------------------------------------------------------------------

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def node_affinity_causes(path: str, affinity: Tree) -> list[Cause]:
    """``affinity``: ``nodeAffinity``. Of it we bind by what is required; what is preferred is kept and not looked at."""
    required_nodes, here = affinity.get(_REQUIRED), f"{path}.{_REQUIRED}.nodeSelectorTerms"
    if required_nodes is None:
        return []
    terms = required_nodes.get("nodeSelectorTerms") or []
    causes = [] if terms else [required(here, "must have at least one node selector term")]
    for place, term in enumerate(terms):
        for index, found in enumerate(term.get("matchExpressions") or []):
            causes += expression_causes(f"{here}[{place}].matchExpressions[{index}]", found, compares=True)
        for index, found in enumerate(term.get("matchFields") or []):
            causes += _field_term(f"{here}[{place}].matchFields[{index}]", found)
    return causes


def _field_term(path: str, found: Tree) -> list[Cause]:
    """The name is the only field of a node that can be asked for."""
    key, operator, values = found.get("key") or "", found.get("operator") or "", found.get("values") or []
    causes = []
    if operator not in ("In", "NotIn"):
        causes.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(required(f"{path}.values", text))
    if key != "metadata.name":
        return [*causes, invalid_value(f"{path}.key", key, "not a valid field selector key")]
    for index, value in enumerate(values):
        causes += invalid_values(f"{path}.values[{index}]", value, dns1123_subdomain(value))
    return causes
