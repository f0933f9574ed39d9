"""``metadata.managedFields``: who wrote which field last. Here for Update operations, which every create, update and patch is.

A *field set* is kept in the form in which it is stored (``fieldsV1``): a tree whose keys are steps. ``f:NAME`` is a member of an
object, ``k:{…}`` the item of a list by its keys, ``v:…`` the member of a set. A node that is empty, or holds ``.``, is itself in
the set. (kubernetes-sigs/structured-merge-diff; Kubernetes' API reference, ``FieldsV1``.)

What counts as *present before* follows Go: a plain struct or list without omitempty always exists, so that whoever fills it owns
its members but not the thing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import msgspec

from pierhead.api import Tree
from pierhead.api.schema import Field, Message, message

FieldSet: TypeAlias = dict[str, Any]

_ATOMIC_MESSAGES = frozenset(
    {
        "apimachinery.pkg.apis.meta.v1.LabelSelector",
        "api.core.v1.ConfigMapKeySelector",
        "api.core.v1.EndpointAddress",
        "api.core.v1.EndpointPort",
        "api.core.v1.LocalObjectReference",
        "api.core.v1.NodeSelector",
        "api.core.v1.NodeSelectorTerm",
        "api.core.v1.ObjectFieldSelector",
        "api.core.v1.ObjectReference",
        "api.core.v1.ResourceFieldSelector",
        "api.core.v1.SecretKeySelector",
        "api.core.v1.SecretReference",
        "api.core.v1.TypedLocalObjectReference",
    }
)
"""``x-kubernetes-map-type: atomic``: owned as a whole."""
_ATOMIC_MAPS = frozenset({("api.core.v1.ServiceSpec", "selector"), ("api.core.v1.PodSpec", "nodeSelector")})

_UNOWNED = ("kind", "apiVersion")
_UNOWNED_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields",
)  # fmt: skip
_ITSELF = "."
_DEEPEST = 64
"""Steps, one below the other: more than any object has."""
_ABSENT: Any = object()

_encode = msgspec.json.Encoder(order="sorted").encode


def record(
    new: Tree,
    old: Tree | None,
    *,
    manager: str,
    operation: str,
    subresource: str,
    api_version: str,
    now: str,
    message: Message,
) -> None:
    """Writes into ``new`` who owns its fields after this write; ``old`` is None at creation.

    To be called when the object has its defaults and before anything else changes it: what the server decides by itself
    (addresses, tolerations) has no owner. A write that changes nothing leaves everything as it was.
    """
    before = old or {}
    metadata = new.setdefault("metadata", {})
    entries = _entries({} if subresource else metadata, before.get("metadata", {}))
    taken, lost = _owned(_changes(new, before, message)), _owned(_losses(new, before, message))
    _ignore(taken, subresource)
    metadata.pop("managedFields", None)
    found = [left for entry in entries if (left := _without(entry, taken, lost)) is not None]
    if taken:
        mine = {"manager": manager, "operation": operation, "apiVersion": api_version}
        found = _with(found, mine | ({"subresource": subresource} if subresource else {}), taken, now)
    if found:
        metadata["managedFields"] = sorted(found, key=_rank)


def _entries(new: Tree, old: Tree) -> list[Tree]:
    """Those a write brings when all of them can be read, else those that were there. To forget them a client sends an empty one."""
    brought: list[Tree] = new.get("managedFields") or []
    if brought == [{}]:
        return []
    return brought if brought and all(map(_is_readable, brought)) else old.get("managedFields") or []


def _is_readable(entry: Tree) -> bool:
    if entry.get("operation") not in ("Apply", "Update") or entry.get("fieldsType") != "FieldsV1":
        return False
    return bool(entry.get("apiVersion")) and _is_set(entry.get("fieldsV1", {}))


def _is_set(fields: Any, depth: int = _DEEPEST) -> bool:
    if not isinstance(fields, dict) or not depth:
        return False
    return all(_is_step(step) and _is_set(below, depth - 1) for step, below in fields.items())


def _is_step(step: str) -> bool:
    """The thing itself, a member of an object, an item by its keys (each a text or a whole number) or place, a member of a set."""
    if step == _ITSELF or step.startswith("f:"):
        return True
    try:
        given = msgspec.json.decode(step[2:])
    except (msgspec.DecodeError, RecursionError):
        return False
    if step.startswith("k:"):
        return isinstance(given, dict) and all(isinstance(value, (str, int)) for value in given.values())
    return step.startswith("v:") or (step.startswith("i:") and isinstance(given, int))


def _rank(entry: Tree) -> tuple[str, str, str, str]:
    return (entry["operation"], entry.get("time", ""), entry.get("manager", ""), entry.get("subresource", ""))


def _owned(fields: FieldSet) -> FieldSet:
    for name in _UNOWNED:
        fields.pop(f"f:{name}", None)
    metadata = fields.get("f:metadata", {})
    for name in _UNOWNED_METADATA:
        metadata.pop(f"f:{name}", None)
    if not metadata:
        fields.pop("f:metadata", None)
    return fields


def _ignore(taken: FieldSet, subresource: str) -> None:
    """What this way of writing cannot change is not owned by it either."""
    taken.pop("f:spec" if subresource == "status" else "f:status", None)


def _without(entry: Tree, taken: FieldSet, lost: FieldSet) -> Tree | None:
    """What an entry keeps when somebody else wrote some of its fields and others are gone; None when nothing."""
    fields = entry.get("fieldsV1", {})
    left = difference(difference(fields, taken), lost)
    if not left:
        return None
    return entry if left == fields else entry | {"fieldsV1": ordered(left)}


def _with(entries: Sequence[Tree], mine: Tree, taken: FieldSet, now: str) -> list[Tree]:
    """The entries, this manager's with the fields it took."""
    identity = [mine.get(name) for name in ("manager", "operation", "apiVersion", "subresource")]
    others, fields = [], taken
    for entry in entries:
        if [entry.get(name) for name in ("manager", "operation", "apiVersion", "subresource")] == identity:
            fields = union(fields, entry.get("fieldsV1", {}))
        else:
            others.append(entry)
    stamped = {name: mine[name] for name in ("manager", "operation", "apiVersion")}
    stamped |= {"time": now, "fieldsType": "FieldsV1", "fieldsV1": ordered(fields)}
    return [*others, stamped | ({"subresource": mine["subresource"]} if "subresource" in mine else {})]


