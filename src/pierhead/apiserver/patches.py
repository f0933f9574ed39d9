"""A patch in a request: its content type, its syntax, and what it makes of the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pierhead.api import Tree, codec
from pierhead.api.kind import Kind
from pierhead.api.patch import json_patch, merge_patch, strategic_merge_patch
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
    problems: Sequence[str] = ()
    """What Strict refuses in the patch itself."""


def applied(request: Request, kind: Kind, old: Tree) -> Patched:
    """``old`` may be changed.

    Raises:
        ApiError: 415 for another content type, 400, 422 or 500 (as the real server has it) for a patch that cannot be applied.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == JSON:
        return Patched(json_patch(old, codec.parse_json(request.body)))
    if media == MERGE:
        return Patched(merge_patch(old, codec.parse_json(request.body)))
    if media == STRATEGIC:
        return Patched(strategic_merge_patch(old, codec.parse_json(request.body), message(kind.message)))
    raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})


def patched_view(request: Request, view: Tree) -> Any:
    """A patch of something that is no kind of ours, like a Scale: JSON and merge patches only make sense.

    Raises:
        ApiError: 400, 415, 422.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    parsed = codec.parse_json(request.body)
    return json_patch(view, parsed) if media == JSON else merge_patch(view, parsed)
