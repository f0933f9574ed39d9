"""What is sent back: objects as they are stored, lists joined from stored bytes, the same in other forms, and failures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.apiserver import table
from pierhead.apiserver.request import Form
from pierhead.errors import ApiError, internal

WARNING_CHARACTERS = 4096
"""Of all warnings of an answer."""
WARNING_CUT = 256
"""Of each, when there are more."""

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """One whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    warnings: Sequence[str] = ()
    retry_after: int = 0
    """Seconds; sent when not 0."""


class Chunks(msgspec.Struct, frozen=True):
    """An answer whose body comes bit by bit, like a log."""

    chunks: AsyncGenerator[bytes, None]
    """None of them empty. It is closed when the client has gone; an ApiError before the first is the answer."""
    content_type: bytes = b"text/plain"


def text(body: str, status: int = 200) -> Answer:
    return Answer(status, body.encode(), b"text/plain; charset=utf-8")


def of_json(body: bytes, form: Form, status: int = 200, warnings: Sequence[str] = ()) -> Answer:
    """``body``: compact JSON. Written as the real server does: compact with a newline, indented without."""
    if form.yaml:
        from pierhead.api.codec import yamltext  # as in the codec: hardly anybody asks for it

        return Answer(status, yamltext.write(msgspec.json.decode(body)), b"application/yaml", warnings)
    written = msgspec.json.format(body, indent=2) if form.pretty else body + b"\n"
    return Answer(status, written, warnings=warnings)


def of_tree(tree: Any, form: Form, status: int = 200, warnings: Sequence[str] = ()) -> Answer:
    return of_json(_encode(tree), form, status, warnings)


def of_object(kind: Kind, value: bytes, form: Form, status: int = 200, warnings: Sequence[str] = ()) -> Answer:
    """``value``: the object as it is stored."""
    if not form.view:
        return of_json(value, form, status, warnings)
    if form.view == "Table":
        revision = msgspec.json.decode(value)["metadata"].get("resourceVersion", "")
        metadata = {"resourceVersion": revision} if revision else {}
        return of_json(table.render(kind, [value], metadata, form), form, status, warnings)
    if form.view == "PartialObjectMetadataList":
        internal = f"*{_package(kind)}.{kind.name}"
        why = f"you requested PartialObjectMetadataList, but the requested object is not a list ({internal})"
        raise ApiError(406, "NotAcceptable", why)
    return of_json(table.partial(value, form.version), form, status, warnings)


def of_list(kind: Kind, values: Iterable[bytes], metadata: Tree, form: Form, warnings: Sequence[str] = ()) -> Answer:
    """``values``: objects as they are stored, in order. ``metadata``: of the list."""
    if form.view == "Table":
        return of_json(table.render(kind, values, metadata, form), form, warnings=warnings)
    if form.view == "PartialObjectMetadata":
        internal = f"*{_package(kind)}.{kind.name}List"
        why = f"you requested PartialObjectMetadata, but the requested object is a list ({internal})"
        raise ApiError(406, "NotAcceptable", why)
    if form.view:
        head = _head(form.view, f"meta.k8s.io/{form.version}", metadata)
        items = b",".join(table.partial(value, form.version) for value in values)
    else:
        head = _head(f"{kind.name}List", kind.api_version, metadata)
        # An item of a list does not repeat its kind and apiVersion, which every stored object begins with.
        skip = len(opening(kind))
        items = b",".join([b"{" + value[skip:] for value in values])
    return of_json(b'%s,"items":[%s]}' % (head, items), form, warnings=warnings)


def opening(kind: Kind) -> bytes:
    """How every stored object of this kind begins."""
    return b'{"kind":"%s","apiVersion":"%s",' % (kind.name.encode(), kind.api_version.encode())


def of_error(error: ApiError, form: Form, warnings: Sequence[str] = ()) -> Answer:
    found = of_tree(error.status(), form, error.code, warnings)
    return Answer(found.status, found.body, found.content_type, warnings, error.retry_after)


def unexpected() -> ApiError:
    """What a client is told of a failure of ours. The cause is nothing for him, and stands in the log."""
    return internal("the cause is in the server's log")


def success(details: Tree | None = None, *, code: int = 0) -> Tree:
    """A Status of kind Success."""
    body: Tree = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        body["details"] = details
    return body | ({"code": code} if code else {})


def _head(kind: str, api_version: str, metadata: Tree) -> bytes:
    head = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
    return _encode(head)[:-1]


def _package(kind: Kind) -> str:
    """The Go package of the internal type, which the real server's message names."""
    return kind.group.partition(".")[0] or "core"


def warning_headers(kind: Kind | None, warnings: Sequence[str] = ()) -> list[tuple[bytes, bytes]]:
    """``Warning: 299 - "TEXT"`` for each text (RFC 7234, 5.5), a kind's own deprecation first."""
    texts = [*((kind.deprecation,) if kind and kind.deprecation else ()), *dict.fromkeys(warnings)]
    return [(b"warning", b'299 - "%s"' % _quoted(text)) for text in _bounded(texts)]


def _bounded(texts: Sequence[str]) -> Sequence[str]:
    """All of them, unless they are too long together: then the first ones, each cut short. The real server's rule; clients
    refuse an answer whose headers are too long."""
    if sum(map(len, texts)) <= WARNING_CHARACTERS:
        return texts
    cut = [text[:WARNING_CUT] for text in texts]
    before = accumulate(map(len, cut), initial=0)
    return [text for text, told in zip(cut, before, strict=False) if told < WARNING_CHARACTERS]


def _quoted(text: str) -> bytes:
    """A quoted-string; what may not stand in a header is left out."""
    printable = "".join(char for char in text if char.isprintable())
    return printable.replace("\\", "\\\\").replace('"', '\\"').encode("latin-1", "replace")
