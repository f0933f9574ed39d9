"""Strategic merge patch: a merge patch that knows, from the schema, which lists merge and by which key.

Its directives: ``$patch: replace|delete`` in an object or an element of a list, ``$setElementOrder/LIST``,
``$deleteFromPrimitiveList/LIST``, ``$retainKeys``. The order of a merged list is the patch's (or that of ``$setElementOrder``) for what
the patch names; what only the server has keeps its place before the first element that stood behind it.
(kubernetes/community, contributors/devel/sig-api-machinery/strategic-merge-patch.md)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from pierhead.api import Tree
from pierhead.api.patch.values import copied, go_text, go_word, json_word, shallow
from pierhead.api.schema import Field, Message, message
from pierhead.errors import ApiError, bad_request

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
ORDER = "$setElementOrder"
DELETE_FROM = "$deleteFromPrimitiveList"


@shallow
def strategic_merge_patch(doc: Tree, patch: Any, schema: Message) -> Tree:
    """``schema``: the message of the object's kind.

    Raises:
        ApiError: 400, 422 or 500 (as the real server has it) for a patch that cannot be applied.
    """
    if patch is None:
        return _map_copy(doc)
    if not isinstance(patch, dict):
        raise bad_request(f"json: cannot unmarshal {json_word(patch)} into Go value of type map[string]interface {{}}")
    return _merge_map(_map_copy(doc), _map_copy(patch), schema)


def _map_copy(tree: Tree) -> Tree:
    return {key: copied(value) for key, value in tree.items()}


# -- objects ------------------------------------------------------------------------------------------------


def _merge_map(old: Tree, patch: Tree, schema: Message | None) -> Tree:
    """``schema``: None for a map of a user's own keys. Uses up both arguments."""
    if DIRECTIVE in patch:
        return _directed(patch)
    if RETAIN in patch:
        _retain(old, patch, patch.pop(RETAIN))
    for key in [key for key in patch if key.startswith(ORDER)]:
        _merge_ordered(old, patch, key, schema)
    for key in [key for key in patch if key.startswith(DELETE_FROM)]:
        _delete_from(old, _list_of(key, "invalid patch format of primitive list"), patch.pop(key))
    for key, value in patch.items():
        if value is None:
            old.pop(key, None)
        else:
            old[key] = _merge_value(old.get(key), value, _field(schema, key))
    return old


def _merge_value(old: Any, value: Any, field: Field | None) -> Any:
    if isinstance(old, dict) and isinstance(value, dict):
        if field is not None and "replace" in _strategies(field):
            return value
        return _merge_map(old, value, _below(field))
    if isinstance(old, list) and isinstance(value, list):
        return _merge_list(old, value, field)
    return _plain(value)


def _directed(patch: Tree) -> Tree:
    match patch[DIRECTIVE]:
        case "replace":
            return {key: value for key, value in patch.items() if key != DIRECTIVE}
        case "delete":
            return {}
        case unknown:
            raise _unknown_directive(unknown, patch)


def _retain(old: Tree, patch: Tree, kept: Any) -> None:
    """Of a union, only the kept members survive; a patch must name all that it sets."""
    if not isinstance(kept, list):
        raise bad_request("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and not key.startswith((ORDER, DELETE_FROM)) and key not in kept:
            raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in old if key not in kept]:
        del old[key]


def _plain(value: Any) -> Any:
    """A value that meets nothing to merge with: without directives and nulls."""
    if isinstance(value, dict):
        if value.get(DIRECTIVE) == "delete":
            return {}
        return {key: _plain(below) for key, below in value.items() if below is not None and not _directs(key)}
    if isinstance(value, list):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get(DIRECTIVE))]
    return value


def _directs(key: str) -> bool:
    return key in (DIRECTIVE, RETAIN) or key.startswith((ORDER, DELETE_FROM))


# -- lists --------------------------------------------------------------------------------------------------


def _merge_list(old: list[Any], patch: list[Any], field: Field | None) -> list[Any]:
    if field is None or "merge" not in _strategies(field):
        return _plain_list(patch)
    if not old and not patch:
        return old
    if not _of_maps([*old, *patch]):
        return _interleaved(_unique([*old, *patch]), patch, old, "")
    if not field.merge_key:
        raise _broken(f"cannot merge lists without merge key for {_below_name(field)}")
    kept, items, replaces = _without_directives(old, patch, field.merge_key)
    if replaces:
        return _plain_list(items)
    return _interleaved(_merge_items(kept, items, field), items, kept, field.merge_key)


def _plain_list(items: list[Any]) -> list[Any]:
    return [_plain(item) for item in items]


