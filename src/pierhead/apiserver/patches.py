"""A patch in a request: its content type, its syntax, and what it makes of the object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.patch import json_patch, merge_patch, strategic_merge_patch, unknown_members
from pierhead.api.schema import message
from pierhead.apiserver.request import Request
from pierhead.errors import ApiError, bad_request

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Patched:
    """What came out of a patch, not yet checked against the schema."""

    tree: Any
    doubles: Sequence[str] = ()
    """Keys that stand twice in the patch."""
    unknown: Sequence[str] = ()
    """Members of operations that nobody knows: only Strict minds."""


def applied(request: Request, kind: Kind, old: Tree) -> Patched:
    """Raises: ApiError 415 for another content type, else as the formats have it for what cannot be applied."""
    media = _media(request)
    if media not in (JSON, MERGE, STRATEGIC):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    patch, doubles = parse(request.body, "" if media == STRATEGIC else "error decoding patch: ")
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
    patch, _ = parse(request.body, "error decoding patch: ")
    return json_patch(view, patch) if _media(request) == JSON else merge_patch(view, patch)


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def parse(body: bytes, prefix: str) -> tuple[Any, list[str]]:
    """The JSON of a patch, and ``duplicate field "PATH"`` for each key that stands twice; the last one counts.

    Raises:
        ApiError: 400.
    """
    doubles: dict[int, list[str]] = {}

    def to_dict(pairs: list[tuple[str, Any]]) -> Tree:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            doubles[id(found)] = [name for name in found if names.count(name) > 1]
        return found

    try:
        patch = json.loads(body, object_pairs_hook=to_dict)
    except json.JSONDecodeError as error:
        raise bad_request(prefix + _in_words_of_go(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"{prefix}the body is no JSON that can be read") from error
    found = list(_paths(patch, doubles, "")) if doubles else []
    return patch, [f'duplicate field "{path}"' for path in found]


def _paths(value: Any, doubles: dict[int, list[str]], above: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{above}.{name}".lstrip(".") for name in doubles.get(id(value), ()))
        for name, below in value.items():
            yield from _paths(below, doubles, f"{above}.{name}".lstrip("."))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _paths(below, doubles, f"{above}[{place}]")


def _in_words_of_go(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].lstrip()
    if not rest or error.msg.startswith("Unterminated"):
        return "unexpected end of JSON input"
    return f"invalid character '{rest[0]}' looking for beginning of value"