# -- sets of fields -----------------------------------------------------------------------------------------


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in either set."""
    found = {step: union(below, other[step]) if step in other else below for step, below in one.items()}
    found |= {step: below for step, below in other.items() if step not in one}
    if found and (not one or not other):
        found[_ITSELF] = {}
    return found


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in the first set and not in the second. An empty result that stood for a member is told apart by ``_member``."""
    left: FieldSet = {}
    for step, below in one.items():
        if step == _ITSELF:
            continue
        if step not in other:
            left[step] = below
            continue
        rest = difference(below, other[step])
        if rest or (_member(below) and not _member(other[step])):
            left[step] = rest
    if left and _member(one) and not _member(other):
        left[_ITSELF] = {}
    return left


def _member(fields: FieldSet) -> bool:
    return not fields or _ITSELF in fields


def ordered(fields: FieldSet) -> FieldSet:
    """In the order in which the real server writes a set: itself, members by name, items by their keys."""
    return {step: ordered(fields[step]) for step in sorted(fields, key=_step_rank)}


def _step_rank(step: str) -> tuple[str, list[tuple[bool, Any]]]:
    if not step.startswith("k:"):
        return (step, [])
    keys = msgspec.json.decode(step[2:])
    return ("k:", [(isinstance(value, str), value) for value in keys.values()])


# -- what a write changed -----------------------------------------------------------------------------------


def _changes(new: Mapping[str, Any], old: Mapping[str, Any], schema: Message) -> FieldSet:
    """The fields of ``new`` that are not in ``old``, or are there with another value."""
    found: FieldSet = {}
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before is value or (before is not _ABSENT and before == value):
            continue
        field = schema.fields.get(name)
        if before is _ABSENT and field is not None and field.always and not field.pointer:
            before = None
        changed = _changed(value, before, schema.name, field)
        if changed is not None:
            found[f"f:{name}"] = changed
    return found


