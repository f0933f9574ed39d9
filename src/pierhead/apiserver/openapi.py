"""OpenAPI v3 from the schema table and the kinds: an index, and one document for each group and version.

Written for kubectl: ``create`` and ``apply`` look for the parameter ``fieldValidation`` at the PATCH of a kind, ``explain`` walks
the schemas. A document is made when it is first asked for and kept.

For a kind that v3 does not describe, kubectl looks into OpenAPI v2, and goes on to say that there is no such kind only if that
document is there. Ours describes nothing: whoever needs a schema finds it in v3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from pierhead import KUBERNETES
from pierhead.api import Tree, schema
from pierhead.api.kind import Kind
from pierhead.api.schema import Field, Message

META = "apimachinery.pkg.apis.meta.v1."
_REF = "#/components/schemas/"

_LEAVES: dict[str, Tree] = {
    f"{META}Time": {"type": "string", "format": "date-time"},
    f"{META}MicroTime": {"type": "string", "format": "date-time"},
    f"{META}FieldsV1": {"type": "object"},
    "apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "apimachinery.pkg.util.intstr.IntOrString": {
        "oneOf": [{"type": "integer"}, {"type": "string"}],
        "format": "int-or-string",
    },
}
"""Messages whose JSON form is no object of fields."""
_LEAF_NAMES = {
    "time": f"{META}Time",
    "microtime": f"{META}MicroTime",
    "any": f"{META}FieldsV1",
    "quantity": "apimachinery.pkg.api.resource.Quantity",
    "intorstring": "apimachinery.pkg.util.intstr.IntOrString",
}
_SCALARS: dict[str, Tree] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
}
_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0}
_PARAMETERS = {
    "dryRun": ("string", "All: do everything but the write."),
    "fieldManager": ("string", "Who is recorded as the owner of the fields that change."),
    "fieldValidation": ("string", "What to do about unknown and repeated fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Apply only: take fields over from their owners."),
}
_INFO = {"title": "Pierhead", "version": KUBERNETES}
_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json")


def find(kinds: Sequence[Kind], rest: Sequence[str]) -> bytes | None:
    """The body for ``/openapi/v3/REST``; None when there is no such document."""
    path = "/".join(rest)
    return _index(tuple(kinds)) if not path else _documents(tuple(kinds)).get(path)


def version_2(accept: str) -> tuple[bytes, bytes]:
    """Content type and body for ``/openapi/v2``: protobuf for client-go, which asks for nothing else, and JSON for people."""
    if "+protobuf" not in accept:
        return b"application/json", msgspec.json.encode({"swagger": "2.0", "info": _INFO, "paths": {}})
    title, version = (text.encode() for text in _INFO.values())
    body = _protobuf(1, b"2.0") + _protobuf(2, _protobuf(1, title) + _protobuf(2, version))
    return b"application/com.github.proto-openapi.spec.v2.v1.0+protobuf", body


def _protobuf(number: int, value: bytes) -> bytes:
    """A field of bytes, text or a message, shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(value))) + value


@lru_cache(maxsize=1)
def _index(kinds: tuple[Kind, ...]) -> bytes:
    """The hash in each URL lets clients keep a document for as long as it is the same."""
    paths = {
        path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha512(body).hexdigest().upper()}"}
        for path, body in _documents(kinds).items()
    }
    return msgspec.json.encode({"paths": paths})


@lru_cache(maxsize=1)
def _documents(kinds: tuple[Kind, ...]) -> dict[str, bytes]:
    """Path (``api/v1``, ``apis/apps/v1``) → document."""
    paths = dict.fromkeys(kind.root.removeprefix("/") for kind in kinds)
    return {
        path: msgspec.json.encode(document([kind for kind in kinds if kind.root == f"/{path}"]))
        for path in sorted(paths)
    }


def document(kinds: Sequence[Kind]) -> Tree:
    """The document of one group and version: these kinds, and every schema they reach."""
    paths = {path: operations for kind in kinds for path, operations in _paths(kind)}
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {"schemas": _schemas(kinds)},
    }


# -- schemas --------------------------------------------------------------------------------------------------


def _schemas(kinds: Sequence[Kind]) -> Tree:
    known = {kind.message: [_gvk(kind)] for kind in kinds}
    waiting = [*known, f"{META}ListMeta", f"{META}DeleteOptions", f"{META}Status"]
    found = {published(f"{kind.message}List"): _list(kind) for kind in kinds if not kind.asked}
    while waiting:
        name = waiting.pop()
        if published(name) in found:
            continue
        if name in _LEAVES:
            found[published(name)] = _LEAVES[name]
        else:
            message = schema.message(name)
            found[published(name)] = _object(message, known.get(name))
            waiting += [inner for field in message.fields.values() if (inner := _inner(field))]
    return {name: found[name] for name in sorted(found)}


