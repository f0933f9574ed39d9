"""Events: what happened to an object, told by whoever saw it."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import dns1123_subdomain, invalid_value, invalid_values, qualified_name, required
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

MOST_CHARACTERS = 128
"""Of an action, a reason, and the name of a reporting instance."""
MOST_MESSAGE = 1024
"""Characters of the message of an Event with an ``eventTime``; older ones may be longer."""

_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class EventStrategy(Strategy):
    """An Event lives in the namespace of its object; one with an ``eventTime`` must name its reporter and its action."""

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        namespace = obj["metadata"].get("namespace", "")
        causes = _modern(obj, namespace) if obj.get("eventTime") else _legacy(obj, namespace)
        return causes + invalid_values("namespace", namespace, dns1123_subdomain(namespace))

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        return self.validate(obj, write)

    def selectable(self, obj: Tree) -> dict[str, str]:
        involved = obj.get("involvedObject") or {}
        reporter = obj.get("reportingComponent") or ""
        return {f"involvedObject.{name}": involved.get(name) or "" for name in _INVOLVED} | {
            "reason": obj.get("reason") or "",
            "reportingComponent": reporter,
            "source": (obj.get("source") or {}).get("component") or reporter,
            "type": obj.get("type") or "",
        }


def _legacy(obj: Tree, namespace: str) -> list[Cause]:
    involved = _involved_namespace(obj)
    if involved == namespace or (not involved and namespace == "default"):
        return []
    return [_elsewhere(involved)]


def _modern(obj: Tree, namespace: str) -> list[Cause]:
    involved = _involved_namespace(obj)
    causes = []
    if not involved and namespace not in ("default", "kube-system"):
        causes.append(_elsewhere(involved))
    reporter = obj.get("reportingComponent") or ""
    causes += [] if reporter else [required("reportingController")]
    causes += invalid_values("reportingController", reporter, qualified_name(reporter))
    for name in ("reportingInstance", "action", "reason"):
        value = obj.get(name) or ""
        causes += [] if value else [required(name)]
        causes += _length(name, value, MOST_CHARACTERS)
    return causes + _length("message", obj.get("message") or "", MOST_MESSAGE)


def _involved_namespace(obj: Tree) -> str:
    return str((obj.get("involvedObject") or {}).get("namespace") or "")


def _elsewhere(involved: str) -> Cause:
    return invalid_value("involvedObject.namespace", involved, "does not match event.namespace")


def _length(path: str, value: str, most: int) -> list[Cause]:
    return [invalid_value(path, "", f"can have at most {most} characters")] if len(value) > most else []