def _without_directives(old: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any], bool]:
    """What ``$patch`` elements leave of the old list, the other elements, and whether these replace the list."""
    items: list[Any] = []
    gone: set[Hashable] = set()
    replaces = False
    for item in patch:
        directive = item.get(DIRECTIVE, "")
        if DIRECTIVE not in item:
            items.append(item)
        elif directive == "delete":
            gone.add(_identity(item, key))
        elif directive == "replace":
            replaces = True
        elif directive == "merge":
            raise _broken("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, item)
    return [item for item in old if not gone or _identity(item, key) not in gone], items, replaces


def _merge_items(old: list[Any], items: list[Any], field: Field) -> list[Any]:
    merged, below = list(old), _below(field)
    places: dict[Hashable, int] = {}
    for place, item in enumerate(old):
        places.setdefault(_identity(item, field.merge_key), place)
    for item in items:
        identity = _identity(item, field.merge_key)
        place = places.setdefault(identity, len(merged))
        if place < len(merged):
            merged[place] = _merge_map(merged[place], item, below)
        else:
            merged.append(_plain(item) | {field.merge_key: item[field.merge_key]})
    return merged


def _merge_ordered(old: Tree, patch: Tree, directive: str, schema: Message | None) -> None:
    """Merges the list that ``$setElementOrder/LIST`` names, in its order."""
    order = patch.pop(directive)
    name = _list_of(directive, "invalid patch format of setElementOrder list")
    field = _field(schema, name)
    for found in (order, old.get(name, []), patch.get(name, [])):
        if not isinstance(found, list):
            raise _broken(f"expected a []interface {{}}, but received a {go_word(found)}")
    if field is None:
        raise _broken(f'unable to find api field in struct {_struct(schema)} for the json field "{name}"')
    items = patch.pop(name, [])
    _check_order(items, order, field.merge_key)
    if name not in old and not items:
        return
    before = old.get(name, [])
    merged = _merge_list(list(before), items, field) if items else before
    old[name] = _interleaved(merged, order, before, field.merge_key)


def _check_order(items: list[Any], order: list[Any], key: str) -> None:
    """The patched elements must come in the order asked for."""
    rest = iter([_identity(item, key) for item in order])
    for item in items:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        if _identity(item, key) not in rest:
            raise _broken(
                f"The order in patch list:\n{go_text(items)}\n doesn't match {ORDER} list:\n{go_text(order)}\n"
            )


def _delete_from(old: Tree, name: str, gone: Any) -> None:
    found = old.get(name)
    if not isinstance(found, list) or not isinstance(gone, list):
        return
    unwanted = {_identity(item, "") for item in gone}
    old[name] = [item for item in found if _identity(item, "") not in unwanted]


def _interleaved(merged: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Elements named in ``order`` in that order; the others keep their place in ``before`` relative to them."""
    wanted, stood = _places(order, key), _places(before, key)
    mine = sorted(
        (item for item in merged if _identity(item, key) in wanted), key=lambda item: wanted[_identity(item, key)]
    )
    others = deque(item for item in merged if _identity(item, key) not in wanted)
    found: list[Any] = []
    for item in mine:
        place = stood.get(_identity(item, key))
        while place is not None and others and stood.get(_identity(others[0], key), place) < place:
            found.append(others.popleft())
        found.append(item)
    return [*found, *others]


def _places(items: Iterable[Any], key: str) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for place, item in enumerate(items):
        places.setdefault(_identity(item, key), place)
    return places


def _of_maps(items: list[Any]) -> bool:
    """Whether these are objects; a list merges only when its elements are all objects or all of one plain type.

    Raises:
        ApiError: 422 for lists in a list, 500 for mixed types.
    """
    if any(isinstance(item, list) for item in items):
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, details={})
    types = {type(item) for item in items}
    if len(types) > 1:
        raise _broken(f"list element types are not identical: {go_text(items)}")
    return dict in types


def _unique(items: list[Any]) -> list[Any]:
    found: dict[Hashable, Any] = {}
    for item in items:
        found.setdefault(_identity(item, ""), item)
    return list(found.values())


def _identity(item: Any, key: str) -> Hashable:
    """What makes two elements the same: the value of the merge key, or (``key`` empty) their own.

    Raises:
        ApiError: 500 for an object without the key.
    """
    value = item
    if key:
        if not isinstance(item, dict) or key not in item:
            raise _broken(f"map: {go_text(item)} does not contain declared merge key: {key}")
        value = item[key]
    return (type(value), value if isinstance(value, Hashable) else go_text(value))


# -- the schema ---------------------------------------------------------------------------------------------


def _field(schema: Message | None, name: str) -> Field | None:
    return None if schema is None else schema.fields.get(name)


def _strategies(field: Field) -> list[str]:
    return field.patch_strategy.split(",")


def _below(field: Field | None) -> Message | None:
    """The message of what a field holds; None for plain values and for maps of a user's own keys."""
    if field is None or field.map or not field.message:
        return None
    return message(field.message)


def _below_name(field: Field) -> str:
    return field.message.rpartition(".")[2] or field.type


def _struct(schema: Message | None) -> str:
    return "" if schema is None else schema.go


def _list_of(directive: str, malformed: str) -> str:
    """The list that a directive like ``$setElementOrder/ports`` is about."""
    name = directive.partition("/")[2]
    if not name:
        raise bad_request(malformed)
    return name


def _broken(text: str) -> ApiError:
    """The real server answers with 500 and no reason where its patch library gives up."""
    return ApiError(500, "", text)


def _unknown_directive(directive: Any, item: Tree) -> ApiError:
    return _broken(f"unknown patch type: {go_text(directive)} in map: {go_text(item)}")
