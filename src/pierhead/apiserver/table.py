"""The Table form of any kind (``kubectl get``): its columns, and a row of cells for each object."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pierhead.api import Tree
from pierhead.api.columns import DEFAULT
from pierhead.api.kind import Kind
from pierhead.apiserver.request import Form
from pierhead.errors import bad_request

_decode = msgspec.json.Decoder(dict).decode
_encode = msgspec.json.Encoder().encode


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw


_raw_metadata = msgspec.json.Decoder(_Metadata).decode


def partial(value: bytes, version: str = "v1") -> bytes:
    """The PartialObjectMetadata of a stored object."""
    metadata = bytes(_raw_metadata(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%s","metadata":%s}' % (
        version.encode(),
        metadata,
    )


def check_included(form: Form) -> None:
    """Raises: ApiError 400 for an ``includeObject`` nobody knows."""
    if form.include not in ("", "Metadata", "Object", "None"):
        text = "must be 'Metadata', 'Object', 'None', or empty"
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{form.include}": {text}'
        )


def render(
    kind: Kind, values: Iterable[bytes], metadata: Mapping[str, Any], form: Form, *, heading: bool = True
) -> bytes:
    """``values``: objects as stored. ``metadata``: of the list. ``heading``: a watch shows the columns only once.

    Raises:
        ApiError: as ``check_included``.
    """
    check_included(form)
    now = time.time()
    columns = kind.columns or DEFAULT
    table = {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": metadata,
        "columnDefinitions": _definitions(kind) if heading else None,
        "rows": [{"cells": columns.cells(_decode(value), now), "object": _object(value, form)} for value in values],
    }
    return _encode(table)


def _definitions(kind: Kind) -> list[Tree]:
    return [
        {"name": c.name, "type": c.type, "format": c.format, "description": c.description, "priority": c.priority}
        for c in (kind.columns or DEFAULT).columns
    ]


def _object(value: bytes, form: Form) -> msgspec.Raw | None:
    if form.include == "None":
        return None
    return msgspec.Raw(value if form.include == "Object" else partial(value, form.version))
