"""Containers: their names, ports, environment, mounts, resources."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pierhead.api import Tree
from pierhead.api.pods_probes import probe_causes
from pierhead.api.quantities import parse
from pierhead.api.rules import (
    dns1123_label,
    duplicate,
    forbidden_field,
    in_range,
    invalid_value,
    invalid_values,
    not_found_value,
    not_supported,
    port_name,
    port_number,
    protocol_causes,
    qualified_name,
    required,
)
from pierhead.errors import Cause

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
LARGEST_ID = 2**31 - 1
"""Of a user or group."""
POD_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
"""What an environment variable can take from its pod."""

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_QUOTAS = (
    "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services", "storage",
)  # fmt: skip
"""Resources of which a namespace can be given so and so many, and a container cannot."""
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_is_variable = re.compile("[ -<>-~]+").fullmatch
_VARIABLE_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_SUBSCRIPT = re.compile(r"\['[^']*'\]\Z")


def container_causes(path: str, containers: Sequence[Tree], volumes: Collection[str]) -> list[Cause]:
    """All containers of one list. ``volumes``: names of the pod's volumes."""
    causes, names = [], set()
    for place, container in enumerate(containers):
        here, name = f"{path}[{place}]", container.get("name") or ""
        causes += _common(here, container, volumes)
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        names.add(name)
        causes += probe_causes(here, container)
    return causes + _host_ports(path, containers)


def image_causes(path: str, image: str) -> list[Cause]:
    if not image:
        return [required(path)]
    return (
        [] if image == image.strip() else [invalid_value(path, image, "must not have leading or trailing whitespace")]
    )


def id_causes(path: str, context: Tree, names: Sequence[str]) -> list[Cause]:
    """Users and groups of a security context."""
    return [
        cause
        for name in names
        if context.get(name) is not None
        for cause in invalid_values(f"{path}.{name}", context[name], in_range(context[name], 0, LARGEST_ID))
    ]


def _common(path: str, container: Tree, volumes: Collection[str]) -> list[Cause]:
    name = container.get("name") or ""
    causes = invalid_values(f"{path}.name", name, dns1123_label(name)) if name else [required(f"{path}.name")]
    causes += image_causes(f"{path}.image", container.get("image") or "")
    policy = container.get("terminationMessagePolicy")
    if policy not in MESSAGE_POLICIES:
        causes.append(not_supported(f"{path}.terminationMessagePolicy", policy or "", MESSAGE_POLICIES))
    causes += _ports(f"{path}.ports", container.get("ports") or [])
    causes += _environment(f"{path}.env", container.get("env") or [])
    causes += _env_from(f"{path}.envFrom", container.get("envFrom") or [])
    causes += _mounts(f"{path}.volumeMounts", container.get("volumeMounts") or [], volumes)
    if container.get("imagePullPolicy") not in PULL_POLICIES:
        causes.append(not_supported(f"{path}.imagePullPolicy", container.get("imagePullPolicy") or "", PULL_POLICIES))
    causes += _resources(f"{path}.resources", container.get("resources") or {})
    return causes + _security(f"{path}.securityContext", container.get("securityContext") or {})


def _ports(path: str, ports: Sequence[Tree]) -> list[Cause]:
    causes, names = [], set()
    for place, port in enumerate(ports):
        here, name = f"{path}[{place}]", port.get("name") or ""
        texts = port_name(name) if name else []
        causes += invalid_values(f"{here}.name", name, texts)
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        elif name and not texts:
            names.add(name)
        number = port.get("containerPort") or 0
        where = f"{here}.containerPort"
        causes += invalid_values(where, number, port_number(number)) if number else [required(where)]
        if port.get("hostPort"):
            causes += invalid_values(f"{here}.hostPort", port["hostPort"], port_number(port["hostPort"]))
        causes += protocol_causes(f"{here}.protocol", port.get("protocol") or "")
    return causes


def _host_ports(path: str, containers: Sequence[Tree]) -> list[Cause]:
    """A port of the host can be had once."""
    causes, taken = [], set()
    for place, container in enumerate(containers):
        for index, port in enumerate(container.get("ports") or []):
            if not port.get("hostPort"):
                continue
            shown = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if shown in taken:
                causes.append(duplicate(f"{path}[{place}].ports[{index}].hostPort", shown))
            taken.add(shown)
    return causes


