"""A patch in a request: its content type, its syntax, and what it makes of the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pierhead.api import Tree
from pierhead.api.codec import parse_json, repeated_keys
from pierhead.api.kind import Kind
from pierhead.api.patch import go_text, json_patch, merge_patch, strategic_merge_patch, unknown_members
from pierhead.api.rules import invalid_value
from pierhead.api.schema import message
from pierhead.apiserver.request import Request
from pierhead.errors import ApiError, invalid

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Patched(msgspec.Struct, frozen=True):
    """What came out of a patch, not yet checked against the schema."""

    tree: Any
    doubles: Sequence[str] = ()
    """``duplicate field …`` for keys that stand twice in the patch."""
    unknown: Sequence[str] = ()
    """Members of operations that nobody knows: only Strict minds."""


def applied(request: Request, kind: Kind, old: Tree) -> Patched:
    """Raises: ApiError 415, or as the formats have it for what cannot be applied."""
    media = patch_media(request)
    patch = parse_json(request.body)
    doubles = repeated_keys(request.body)
    if media == JSON:
        return Patched(json_patch(old, patch), unknown=unknown_members(patch))
    if media == MERGE:
        return Patched(merge_patch(old, patch), doubles)
    return Patched(strategic_merge_patch(old, patch, message(kind.message)), doubles)


def undecodable(request: Request, old: Tree, patched: Patched, why: str) -> ApiError:
    """422: the patch was applied, and what came out is no object of this kind.

    ``why``: what is wrong with it as a body. The message shows the object, or what a strategic patch was.
    """
    _, handled, rest = why.partition(" cannot be handled as a ")
    why = rest.partition(": ")[2] if handled else why
    if patch_media(request) != STRATEGIC:
        value = msgspec.json.encode(_in_order(old, patched.tree)).decode()
        return invalid("", "", "", [invalid_value("patch", value, why)])
    _, mistyped, wanted = why.rpartition(" of type ")
    value = go_text(parse_json(request.body))
    return invalid("", "", "", [invalid_value("patch", value, f"unrecognized type: {wanted}" if mistyped else why)])


def _in_order(old: Any, new: Any) -> Any:
    """The members in the order the real server shows: sorted where the patch changed something, else as they were."""
    if new == old:
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {name: _in_order(before.get(name), new[name]) for name in sorted(new)}
    if isinstance(new, list):
        places = old if isinstance(old, list) and len(old) == len(new) else [None] * len(new)
        return [_in_order(*pair) for pair in zip(places, new, strict=True)]
    return new


def patch_media(request: Request) -> str:
    """The content type of a patch of a format we know.

    Raises:
        ApiError: 415.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in (JSON, MERGE, STRATEGIC):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    return media
