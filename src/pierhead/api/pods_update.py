"""What may change about a pod: of its spec very little, of its status nearly everything."""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.pods_containers import image_causes
from pierhead.api.pods_scheduling import added_gate_causes, added_toleration_causes
from pierhead.api.pods_validation import LONGEST_DEADLINE
from pierhead.api.rules import (
    IMMUTABLE,
    dns1123_subdomain,
    duplicate,
    family,
    forbidden_field,
    in_range,
    invalid_value,
    invalid_values,
    legacy_address,
    qualified_name,
    shown,
)
from pierhead.errors import Cause

CHANGEABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


_FREE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
"""Members with rules of their own."""


def update_causes(new: Tree, old: Tree) -> list[Cause]:
    """``new`` and ``old``: pods."""
    spec, before = new["spec"], old["spec"]
    causes: list[Cause] = []
    for name in ("containers", "initContainers"):
        found = _image_causes(f"spec.{name}", spec.get(name) or [], before.get(name) or [])
        if found is None:
            return [*causes, forbidden_field(f"spec.{name}", "pod updates may not add or remove containers")]
        causes += found
    deadline = _deadline_causes(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    if deadline:
        return causes + deadline
    causes += added_toleration_causes(
        "spec.tolerations", spec.get("tolerations") or [], before.get("tolerations") or []
    )
    causes += added_gate_causes(
        "spec.schedulingGates", spec.get("schedulingGates") or [], before.get("schedulingGates") or []
    )
    differences = _differences(spec, before)
    if differences:
        text = f"pod updates may not change fields other than {','.join(CHANGEABLE)}\n{differences}"
        causes.append(forbidden_field("spec", text))
    return causes


def _image_causes(path: str, new: Sequence[Tree], old: Sequence[Tree]) -> list[Cause] | None:
    """None when a container came or went."""
    if len(new) != len(old):
        return None
    return [
        cause
        for place, container in enumerate(new)
        for cause in image_causes(f"{path}[{place}].image", container.get("image") or "")
    ]


def _deadline_causes(new: int | None, old: int | None) -> list[Cause]:
    """A deadline may be set, and brought nearer."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        return (
            [] if old is None else [invalid_value(path, None, "must not update from a positive integer to nil value")]
        )
    texts = in_range(new, 0, LONGEST_DEADLINE)
    if not texts and old is not None and new > old:
        texts = ["must be less than or equal to previous value"]
    return invalid_values(path, new, texts)


def _differences(spec: Tree, before: Tree) -> str:
    """The members that changed and may not, one before and one after a line."""
    new, old = _fixed(spec), _fixed(before)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        new["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
    lines = []
    for name in sorted(new.keys() | old.keys()):
        if (new.get(name) or None) != (old.get(name) or None):
            lines += [f"-{name}: {shown(old.get(name))}", f"+{name}: {shown(new.get(name))}"]
    return "\n".join(lines)


def _fixed(spec: Tree) -> Tree:
    """A spec without what may change."""
    fixed = {name: value for name, value in spec.items() if name not in _FREE}
    for name in ("containers", "initContainers"):
        if spec.get(name):
            fixed[name] = [{key: value for key, value in found.items() if key != "image"} for found in spec[name]]
    return fixed


# -- status -------------------------------------------------------------------------------------------------


def status_causes(new: Tree, old: Tree) -> list[Cause]:
    """``new`` and ``old``: pods."""
    status, before = new.get("status") or {}, old.get("status") or {}
    causes = []
    for place, condition in enumerate(status.get("conditions") or []):
        kind = condition.get("type") or ""
        causes += invalid_values(f"status.conditions[{place}].Type", kind, qualified_name(kind))
    nominated = status.get("nominatedNodeName") or ""
    if nominated and nominated != before.get("nominatedNodeName"):
        causes += invalid_values("status.nominatedNodeName", nominated, dns1123_subdomain(nominated))
    if status.get("qosClass") != before.get("qosClass"):
        causes.append(invalid_value("status.qosClass", status.get("qosClass") or "", IMMUTABLE))
    for name in ("podIPs", "hostIPs"):
        causes += _address_causes(f"status.{name}", status.get(name) or [], before.get(name) or [])
    return causes


def _address_causes(path: str, addresses: Sequence[Tree], before: Sequence[Tree]) -> list[Cause]:
    """One address of each family at most."""
    values, known = [found.get("ip") or "" for found in addresses], [found.get("ip") or "" for found in before]
    causes = [cause for place, ip in enumerate(values) for cause in legacy_address(f"{path}[{place}]", ip, known)]
    if causes or len(values) < 2:
        return causes
    if len(values) > 2 or family(values[0]) == family(values[1]):
        text = "may specify no more than one IP for each IP family"
        causes.append(invalid_value(path, list(addresses), text))
    causes += [duplicate(f"{path}[{place}]", ip) for place, ip in enumerate(values) if ip in values[:place]]
    return causes
