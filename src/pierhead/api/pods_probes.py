"""Probes and lifecycle hooks of containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pierhead.api import Tree
from pierhead.api.rules import (
    forbidden_field,
    invalid_value,
    invalid_values,
    non_negative,
    not_supported,
    port_name,
    port_number,
    required,
)
from pierhead.errors import Cause

SCHEMES = ("HTTP", "HTTPS")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def probe_causes(path: str, container: Tree) -> list[Cause]:
    """Its hooks and probes, in the order in which the real server looks at them."""
    causes = []
    for name, hook in sorted((container.get("lifecycle") or {}).items()):
        if isinstance(hook, dict):
            causes += _handler(f"{path}.lifecycle.{name}", hook)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            causes += _probe(f"{path}.{name}", probe, name)
    return causes


def _probe(path: str, probe: Tree, name: str) -> list[Cause]:
    causes = _handler(path, probe)
    for number in _NUMBERS:
        value = probe.get(number) or 0
        causes += invalid_values(f"{path}.{number}", value, non_negative(value))
    grace = probe.get("terminationGracePeriodSeconds")
    if name == "readinessProbe":
        if grace is not None:
            causes.append(
                invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
            )
        return causes
    if grace is not None and grace <= 0:
        causes.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if probe.get("successThreshold") != 1:
        causes.append(invalid_value(f"{path}.successThreshold", probe.get("successThreshold") or 0, "must be 1"))
    return causes


def _handler(path: str, holder: Tree) -> list[Cause]:
    """What a probe or hook does: exactly one thing."""
    causes: list[Cause] = []
    given = [name for name in _HANDLERS if holder.get(name) is not None]
    for place, name in enumerate(given):
        if place:
            causes.append(forbidden_field(f"{path}.{name}", "may not specify more than 1 handler type"))
        else:
            causes += _HANDLERS[name](f"{path}.{name}", holder[name])
    return causes if given else [required(path, "must specify a handler type")]


def _exec(path: str, action: Tree) -> list[Cause]:
    return [] if action.get("command") else [required(f"{path}.command")]


def _http(path: str, action: Tree) -> list[Cause]:
    causes = [] if action.get("path") else [required(f"{path}.path")]
    causes += _port(f"{path}.port", action.get("port"))
    if action.get("scheme") not in SCHEMES:
        causes.append(not_supported(f"{path}.scheme", action.get("scheme") or "", SCHEMES))
    return causes


def _tcp(path: str, action: Tree) -> list[Cause]:
    return _port(f"{path}.port", action.get("port"))


def _grpc(path: str, action: Tree) -> list[Cause]:
    port = action.get("port") or 0
    return invalid_values(f"{path}.port", port, port_number(port))


def _sleep(path: str, action: Tree) -> list[Cause]:
    seconds = action.get("seconds") or 0
    return [] if seconds > 0 else [invalid_value(path, seconds, "must be greater than 0")]


def _port(path: str, port: Any) -> list[Cause]:
    """A number, or the name of a port of the container."""
    if isinstance(port, str):
        return invalid_values(path, port, port_name(port))
    return invalid_values(path, port or 0, port_number(port or 0))


_HANDLERS: Mapping[str, Callable[[str, Tree], list[Cause]]] = {
    "exec": _exec,
    "httpGet": _http,
    "tcpSocket": _tcp,
    "grpc": _grpc,
    "sleep": _sleep,
}
