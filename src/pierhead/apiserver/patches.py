"""A patch in a request: its content type, its syntax, and what it makes of the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pierhead.api import Tree
from pierhead.api.codec import parse_json, repeated_keys
from pierhead.api.kind import Kind
from pierhead.api.patch import json_patch, merge_patch, strategic_merge_patch, unknown_members
from pierhead.api.schema import message
from pierhead.apiserver.request import Request
from pierhead.errors import ApiError

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Patched:
    """What came out of a patch, not yet checked against the schema."""

    tree: Any
    doubles: Sequence[str] = ()
    """``duplicate field …`` for keys that stand twice in the patch."""
    unknown: Sequence[str] = ()
    """Members of operations that nobody knows: only Strict minds."""


def applied(request: Request, kind: Kind, old: Tree) -> Patched:
    """Raises: ApiError 415 for another content type, else as the formats have it for what cannot be applied."""
    media = _media(request)
    if media not in (JSON, MERGE, STRATEGIC):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    patch = parse_json(request.body)
    doubles = repeated_keys(request.body)
    if media == JSON:
        return Patched(json_patch(old, patch), unknown=unknown_members(patch))
    if media == MERGE:
        return Patched(merge_patch(old, patch), doubles)
    return Patched(strategic_merge_patch(old, patch, message(kind.message)), doubles)


def applied_to_view(request: Request, view: Tree) -> Any:
    """A patch of something that is no kind of ours, like a Scale; its lists and maps have no merge keys.

    Raises:
        ApiError: as ``applied``.
    """
    patch = parse_json(request.body)
    return json_patch(view, patch) if _media(request) == JSON else merge_patch(view, patch)


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
