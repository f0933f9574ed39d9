"""What a pod's spec must look like, alone and as a template."""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.pods_containers import container_causes, id_causes
from pierhead.api.pods_scheduling import gate_causes, node_affinity_causes, spread_causes, toleration_causes
from pierhead.api.rules import (
    dns1123_label,
    dns1123_subdomain,
    duplicate,
    forbidden_field,
    in_range,
    invalid_value,
    invalid_values,
    label_causes,
    not_supported,
    optional_causes,
    qualified_name,
    required,
)
from pierhead.errors import Cause

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
LONGEST_DEADLINE = 2**31 - 1
"""Seconds."""

_VOLUME_NEEDS = {"configMap": "name", "secret": "secretName", "hostPath": "path", "persistentVolumeClaim": "claimName"}


def spec_causes(path: str, spec: Tree) -> list[Cause]:
    """Everything wrong with the spec of a new pod or of a template, in the order of the real server."""
    volumes = spec.get("volumes") or []
    names = {volume.get("name") for volume in volumes}
    causes = _volumes(f"{path}.volumes", volumes)
    containers = spec.get("containers") or []
    causes += (
        container_causes(f"{path}.containers", containers, names) if containers else [required(f"{path}.containers")]
    )
    causes += container_causes(f"{path}.initContainers", spec.get("initContainers") or [], names)
    causes += _choices(path, spec)
    causes += label_causes(f"{path}.nodeSelector", spec.get("nodeSelector") or {})
    causes += _host_network(path, spec)
    context = spec.get("securityContext") or {}
    causes += id_causes(f"{path}.securityContext", context, ("fsGroup", "runAsUser", "runAsGroup"))
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    causes += node_affinity_causes(f"{path}.affinity.nodeAffinity", affinity)
    causes += _gates(f"{path}.readinessGates", spec.get("readinessGates") or [])
    causes += gate_causes(f"{path}.schedulingGates", spec.get("schedulingGates") or [])
    causes += spread_causes(f"{path}.topologySpreadConstraints", spec.get("topologySpreadConstraints") or [])
    causes += _names(path, spec)
    causes += toleration_causes(f"{path}.tolerations", spec.get("tolerations") or [])
    return causes + optional_causes(f"{path}.runtimeClassName", spec.get("runtimeClassName"), dns1123_subdomain)


def template_causes(path: str, template: Tree) -> list[Cause]:
    """``path``: of the template, e.g. ``spec.template``."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    causes = label_causes(f"{path}.labels", metadata.get("labels") or {})
    causes += spec_causes(f"{path}.spec", spec)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        causes.append(forbidden_field(f"{path}.spec.ephemeralContainers", text))
    return causes


def _volumes(path: str, volumes: Sequence[Tree]) -> list[Cause]:
    causes, names = [], set()
    for place, volume in enumerate(volumes):
        here, name = f"{path}[{place}]", volume.get("name") or ""
        texts = dns1123_label(name) if name else []
        causes += invalid_values(f"{here}.name", name, texts) if name else [required(f"{here}.name")]
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        elif name and not texts:
            names.add(name)
        causes += _source(here, volume)
    return causes


def _source(path: str, volume: Tree) -> list[Cause]:
    """What a volume is made of: exactly one thing."""
    kinds = [name for name, value in volume.items() if name != "name" and value is not None]
    causes = [forbidden_field(f"{path}.{kind}", "may not specify more than 1 volume type") for kind in kinds[1:]]
    for kind in kinds[:1]:
        needed = _VOLUME_NEEDS.get(kind)
        if needed and not volume[kind].get(needed):
            causes.append(required(f"{path}.{kind}.{needed}"))
    return causes if kinds else [required(path, "must specify a volume type")]


def _choices(path: str, spec: Tree) -> list[Cause]:
    causes = []
    for name, allowed in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", DNS_POLICIES)):
        if spec.get(name) not in allowed:
            causes.append(not_supported(f"{path}.{name}", spec.get(name) or "", allowed))
    if spec.get("dnsPolicy") == "None" and not spec.get("dnsConfig"):
        causes.append(required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None"))
    return causes


def _host_network(path: str, spec: Tree) -> list[Cause]:
    if not spec.get("hostNetwork"):
        return []
    text = "must match `containerPort` when `hostNetwork` is true"
    return [
        invalid_value(f"{path}.containers[{place}].ports[{index}].hostPort", port.get("hostPort") or 0, text)
        for place, container in enumerate(spec.get("containers") or [])
        for index, port in enumerate(container.get("ports") or [])
        if port.get("hostPort") != port.get("containerPort")
    ]


def _gates(path: str, gates: Sequence[Tree]) -> list[Cause]:
    causes = []
    for place, gate in enumerate(gates):
        kind = gate.get("conditionType") or ""
        causes += invalid_values(f"{path}[{place}].conditionType", kind, qualified_name(kind))
    return causes


def _names(path: str, spec: Tree) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("serviceAccountName", "nodeName"):
        causes += optional_causes(f"{path}.{name}", spec.get(name), dns1123_subdomain)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        causes += invalid_values(f"{path}.activeDeadlineSeconds", deadline, in_range(deadline, 1, LONGEST_DEADLINE))
    for name in ("hostname", "subdomain"):
        causes += optional_causes(f"{path}.{name}", spec.get(name), dns1123_label)
    return causes