def _changed(value: Any, before: Any, holder: str, field: Field | None) -> FieldSet | None:
    """The set of what changed in one field; None when nothing did. ``before`` is None when it was there and empty."""
    if field is None or value is None or _atomic(holder, field):
        return {}
    added = before is _ABSENT
    if field.list:
        found = _changed_items(value, [] if added else before or [], field)
    elif field.map:
        known = {} if added else before or {}
        found = {f"f:{key}": {} for key, item in value.items() if key not in known or known[key] != item}
    elif added:
        found = _all_of(value, message(field.message))
    else:
        found = _changes(value, before or {}, message(field.message))
    if added and found:
        found[_ITSELF] = {}
    return found if found or added else None


def _all_of(tree: Tree, schema: Message) -> FieldSet:
    """Everything in something that is new as a whole."""
    found: FieldSet = {f"f:{name}": {} for name in _always(schema.name) if name not in tree}
    for name, value in tree.items():
        changed = _changed(value, _ABSENT, schema.name, schema.fields.get(name))
        if changed is not None:
            found[f"f:{name}"] = changed
    return found


@cache
def _always(name: str) -> tuple[str, ...]:
    """The fields of a message that are written even when nobody gave them."""
    return tuple(field.name for field in message(name).fields.values() if field.always)


def _changed_items(items: list[Any], before: Any, field: Field) -> FieldSet:
    if field.list_type == "set":
        return {_value_step(item): {} for item in items if item not in before}
    schema = message(field.message)
    known = {_item_step(item, field, schema): item for item in before}
    found: FieldSet = {}
    for item in items:
        step = _item_step(item, field, schema)
        if step not in known:
            found[step] = _all_of(item, schema) | {_ITSELF: {}}
        elif known[step] != item:
            changed = _changes(item, known[step], schema)
            if changed:
                found[step] = changed
    return found


def _losses(new: Mapping[str, Any], old: Mapping[str, Any], schema: Message) -> FieldSet:
    """The fields of ``old`` that ``new`` no longer has: for whoever owned them."""
    found: FieldSet = {}
    for name, before in old.items():
        value, field = new.get(name), schema.fields.get(name)
        if value is before or value == before:
            continue
        if value is None:
            lost = _changed(before, _ABSENT, schema.name, field)
        else:
            lost = _lost(value, before, schema.name, field)
        if lost is not None:
            found[f"f:{name}"] = lost
    return found


def _lost(value: Any, before: Any, holder: str, field: Field | None) -> FieldSet | None:
    if field is None or before is None or _atomic(holder, field):
        return None
    found: FieldSet
    if field.map:
        found = {f"f:{key}": {} for key in before if key not in value}
    elif not field.list:
        found = _losses(value, before, message(field.message))
    elif field.list_type == "set":
        found = {_value_step(item): {} for item in before if item not in value}
    else:
        found = _lost_items(value, before, field)
    return found or None


def _lost_items(items: list[Any], before: list[Any], field: Field) -> FieldSet:
    schema = message(field.message)
    kept = {_item_step(item, field, schema): item for item in items}
    found: FieldSet = {}
    for item in before:
        step = _item_step(item, field, schema)
        lost = _losses(kept[step], item, schema) if step in kept else _all_of(item, schema) | {_ITSELF: {}}
        if lost:
            found[step] = lost
    return found


def _atomic(holder: str, field: Field) -> bool:
    """Whether a field is owned as a whole."""
    if field.list:
        return field.list_type not in ("map", "set")
    if field.map:
        return (holder, field.name) in _ATOMIC_MAPS
    return not field.message or field.message in _ATOMIC_MESSAGES


def _item_step(item: Tree, field: Field, schema: Message) -> str:
    keys = {}
    for key in field.map_keys:
        value, part = item.get(key), schema.fields[key]
        keys[key] = (part.default or _zero(part)) if value is None else value
    return f"k:{_encode(keys).decode()}"


def _zero(part: Field) -> str | int:
    """What stands for a key nobody gave: Go's structs have it all the same."""
    return "" if part.type == "string" else 0


def _value_step(value: Any) -> str:
    return f"v:{_encode(value).decode()}"
