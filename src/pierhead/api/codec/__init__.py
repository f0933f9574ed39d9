"""The codec: bodies of requests to trees, trees to the bytes that are stored.

``decode`` → ``complete`` → (strategy, allocation, validation) → ``encode`` → ``stamp``. Reading has two speeds. A clean JSON body
(known fields, right types, nothing to drop, no key twice) is recognized by one walk over what msgspec gives; anything else is
read once more, carefully, with the answers of the real server for whatever is wrong.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from pierhead.api import Tree, defaults
from pierhead.api.codec import identity, protobuf, scalars, shapes, text
from pierhead.api.codec.reading import ROOT, Reading, Unreadable
from pierhead.api.kind import Kind
from pierhead.errors import bad_request

Media: TypeAlias = Literal["json", "yaml", "protobuf"]

_REVISION = re.compile(rb'"resourceVersion":"[^"]*"')
_ESCAPED = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    "\u2028".encode(): rb"\u2028",
    "\u2029".encode(): rb"\u2029",
}
_UNSAFE = re.compile(b"|".join(_ESCAPED))


class Decoded(NamedTuple):
    """An object as a request gave it, and what Strict would refuse in it."""

    tree: Tree
    """Pruned and canonical. kind, apiVersion, and the parts every object of its kind has (metadata, spec, …) are there."""
    problems: tuple[str, ...] = ()
    """One text for each unknown or repeated field, in the order of the body: the warnings of ``fieldValidation=Warn``."""
    yaml_problems: tuple[str, ...] = ()
    """Keys repeated in YAML, which are told before the others."""

    @property
    def warnings(self) -> list[str]:
        """What ``fieldValidation=Warn`` tells."""
        return [*self.yaml_problems, *self.problems]

    @property
    def strict(self) -> str:
        """What ``fieldValidation=Strict`` refuses, behind ``strict decoding error: ``; empty when nothing."""
        twice = ["yaml: unmarshal errors:" + "".join(f"\n  {found}" for found in self.yaml_problems)]
        return ", ".join([*(twice if self.yaml_problems else ()), *self.problems])


def decode(kind: Kind, body: bytes, media: Media) -> Decoded:
    """Reads the body of a request for an object of that kind. Defaults are not filled in.

    Raises:
        ApiError: 400; the body is malformed, of another kind, or a value has the wrong type.
    """
    if media == "protobuf":
        return _from_protobuf(kind, body)
    if media == "yaml":
        return _from_yaml(kind, body)
    try:
        tree = msgspec.json.decode(body)
        count = shapes.of_object(kind.message).count(tree)
        if count == body.count(b":") or count == text.keys(body):
            identity.check(kind, (tree.get("apiVersion", ""), tree.get("kind", "")), body)
            return Decoded(_identified(kind, tree))
    except (scalars.Odd, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # not clean: the careful reading says what it is
    try:
        exact = text.parse(body)
    except text.NoJson as error:
        raise identity.unrecognized(kind, f"couldn't get version/kind; json parse error: {error}", body) from error
    return _careful(kind, exact, body)


def check(kind: Kind, tree: Any) -> Decoded:
    """The same for a tree, such as a patch leaves behind. The result may share parts with it, or be it.

    Raises:
        ApiError: 400; of another kind, or a value has the wrong type.
    """
    try:
        shapes.of_object(kind.message).count(tree)
        identity.check(kind, (tree.get("apiVersion", ""), tree.get("kind", "")), b"{}")
        return Decoded(_identified(kind, tree))
    except (scalars.Odd, RecursionError):
        return _careful(kind, tree, b"{}")


def complete(kind: Kind, tree: Tree) -> None:
    """Fills in the defaults: those of the schema table, then those of the kind's strategy. In place."""
    defaults.fill(kind.message, tree)
    kind.strategy.default(tree)


def encode(kind: Kind, tree: Tree) -> bytes:
    """Canonical JSON as it is stored: kind and apiVersion first, Go's field order, no empty fields, a place for ``stamp``."""
    written = {"kind": kind.name, "apiVersion": kind.api_version} | shapes.of_object(kind.message).write(tree)
    if metadata := written.get("metadata"):
        metadata["resourceVersion"] = ""
    return _escaped(msgspec.json.encode(written))


def stamp(value: bytes, revision: int) -> bytes:
    """The stored bytes with that resourceVersion, whatever number they had before."""
    return _REVISION.sub(b'"resourceVersion":"%d"' % revision, value, count=1)


def parse_json(body: bytes) -> Any:
    """Any JSON value, such as a patch.

    Raises:
        ApiError: 400 with the words of the real server.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return text.plain(text.parse(body))
        except (text.NoJson, RecursionError) as error:
            raise bad_request(f"error decoding patch: {str(error) or text.TOO_DEEP}") from error


def repeated_keys(body: bytes) -> list[str]:
    """``duplicate field "metadata.labels.x"`` for each key that a JSON text has twice in one object.

    Raises:
        ApiError: 400; it is nested too deeply.
    """
    try:
        return text.repeated(text.parse(body))
    except (text.NoJson, RecursionError) as error:
        raise bad_request(f"error decoding patch: {text.TOO_DEEP}") from error


# -- the careful reading --------------------------------------------------------------------------------------


def _careful(kind: Kind, value: Any, body: bytes, twice: tuple[str, ...] = ()) -> Decoded:
    value = {} if value is None else value
    given = identity.claimed(kind, value, body)
    identity.check(kind, given, body)
    reading = Reading()
    try:
        tree = shapes.of_object(kind.message).read(value, ROOT, reading)
    except Unreadable as error:
        raise identity.mishandled(kind, str(error)) from error
    except RecursionError as error:
        raise identity.mishandled(kind, text.TOO_DEEP) from error
    if reading.refusal:
        raise identity.mishandled(kind, reading.refusal)
    return Decoded(_identified(kind, tree), reading.problems, twice)


def _from_yaml(kind: Kind, body: bytes) -> Decoded:
    from pierhead.api.codec import yamltext  # to load a YAML reader takes long, and clients send JSON

    try:
        value, twice = yamltext.parse(body)
    except yamltext.NoYaml as error:
        raise identity.unrecognized(kind, str(error), body) from error
    return _careful(kind, value, body, twice)


def _from_protobuf(kind: Kind, body: bytes) -> Decoded:
    try:
        given, raw = protobuf.envelope(body)
    except protobuf.NoProtobuf as error:
        raise identity.unrecognized(kind, str(error), body) from error
    identity.check(kind, given, body)
    try:
        tree = protobuf.decode(kind.message, raw)
    except protobuf.NoProtobuf as error:
        raise identity.mishandled(kind, str(error)) from error
    return _careful(kind, tree, body)


def _identified(kind: Kind, tree: Tree) -> Tree:
    """Says what it is, and has the parts that every object of its kind has."""
    tree["kind"], tree["apiVersion"] = kind.name, kind.api_version
    for name, slot in shapes.of_object(kind.message).slots.items():
        if slot.always and name not in tree and isinstance(slot.shape, shapes.Struct):
            tree[name] = {}
    return tree


def _escaped(value: bytes) -> bytes:
    """Go writes JSON that may stand inside HTML; the stored bytes are compared with what it writes."""
    if _UNSAFE.search(value) is None:
        return value
    return _UNSAFE.sub(lambda found: _ESCAPED[found[0]], value)
