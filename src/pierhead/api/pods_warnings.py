"""What is allowed in a pod's spec and most likely not meant."""

from __future__ import annotations

from pierhead.api import Tree

_OLD_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}


def spec_warnings(path: str, spec: Tree) -> list[str]:
    """``path``: of the spec, e.g. ``spec`` or ``spec.template.spec``."""
    found = [
        f'{path}.nodeSelector[{label}]: deprecated since {since}; use "{instead}" instead'
        for label, (since, instead) in _OLD_LABELS.items()
        if label in (spec.get("nodeSelector") or {})
    ]
    for place, container in enumerate(spec.get("containers") or []):
        found += _environment(f"{path}.containers[{place}]", container)
    return found + _ports(path, spec)


def _environment(path: str, container: Tree) -> list[str]:
    found, names = [], set()
    for place, variable in enumerate(container.get("env") or []):
        name = variable.get("name") or ""
        if name in names:
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            found.append(f"{path}.env[{place}]: {text}")
        names.add(name)
    return found


def _ports(path: str, spec: Tree) -> list[str]:
    """Ports that two containers of a pod, which share their network, both mean to have."""
    found: list[str] = []
    first: dict[tuple[object, ...], str] = {}
    for place, container in enumerate(spec.get("containers") or []):
        for index, port in enumerate(container.get("ports") or []):
            here = f"{path}.containers[{place}].ports[{index}]"
            identity = tuple(port.get(name) or None for name in ("protocol", "hostIP", "hostPort", "containerPort"))
            if first.setdefault(identity, here) != here:
                found.append(f"{here}: duplicate port definition with {first[identity]}")
    return found