def _environment(path: str, variables: Sequence[Tree]) -> list[Cause]:
    causes = []
    for place, variable in enumerate(variables):
        here, name = f"{path}[{place}]", variable.get("name") or ""
        if not name:
            causes.append(required(f"{here}.name"))
        elif not _is_variable(name):
            causes.append(invalid_value(f"{here}.name", name, _VARIABLE_TEXT))
        if variable.get("valueFrom") is not None:
            causes += _value_from(f"{here}.valueFrom", variable)
    return causes


def _env_from(path: str, sources: Sequence[Tree]) -> list[Cause]:
    causes = []
    for place, source in enumerate(sources):
        here, prefix = f"{path}[{place}]", source.get("prefix") or ""
        if prefix and not _is_variable(prefix):
            causes.append(invalid_value(f"{here}.prefix", prefix, _VARIABLE_TEXT))
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        causes += [required(f"{here}.{name}.name") for name in given if not source[name].get("name")]
        if len(given) != 1:
            one, many = (
                "must specify one of: `configMapRef` or `secretRef`",
                "may not have more than one field specified at a time",
            )
            causes.append(invalid_value(path, "", many if given else one))
    return causes


def _value_from(path: str, variable: Tree) -> list[Cause]:
    source = variable["valueFrom"]
    given = [name for name in _SOURCES if source.get(name) is not None]
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        return [invalid_value(path, "", text)]
    causes = []
    if variable.get("value"):
        causes.append(invalid_value(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        causes.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    for name in given:
        here = f"{path}.{name}"
        if name == "fieldRef":
            causes += _pod_field(f"{here}.fieldPath", source[name].get("fieldPath") or "")
        elif name in ("configMapKeyRef", "secretKeyRef") and not source[name].get("key"):
            causes.append(required(f"{here}.key"))
    return causes


def _pod_field(path: str, field: str) -> list[Cause]:
    if not field:
        return [required(path)]
    plain = _SUBSCRIPT.sub("", field)
    subscribed = plain in ("metadata.annotations", "metadata.labels")
    if plain in POD_FIELDS and subscribed == (plain != field):
        return []
    return [not_supported(path, field, POD_FIELDS[2:])]


def _mounts(path: str, mounts: Sequence[Tree], volumes: Collection[str]) -> list[Cause]:
    causes, places = [], set()
    for place, mount in enumerate(mounts):
        here, name, target = f"{path}[{place}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes.append(required(f"{here}.name"))
        elif name not in volumes:
            causes.append(not_found_value(f"{here}.name", name))
        if not target:
            causes.append(required(f"{here}.mountPath"))
        if target in places:
            causes.append(invalid_value(f"{here}.mountPath", target, "must be unique"))
        places.add(target)
        if mount.get("subPath") and mount.get("subPathExpr"):
            causes.append(forbidden_field(f"{here}.subPathExpr", "subPathExpr and subPath are mutually exclusive"))
    return causes


def _resources(path: str, resources: Tree) -> list[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = []
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in sorted(amounts.items()):
            here = f"{path}.{kind}[{name}]"
            causes += _resource_name(here, name)
            if parse(amount).nano < 0:
                causes.append(invalid_value(here, amount, "must be greater than or equal to 0"))
            elif kind == "requests" and name in limits and parse(amount).nano > parse(limits[name]).nano:
                text = f"must be less than or equal to {name} limit of {limits[name]}"
                causes.append(invalid_value(here, amount, text))
    return causes


def _resource_name(path: str, name: str) -> list[Cause]:
    """What a container can ask for: the resources of every machine, or one that its name says whose it is."""
    if texts := qualified_name(name):
        return invalid_values(path, name, texts)
    if "/" in name or name in _RESOURCES or name.startswith("hugepages-"):
        return []
    texts = [] if name in _QUOTAS else ["must be a standard resource type or fully qualified"]
    return invalid_values(path, name, [*texts, "must be a standard resource for containers"])


def _security(path: str, context: Tree) -> list[Cause]:
    causes = id_causes(path, context, ("runAsUser", "runAsGroup"))
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        causes.append(invalid_value(path, context, text))
    return causes
