"""What ``metadata`` of an object of any kind must look like, and which of it an update may change.

The rules are those of apimachinery's ObjectMeta validation; the name's own rule is a column of the kind's row. Identity, times
and generation are the server's to write: it puts them in place before these checks run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.rules import (
    IMMUTABLE,
    dns1123_label,
    forbidden_field,
    invalid_value,
    invalid_values,
    label_causes,
    non_negative,
    qualified_name,
    required,
    shown,
    too_long,
)
from pierhead.errors import Cause

ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes, keys and values together."""
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
"""Those that need no domain in front."""
OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
"""In the order in which a message shows them."""


def validate(kind: Kind, obj: Tree) -> list[Cause]:
    """Everything wrong with the metadata of a new object."""
    found = obj["metadata"]
    return [
        *_name(found, kind.name_rule),
        *_namespace(found, namespaced=kind.namespaced),
        *content(found),
    ]


def validate_update(_kind: Kind, new: Tree, old: Tree) -> list[Cause]:
    """Everything wrong with a change of metadata.

    The real server looks twice, once for all kinds and once for each, and says everything twice: in ``details.causes``, while
    the message drops doubles.
    """
    return 2 * _changes(new["metadata"], old["metadata"])


def content(found: Tree) -> list[Cause]:
    """What both a new and a changed object are checked for: all but the identity."""
    return [
        *invalid_values(
            "metadata.generation", found.get("generation") or 0, non_negative(found.get("generation") or 0)
        ),
        *label_causes("metadata.labels", found.get("labels") or {}),
        *_annotations(found.get("annotations") or {}),
        *_owners(found.get("ownerReferences") or []),
        *_finalizers(found.get("finalizers") or []),
    ]


def _changes(new: Tree, old: Tree) -> list[Cause]:
    causes: list[Cause] = []
    if old.get("deletionTimestamp"):
        causes += _no_new_finalizers(new.get("finalizers") or [], old.get("finalizers") or [])
    for name in ("name", "namespace", "uid"):
        if (new.get(name) or "") != (old.get(name) or ""):
            causes.append(invalid_value(f"metadata.{name}", new.get(name) or "", IMMUTABLE))
    causes += label_causes("metadata.labels", new.get("labels") or {})
    causes += _annotations(new.get("annotations") or {})
    return causes + _owners(new.get("ownerReferences") or [])


# -- names --------------------------------------------------------------------------------------------------


def _name(found: Tree, rule: Callable[[str], list[str]]) -> list[Cause]:
    name, base = found.get("name") or "", found.get("generateName") or ""
    causes = invalid_values("metadata.generateName", base, rule(_as_beginning(base))) if base else []
    if not name:
        return [*causes, required("metadata.name", "name or generateName is required")]
    return causes + invalid_values("metadata.name", name, rule(name))


def _as_beginning(base: str) -> str:
    """A generateName may end with a hyphen: something follows it."""
    return f"{base[:-2]}a" if len(base) > 1 and base.endswith("-") else base


def _namespace(found: Tree, *, namespaced: bool) -> list[Cause]:
    namespace = found.get("namespace") or ""
    if not namespaced:
        return [forbidden_field("metadata.namespace", "not allowed on this type")] if namespace else []
    if not namespace:
        return [required("metadata.namespace")]
    return invalid_values("metadata.namespace", namespace, dns1123_label(namespace))


# -- annotations, owners, finalizers --------------------------------------------------------------------------


def _annotations(annotations: Mapping[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    for key, value in sorted(annotations.items()):
        causes += invalid_values("metadata.annotations", key, qualified_name(key.lower()))
        size += len(key.encode("utf-8", "replace")) + len((value or "").encode("utf-8", "replace"))
    return [*causes, too_long("metadata.annotations", ANNOTATIONS_LIMIT)] if size > ANNOTATIONS_LIMIT else causes


def _owners(owners: list[Tree]) -> list[Cause]:
    path = "metadata.ownerReferences"
    causes: list[Cause] = []
    controller = ""
    for owner in owners:
        causes += _owner(path, owner)
        if owner.get("controller"):
            name = f"{owner.get('kind') or ''}/{owner.get('name') or ''}"
            if controller:
                both = f'Found "true" in references for {controller} and {name}'
                text = f"Only one reference can have Controller set to true. {both}"
                causes.append(invalid_value(path, list(map(_shown_owner, owners)), text))
            controller = controller or name
    return causes


def _owner(path: str, owner: Tree) -> list[Cause]:
    causes: list[Cause] = []
    version = owner.get("apiVersion") or ""
    if not version.rpartition("/")[2]:
        causes.append(invalid_value(f"{path}.apiVersion", version, "version must not be empty"))
    empty = [name for name in ("kind", "name", "uid") if not owner.get(name)]
    causes += [invalid_value(f"{path}.{name}", "", "must not be empty") for name in empty]
    if (version, owner.get("kind")) in {("v1", "Event"), ("events.k8s.io/v1", "Event")}:
        group, _, number = version.rpartition("/")
        text = f"{group}/{number}, Kind=Event is disallowed from being an owner"
        causes.append(invalid_value(path, _shown_owner(owner), text))
    return causes


def _shown_owner(owner: Tree) -> dict[str, Any]:
    return {name: owner[name] for name in OWNER_FIELDS if owner.get(name) is not None}


def _finalizers(finalizers: list[str]) -> list[Cause]:
    path = "metadata.finalizers"
    causes: list[Cause] = []
    for name in finalizers:
        causes += invalid_values(path, name, qualified_name(name))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(invalid_value(path, finalizers, text))
    for i, name in enumerate(finalizers):
        if "/" not in name and name not in STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(invalid_value(f"{path}[{i}]", name, text))
    return causes


def _no_new_finalizers(new: list[str], old: list[str]) -> list[Cause]:
    added = sorted(set(new) - set(old))
    if not added:
        return []
    listed = ", ".join(map(shown, added))
    text = "no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}"
    return [forbidden_field("metadata.finalizers", text % listed)]
