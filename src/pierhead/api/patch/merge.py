"""JSON merge patch: objects merge, null removes, all else replaces (RFC 7386)."""

from __future__ import annotations

from typing import Any

from pierhead.api.patch.values import copied, json_word, shallow
from pierhead.errors import bad_request


@shallow
def merge_patch(doc: Any, patch: Any) -> Any:
    """Raises: ApiError 400 when the patch is no object."""
    if patch is None:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(patch, dict):
        word = json_word(patch)
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"
        )
    return _merged(doc, patch)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copied(patch)
    old = target if isinstance(target, dict) else {}
    merged = {key: copied(value) for key, value in old.items() if key not in patch}
    merged |= {key: _merged(old.get(key), value) for key, value in patch.items() if value is not None}
    return merged
