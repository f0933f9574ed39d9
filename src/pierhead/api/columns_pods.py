"""Tables of Pods and ReplicaSets. A pod's one word of status is put together from all its containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pierhead.api import Tree
from pierhead.api.columns import NONE, Printed, age, name_of, since
from pierhead.api.kind import Cell
from pierhead.api.selectors import LabelSelector, from_tree

_LOST = "NodeLost"


def _pod(obj: Tree, now: float) -> list[Cell]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    summary = _summary(obj, spec, status)
    total = len(spec.get("containers") or []) + len(_sidecars(spec))
    restarts = str(summary.restarts)
    if summary.restarts and summary.restarted:
        restarts += f" ({since(summary.restarted, now)} ago)"
    addresses = status.get("podIPs") or [{}]
    return [
        name_of(obj),
        f"{summary.ready}/{total}",
        summary.reason,
        restarts,
        age(obj, now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


@dataclass(slots=True)
class _Summary:
    reason: str
    ready: int = 0
    restarts: int = 0
    restarted: str = ""
    """When a container last ended before it was started again."""

    def count(self, container: Tree) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        self.restarted = max(self.restarted, ended)


def _summary(obj: Tree, spec: Tree, status: Tree) -> _Summary:
    summary = _Summary(status.get("reason") or status.get("phase") or "")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            summary.reason = "SchedulingGated"
    if not _initializing(summary, spec, status) or _is_true(status, "Initialized"):
        _run(summary, status)
    if obj["metadata"].get("deletionTimestamp"):
        if status.get("reason") == _LOST:
            summary.reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _initializing(summary: _Summary, spec: Tree, status: Tree) -> bool:
    """Whether an init container is still at work, or has failed: then the pod's status is about it."""
    sidecars = _sidecars(spec)
    before = _Summary("")
    for place, container in enumerate(status.get("initContainerStatuses") or []):
        summary.count(container)
        if container.get("name") in sidecars:
            before.count(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and not ended.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if ended is not None:
            summary.reason = f"Init:{_ending(ended)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            summary.reason = f"Init:{waiting['reason']}"
        else:
            summary.reason = f"Init:{place}/{len(spec.get('initContainers') or [])}"
        return True
    summary.restarts, summary.restarted = before.restarts, before.restarted
    return False


def _run(summary: _Summary, status: Tree) -> None:
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        summary.count(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif ended is not None:
            summary.reason = _ending(ended)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if _is_true(status, "Ready") else "NotReady"


def _ending(ended: Tree) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode') or 0}"


def _sidecars(spec: Tree) -> Sequence[str]:
    """Init containers that go on running beside the others."""
    return [
        found.get("name") or "" for found in spec.get("initContainers") or [] if found.get("restartPolicy") == "Always"
    ]


def _gates(spec: Tree, status: Tree) -> str:
    gates = [gate.get("conditionType") or "" for gate in spec.get("readinessGates") or []]
    return f"{sum(_is_true(status, gate) for gate in gates)}/{len(gates)}" if gates else NONE


def _is_true(status: Tree, kind: str) -> bool:
    return any(found.get("type") == kind and found.get("status") == "True" for found in status.get("conditions") or [])


def _replica_set(obj: Tree, now: float) -> list[Cell]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return [
        name_of(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(obj, now),
        ",".join(container.get("name") or "" for container in containers),
        ",".join(container.get("image") or "" for container in containers),
        selector_text(from_tree(spec.get("selector"))),
    ]


def selector_text(selector: LabelSelector) -> str:
    return ",".join(map(str, sorted(selector.requirements, key=lambda found: found.key))) or NONE


POD = Printed("Pod", _pod)
REPLICA_SET = Printed("ReplicaSet", _replica_set)
