"""Namespaces: rooms for names. One that is being deleted lives until its finalizers are gone."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import invalid_value, invalid_values, qualified_name
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

NAME_LABEL = "kubernetes.io/metadata.name"
"""So that selectors can choose namespaces by name; nobody can change it."""
FINALIZER = "kubernetes"
"""Kept in ``spec.finalizers`` until everything inside is gone."""


class NamespaceStrategy(Strategy):
    """``spec.finalizers`` changes through the subresource finalize only, the phase through status."""

    def default(self, obj: Tree) -> None:
        name = obj.get("metadata", {}).get("name")
        if name:
            obj["metadata"]["labels"] = (obj["metadata"].get("labels") or {}) | {NAME_LABEL: name}

    def prepare_create(self, obj: Tree, write: Write) -> None:
        self.default(obj)
        obj["status"] = {"phase": "Active"}
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        obj["spec"] = {"finalizers": finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]}

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource != "finalize":
            obj["spec"] = dict(old.get("spec") or {})
        if write.subresource != "status":
            obj["status"] = dict(old.get("status") or {})

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return _finalizer_causes(obj)

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        return _phase_causes(obj) if write.subresource == "status" else _finalizer_causes(obj)

    def selectable(self, obj: Tree) -> dict[str, str]:
        return {"status.phase": (obj.get("status") or {}).get("phase") or "", "name": obj["metadata"].get("name") or ""}


def _finalizer_causes(obj: Tree) -> list[Cause]:
    causes = []
    for place, value in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        path = f"spec.finalizers[{place}]"
        causes += invalid_values(path, value, qualified_name(value))
        if "/" not in value and value != FINALIZER:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(invalid_value(path, value, text))
    return causes


def _phase_causes(obj: Tree) -> list[Cause]:
    phase = (obj.get("status") or {}).get("phase") or ""
    going = bool(obj["metadata"].get("deletionTimestamp"))
    if phase == ("Terminating" if going else "Active"):
        return []
    wanted, condition = ("Terminating", "is not empty") if going else ("Active", "is empty")
    return [invalid_value("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` {condition}")]
