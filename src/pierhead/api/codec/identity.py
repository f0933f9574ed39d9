"""Which kind a body says it is, and what the real server says when that is not the kind it was sent to."""

from __future__ import annotations

from typing import Any

from pierhead.api import schema
from pierhead.api.codec.reading import kind_of
from pierhead.api.codec.text import members
from pierhead.api.kind import Kind
from pierhead.errors import ApiError, bad_request

SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_STRUCT = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_SHOWN = 30


def unrecognized(kind: Kind, why: str, body: bytes) -> ApiError:
    """The body does not even say what it is. Its beginning is quoted: as text when it looks like an object, else in hexadecimal."""
    if not body:
        shown = "<empty>"
    else:
        head, tail = body[:_SHOWN], " ..." if len(body) > _SHOWN else ""
        shown = (head.decode("utf-8", "replace") if body.startswith(b"{") else head.hex()) + tail
    return bad_request(f"the object provided is unrecognized (must be of type {kind.name}): {why} ({shown})")


def mishandled(kind: Kind, why: str, given: tuple[str, str] = ("", "")) -> ApiError:
    """The body says what it is, and cannot be read as that. ``given``: the apiVersion and kind it names."""
    version = given[0] or kind.api_version
    name = given[1] or kind.name
    return bad_request(f'{name} in version "{version.rpartition("/")[2]}" cannot be handled as a {kind.name}: {why}')


def claimed(kind: Kind, value: Any, body: bytes) -> tuple[str, str]:
    """apiVersion and kind as the body gives them; empty where it does not.

    Raises:
        ApiError: 400; they are not text, or the body is no object.
    """
    found = {"apiVersion": "", "kind": ""}
    pairs = members(value)
    if pairs is None:
        why = f"json: cannot unmarshal {kind_of(value)} into Go value of type {_STRUCT}"
        raise unrecognized(kind, f"couldn't get version/kind; json parse error: {why}", body)
    for key, given in pairs:
        if key in found and given is not None:
            if not isinstance(given, str):
                why = f"json: cannot unmarshal {kind_of(given)} into Go struct field .{key} of type string"
                raise unrecognized(kind, f"couldn't get version/kind; json parse error: {why}", body)
            found[key] = given
    return found["apiVersion"], found["kind"]


def check(kind: Kind, given: tuple[str, str], body: bytes) -> None:
    """Whether a body that names this apiVersion and kind may be read as ``kind``. What it leaves out, it is.

    Raises:
        ApiError: 400.
    """
    version, name = given
    if version.count("/") > 1:
        raise unrecognized(kind, f"unexpected GroupVersion string: {version}", body)
    version, name = version or kind.api_version, name or kind.name
    if (version, name) == (kind.api_version, kind.name):
        return
    if name not in schema.table().registered.get(version, ()):
        why = f'no kind "{name}" is registered for version "{version}" in scheme "{SCHEME}"'
        raise mishandled(kind, why, (version, name))
    if name != kind.name:
        internal = kind.group.partition(".")[0] or "core"
        why = f"converting ({version.rpartition('/')[2]}.{name}) to ({internal}.{kind.name}): unknown conversion"
        raise mishandled(kind, why, (version, name))
    raise bad_request(
        f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
    )
