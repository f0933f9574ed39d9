"""JSON patch (RFC 6902), with the liberties of the real server's library.

It takes a path without its first slash (the first segment is skipped whatever it is), replaces members that do not exist, copies a
missing member as null, and counts a negative index from the end.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pierhead.api.patch.values import copied, json_word, same, shallow
from pierhead.errors import ApiError, bad_request

MOST_OPERATIONS = 10_000
MOST_COPIED = 3 * 2**20
"""Bytes of JSON that all ``copy`` operations of a patch may write together: copies of copies would double for ever."""

_MEMBERS = ("op", "from", "path", "value")
_INDEX = re.compile(r"[+-]?[0-9]{1,10}\Z", re.ASCII)


class _Inapplicable(Exception):
    """An operation that this document does not allow."""


@shallow
def json_patch(doc: Any, ops: Any) -> Any:
    """Applies the operations in turn; all of them or none.

    Raises:
        ApiError: 400 for what is no list of operations, 413 for too many, 422 for one that cannot be applied.
    """
    _check(ops)
    patcher = _Patcher(copied(doc))
    try:
        for operation in ops or ():
            patcher.apply(operation or {})
    except _Inapplicable as error:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, details={}) from error
    return patcher.root


def unknown_members(ops: Any) -> list[str]:
    """What Strict refuses in a JSON patch: members of operations that RFC 6902 does not know."""
    return [
        f'json patch unknown field "[{place}].{member}"'
        for place, operation in enumerate(ops or ())
        for member in operation or ()
        if member not in _MEMBERS
    ]


def _check(ops: Any) -> None:
    if ops is None:
        return
    if not isinstance(ops, list):
        raise _unreadable(ops, "Go value of type []handlers.jsonPatchOp")
    if len(ops) > MOST_OPERATIONS:
        text = f"Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(ops)}"
        raise ApiError(413, "RequestEntityTooLarge", text, details={})
    for operation in ops:
        if not isinstance(operation, dict | None):
            raise _unreadable(operation, "Go value of type handlers.jsonPatchOp")
        for member in ("op", "from", "path"):
            value = (operation or {}).get(member)
            if not isinstance(value, str | None):
                raise _unreadable(value, f"Go struct field jsonPatchOp.{member} of type string")


def _unreadable(value: Any, wanted: str) -> ApiError:
    return bad_request(f"error decoding patch: json: cannot unmarshal {json_word(value)} into {wanted}")


class _Patcher:
    """A document on its way through a patch. ``root`` is its own copy."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._copied = 0

    def apply(self, operation: dict[str, Any]) -> None:
        path, value = operation.get("path"), operation.get("value")
        if path is None:
            raise _Inapplicable("an operation without a path")
        match operation.get("op"):
            case "add":
                self._add(path, copied(value))
            case "remove":
                self._remove(path)
            case "replace":
                self._replace(path, copied(value))
            case "test":
                if not same(self._get(path), value):
                    raise _Inapplicable(f"test of {path} failed")
            case "move":
                self._move(operation.get("from"), path)
            case "copy":
                self._copy(operation.get("from"), path)
            case unknown:
                raise _Inapplicable(f"no operation {unknown}")

    def _move(self, source: str | None, path: str) -> None:
        value = self._get(source)
        self._remove(source or "")
        self._add(path, value)

    def _copy(self, source: str | None, path: str) -> None:
        value = self._get(source)
        self._copied += len(msgspec.json.encode(value))
        if self._copied > MOST_COPIED:
            raise _Inapplicable("copies too much")
        self._add(path, copied(value))

    def _get(self, path: str | None) -> Any:
        if path is None:
            raise _Inapplicable("an operation without a source")
        if not path:
            return self.root
        holder, key = self._holder(path)
        return holder.get(key) if isinstance(holder, dict) else holder[_index(key, len(holder))]

    def _add(self, path: str, value: Any) -> None:
        holder, key = self._holder(path)
        if isinstance(holder, dict):
            holder[key] = value
        elif key == "-":
            holder.append(value)
        else:
            holder.insert(_index(key, len(holder) + 1), value)

    def _remove(self, path: str) -> None:
        holder, key = self._holder(path)
        if isinstance(holder, list):
            del holder[_index(key, len(holder))]
        elif key in holder:
            del holder[key]
        else:
            raise _Inapplicable(f"nothing at {path}")

    def _replace(self, path: str, value: Any) -> None:
        if not path:
            if not isinstance(value, dict | list):
                raise _Inapplicable("a document is an object or a list")
            self.root = value
            return
        holder, key = self._holder(path)
        if isinstance(holder, dict):
            holder[key] = value
        else:
            holder[_index(key, len(holder))] = value

    def _holder(self, path: str) -> tuple[dict[str, Any] | list[Any], str]:
        """The container of what a path names, and its key there."""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
        if not parts:
            raise _Inapplicable(f"{path} names nothing inside the document")
        found = self.root
        for part in parts[:-1]:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list):
                found = found[_index(part, len(found))]
        if not isinstance(found, dict | list):
            raise _Inapplicable(f"nothing at {path}")
        return found, parts[-1]


def _index(text: str, size: int) -> int:
    """``size``: how many indices there are."""
    if not _INDEX.match(text) or not -size <= int(text) < size:
        raise _Inapplicable(f"{text} is no index below {size}")
    return int(text) % size
