"""Tables of the small kinds."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.columns import NONE, UNKNOWN, Printed, age, name_of, since
from pierhead.api.kind import Cell

_ROLE = "node-role.kubernetes.io/"
_OLD_ROLE = "kubernetes.io/role"


def _namespace(obj: Tree, now: float) -> list[Cell]:
    return [name_of(obj), (obj.get("status") or {}).get("phase") or "", age(obj, now)]


def _node(obj: Tree, now: float) -> list[Cell]:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    kernel, machine = info.get("kernelVersion") or UNKNOWN, info.get("architecture") or ""
    return [
        name_of(obj),
        _node_state(obj, status),
        ",".join(_roles(obj["metadata"].get("labels") or {})) or NONE,
        age(obj, now),
        info.get("kubeletVersion") or "",
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        f"{kernel} ({machine})" if machine else kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_state(obj: Tree, status: Tree) -> str:
    ready = [found for found in status.get("conditions") or [] if found.get("type") == "Ready"]
    states = ["Unknown"]
    if ready:
        states = ["Ready" if ready[0].get("status") == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _roles(labels: Tree) -> list[str]:
    roles = {label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE)} | {labels.get(_OLD_ROLE) or ""}
    return sorted(roles - {""})


def _address(status: Tree, kind: str) -> str:
    found = [entry.get("address") or "" for entry in status.get("addresses") or [] if entry.get("type") == kind]
    return found[0] if found else NONE


def _config_map(obj: Tree, now: float) -> list[Cell]:
    return [name_of(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age(obj, now)]


def _secret(obj: Tree, now: float) -> list[Cell]:
    return [name_of(obj), obj.get("type") or "", len(obj.get("data") or {}), age(obj, now)]


def _event(obj: Tree, now: float) -> list[Cell]:
    involved, series = obj.get("involvedObject") or {}, obj.get("series")
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series is not None:
        last, count = since(series.get("lastObservedTime"), now), series.get("count") or 0
    target = (involved.get("kind") or "").lower()
    return [
        last,
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{target}/{involved['name']}" if involved.get("name") else target,
        involved.get("fieldPath") or "",
        _source(obj),
        (obj.get("message") or "").strip(),
        first,
        count,
        name_of(obj),
    ]


def _source(obj: Tree) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _lease(obj: Tree, now: float) -> list[Cell]:
    return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def _proxy_status(obj: Tree, now: float) -> list[Cell]:
    status = obj.get("status") or {}
    programmed = status.get("programmed") or {}
    return [
        name_of(obj),
        ",".join(status.get("nodes") or []) or NONE,
        programmed.get("services") or NONE,
        programmed.get("endpointSlices") or NONE,
        len(status.get("refusals") or []),
        since(status.get("observedAt"), now),
        age(obj, now),
    ]


NAMESPACE = Printed("Namespace", _namespace)
NODE = Printed("Node", _node)
CONFIG_MAP = Printed("ConfigMap", _config_map)
SECRET = Printed("Secret", _secret)
EVENT = Printed("Event", _event)
LEASE = Printed("Lease", _lease)
PROXY_STATUS = Printed("ProxyStatus", _proxy_status)
