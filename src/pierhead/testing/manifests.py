"""Manifests as a test gives them: files, text, mappings; read as a whole before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import yaml

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.kinds import KINDS

Source: TypeAlias = str | Path | Mapping[str, Any]

_KINDS = {(kind.api_version, kind.name): kind for kind in KINDS}


class Manifest(NamedTuple):
    """One object to be."""

    kind: Kind
    tree: Tree
    """With a name, and with a namespace where its kind has one."""


def read(sources: Iterable[Source]) -> list[Manifest]:
    """All objects of all sources, in order; a List stands for its items.

    Raises:
        ValueError: names the source and the document that is none.
        OSError: a file cannot be read.
    """
    return [_manifest(tree, where) for source in sources for where, tree in _documents(source)]


def _documents(source: Source) -> Iterator[tuple[str, Any]]:
    """Each object with the words that say where it stands."""
    if isinstance(source, Mapping):
        yield from _items("the mapping", dict(source))
        return
    text, where = (source, "the text") if _is_text(source) else (_content(source), str(source))
    try:
        found = list(yaml.safe_load_all(str(text)))
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: {error}") from error
    for number, document in enumerate(found, 1):
        if document is not None:
            yield from _items(f"{where}: document {number}" if len(found) > 1 else where, document)


def _content(source: str | Path) -> str:
    try:
        return Path(source).read_text("utf-8")
    except FileNotFoundError as error:
        why = "no such file; a manifest is a file, text of more than one line, an object of JSON, or a mapping"
        raise FileNotFoundError(error.errno, why, str(source)) from None


def _is_text(source: str | Path) -> bool:
    return isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{"))


def _items(where: str, document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        yield from ((f"{where}: item {number}", item) for number, item in enumerate(document["items"]))
    else:
        yield where, document


def _manifest(document: Any, where: str) -> Manifest:
    match document:
        case {"apiVersion": str(version), "kind": str(name), "metadata": {"name": _} | {"generateName": _}}:
            kind = _KINDS.get((version, name))
        case _:
            raise ValueError(f"{where}: an object has apiVersion, kind and metadata with a name; this is {document!r}")
    if kind is None:
        known = ", ".join(f"{found.name} ({found.api_version})" for found in KINDS)
        raise ValueError(f"{where}: {name} ({version}) is not served; there are {known}")
    tree: Tree = msgspec.json.decode(msgspec.json.encode(document))  # dates of YAML become text, as the API has them
    if kind.namespaced:
        tree["metadata"]["namespace"] = tree["metadata"].get("namespace") or "default"
    return Manifest(kind, tree)