def published(message: str) -> str:
    """``io.k8s.api.core.v1.Service``: the name a message has in OpenAPI."""
    return f"dev.{message}" if message.startswith("pierhead.") else f"io.k8s.{message}"


def _inner(field: Field) -> str:
    """The message a field refers to; empty for scalars."""
    return field.message or _LEAF_NAMES.get(field.type, "")


def _object(message: Message, gvk: list[Tree] | None) -> Tree:
    found: Tree = {"description": message.description} if message.description else {}
    found |= {"type": "object", "properties": {field.name: _property(field) for field in message.fields.values()}}
    if required := [field.name for field in message.fields.values() if field.required]:
        found["required"] = required
    if message.map_type:
        found["x-kubernetes-map-type"] = message.map_type
    if gvk:
        found["x-kubernetes-group-version-kind"] = gvk
    return found


def _property(field: Field) -> Tree:
    found: Tree = {"description": field.description} if field.description else {}
    if field.list:
        return found | {"type": "array", "items": _item(field)} | _extensions(field)
    if field.map:
        return found | {"type": "object", "additionalProperties": _item(field)}
    if inner := _inner(field):
        default: Tree = {"default": {}} if field.always and field.message else {}
        return found | default | {"allOf": [{"$ref": _REF + published(inner)}]}
    found |= _SCALARS[field.type]
    if field.default is not None:
        found["default"] = field.default
    elif field.required:
        found["default"] = _ZEROS[field.type]
    return found | ({"enum": list(field.enum)} if field.enum else {})


def _item(field: Field) -> Tree:
    inner = _inner(field)
    return {"$ref": _REF + published(inner)} if inner else _SCALARS[field.type]


def _extensions(field: Field) -> Tree:
    found = {
        "x-kubernetes-list-type": field.list_type,
        "x-kubernetes-list-map-keys": list(field.map_keys),
        "x-kubernetes-patch-merge-key": field.merge_key,
        "x-kubernetes-patch-strategy": field.patch_strategy,
    }
    return {name: value for name, value in found.items() if value}


def _list(kind: Kind) -> Tree:
    text = {"type": "string"}
    metadata = {"default": {}, "allOf": [{"$ref": _REF + published(f"{META}ListMeta")}]}
    items = {"type": "array", "items": {"$ref": _REF + published(kind.message)}}
    return {
        "type": "object",
        "required": ["items"],
        "properties": {"apiVersion": text, "items": items, "kind": text, "metadata": metadata},
        "x-kubernetes-group-version-kind": [_gvk(kind) | {"kind": f"{kind.name}List"}],
    }


def _gvk(kind: Kind) -> Tree:
    return {"group": kind.group, "kind": kind.name, "version": kind.version}


# -- paths ----------------------------------------------------------------------------------------------------


def _paths(kind: Kind) -> Iterator[tuple[str, Tree]]:
    namespace = "{namespace}" if kind.namespaced else ""
    places = [name for name in ("namespace", "name") if name == "name" or kind.namespaced]
    post = _operation(kind, "post", kind.message, writes=True, body=("application/json",))
    if kind.asked:
        yield kind.path(namespace), {"post": post}
        return
    yield (
        kind.path(namespace),
        {
            "get": _operation(kind, "list", f"{kind.message}List"),
            "post": post,
            "parameters": [_place(name) for name in places if name == "namespace"],
        },
    )
    yield (
        kind.path(namespace, "{name}"),
        {
            "get": _operation(kind, "get", kind.message),
            "put": _operation(kind, "put", kind.message, writes=True, body=("application/json",)),
            "patch": _operation(
                kind, "patch", kind.message, writes=True, body=tuple(f"application/{form}" for form in _PATCHES)
            ),
            "delete": _operation(kind, "delete", f"{META}Status"),
            "parameters": [_place(name) for name in places],
        },
    )


def _operation(kind: Kind, action: str, answer: str, *, writes: bool = False, body: tuple[str, ...] = ()) -> Tree:
    found: Tree = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
        "responses": {"200": {"description": "OK", "content": _content(("application/json",), answer)}},
    }
    if writes:
        names = [name for name in _PARAMETERS if name != "force" or action == "patch"]
        found["parameters"] = [_parameter(name) for name in names]
    if body:
        found["requestBody"] = {"required": True, "content": _content(body, "" if action == "patch" else kind.message)}
    return found


def _content(media: tuple[str, ...], message: str) -> Tree:
    described: Tree = {"$ref": _REF + published(message)} if message else {"type": "object"}
    return {name: {"schema": described} for name in media}


def _parameter(name: str) -> Tree:
    kind, description = _PARAMETERS[name]
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _place(name: str) -> Tree:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
