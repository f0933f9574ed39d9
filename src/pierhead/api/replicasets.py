"""ReplicaSets: so many pods of one template."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.pods_validation import template_causes
from pierhead.api.pods_warnings import spec_warnings
from pierhead.api.rules import (
    IMMUTABLE,
    forbidden_field,
    invalid_value,
    invalid_values,
    non_negative,
    not_supported,
    required,
)
from pierhead.api.selectors import from_tree, selector_causes
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


class ReplicaSetStrategy(Strategy):
    """The selector is fixed; a new template changes no pod that exists."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        obj["status"] = {"replicas": 0}
        obj["metadata"]["generation"] = 1

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource == "status":
            obj["spec"] = old["spec"]
            return
        obj["status"] = dict(old.get("status") or {"replicas": 0})
        if obj["spec"] != old["spec"]:
            obj["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return _spec_causes(obj.get("spec") or {})

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "status":
            return _status_causes(obj.get("status") or {})
        causes, selector = self.validate(obj, write), obj["spec"].get("selector")
        if selector != old["spec"].get("selector"):
            causes.append(invalid_value("spec.selector", selector, IMMUTABLE))
        return causes

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        if old is not None and old["spec"] == obj["spec"]:
            return []
        return spec_warnings("spec.template.spec", (obj["spec"].get("template") or {}).get("spec") or {})

    def selectable(self, obj: Tree) -> dict[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


def _spec_causes(spec: Tree) -> list[Cause]:
    causes = []
    for name in ("replicas", "minReadySeconds"):
        causes += invalid_values(f"spec.{name}", spec.get(name) or 0, non_negative(spec.get(name) or 0))
    selector = spec.get("selector")
    if selector is None:
        causes.append(required("spec.selector"))
        return causes + _template_causes(spec.get("template") or {}, None)
    faults = selector_causes("spec.selector", selector)
    causes += faults
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(invalid_value("spec.selector", selector, "empty selector is invalid for deployment"))
    if faults:
        return [*causes, invalid_value("spec.selector", selector, "invalid label selector")]
    return causes + _template_causes(spec.get("template") or {}, selector)


def _template_causes(template: Tree, selector: Tree | None) -> list[Cause]:
    path, causes = "spec.template", []
    labels = (template.get("metadata") or {}).get("labels")
    if not from_tree(selector).matches(labels or {}):
        text = "`selector` does not match template `labels`"
        causes.append(invalid_value(f"{path}.metadata.labels", labels or None, text))
    causes += template_causes(path, template)
    spec = template.get("spec") or {}
    if spec.get("restartPolicy") != "Always":
        causes.append(not_supported(f"{path}.spec.restartPolicy", spec.get("restartPolicy") or "", ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in ReplicaSet is not Supported"
        causes.append(forbidden_field(f"{path}.spec.activeDeadlineSeconds", text))
    return causes


def _status_causes(status: Tree) -> list[Cause]:
    causes = []
    counts = {name: status.get(name) or 0 for name in _COUNTS}
    for name, count in counts.items():
        causes += invalid_values(f"status.{name}", count, non_negative(count))
    for name in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if counts[name] > counts["replicas"]:
            causes.append(invalid_value(f"status.{name}", counts[name], "cannot be greater than status.replicas"))
    if counts["availableReplicas"] > counts["readyReplicas"]:
        text = "cannot be greater than readyReplicas"
        causes.append(invalid_value("status.availableReplicas", counts["availableReplicas"], text))
    return causes
