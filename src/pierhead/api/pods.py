"""Pods: what is particular about writing one, with what admission adds to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pierhead.api import Tree, external
from pierhead.api.pods_scheduling import GATED, add_tolerations
from pierhead.api.pods_update import status_causes, update_causes
from pierhead.api.pods_validation import spec_causes
from pierhead.api.pods_warnings import spec_warnings
from pierhead.api.quantities import parse
from pierhead.api.rules import forbidden_field, invalid_value
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause, forbidden

RUNTIME_CLASSES = ("process", "external", "podman")
"""How pods can run here; none means the first."""
PRIORITY = 0
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Of two pods a ReplicaSet gives up the one with the smaller number first."""
_is_cost = re.compile("-?(0|[1-9][0-9]{0,9})").fullmatch
PREEMPTION = "PreemptLowerPriority"


class PodStrategy(Strategy):
    """The spec is fixed at birth but for a few fields; the status is the node's."""

    def default(self, obj: Tree) -> None:
        status = obj.get("status") or {}
        _agree(status, "podIP", "podIPs")
        _agree(status, "hostIP", "hostIPs")

    def prepare_create(self, obj: Tree, write: Write) -> None:
        """Raises: ApiError 403 for a runtime class nobody knows."""
        spec = obj["spec"]
        runtime = spec.get("runtimeClassName")
        if runtime and runtime not in RUNTIME_CLASSES:
            why = f'pod rejected: RuntimeClass "{runtime}" not found'
            raise forbidden(obj["metadata"].get("name", ""), "pods", "", why)
        add_tolerations(spec)
        spec["priority"] = PRIORITY if spec.get("priority") is None else spec["priority"]
        spec["preemptionPolicy"] = spec.get("preemptionPolicy") or PREEMPTION
        obj["metadata"]["generation"] = 1
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            obj["status"]["conditions"] = [dict(GATED)]

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource == "status":
            obj["spec"] = old["spec"]
            obj["status"] = (obj.get("status") or {}) | {"qosClass": (old.get("status") or {}).get("qosClass", "")}
            _keep(obj["metadata"], old["metadata"], "ownerReferences")
            return
        obj["status"] = dict(old.get("status") or {})
        add_tolerations(obj["spec"])
        if obj["spec"] != old["spec"]:
            obj["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        spec = obj["spec"]
        causes = [*_annotations(_notes(obj)), *spec_causes("spec", spec)]
        if spec.get("nodeName") and spec.get("schedulingGates"):
            causes.append(forbidden_field("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
        return causes

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "binding":
            return []
        if write.subresource == "status":
            return status_causes(obj, old)
        return [*_annotations(_notes(obj)), *update_causes(obj, old)]

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        found = [] if old is not None and old["spec"] == obj["spec"] else spec_warnings("spec", obj["spec"])
        return found + ([] if old is not None and _notes(old) == _notes(obj) else external.warnings(obj))

    def selectable(self, obj: Tree) -> dict[str, str]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return {
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase") or "",
            "status.podIP": status.get("podIP") or "",
            "status.nominatedNodeName": status.get("nominatedNodeName") or "",
        }


def _notes(obj: Tree) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def _annotations(annotations: Mapping[str, str]) -> list[Cause]:
    """``controller.kubernetes.io/pod-deletion-cost``: a ReplicaSet compares numbers."""
    cost = annotations.get(DELETION_COST)
    if cost is None or (_is_cost(cost) and -(2**31) <= int(cost) < 2**31):
        return []
    return [invalid_value(f"metadata.annotations[{DELETION_COST}]", cost, "must be a 32bit integer")]


def qos_class(spec: Tree) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``: who is killed last when memory runs out."""
    containers = list(_containers(spec))
    if not any(_amounts(container, kind) for container in containers for kind in ("requests", "limits")):
        return "BestEffort"
    for container in containers:
        limits = _amounts(container, "limits")
        if limits.keys() != {"cpu", "memory"} or _amounts(container, "requests") != limits:
            return "Burstable"
    return "Guaranteed"


def _amounts(container: Tree, kind: str) -> dict[str, int]:
    """What of cpu and memory is given and more than nothing."""
    found = (container.get("resources") or {}).get(kind) or {}
    amounts = {name: parse(str(found[name])).nano for name in ("cpu", "memory") if name in found}
    return {name: amount for name, amount in amounts.items() if amount > 0}


def _containers(spec: Tree) -> Iterator[Tree]:
    for name in ("containers", "initContainers"):
        yield from spec.get(name) or ()


def set_condition(pod: Tree, condition: Tree) -> None:
    """Says it in the pod's status, in place of what was said there of the same type."""
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [found for found in conditions if found["type"] != condition["type"]] + [condition]


def _agree(status: Tree, one: str, many: str) -> None:
    """The older field wins where both are given: nodes that know only it must not be misread."""
    address, addresses = status.get(one) or "", status.get(many) or []
    if address and (not addresses or addresses[0].get("ip") != address):
        status[many] = [{"ip": address}]
    elif addresses and not address:
        status[one] = addresses[0].get("ip") or ""


def _keep(new: Tree, old: Tree, name: str) -> None:
    new.pop(name, None)
    if name in old:
        new[name] = old[name]
