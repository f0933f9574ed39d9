"""YAML as Kubernetes reads it: one document, turned into what its JSON would be. Never a Python object, never a bomb. And as it
writes it."""

from __future__ import annotations

from typing import Any

import yaml

from pierhead.api.codec.text import Literal, Pairs, whole

MOST_ALIASED = 1_000_000
"""How much aliases may stand for, in all: characters of scalars, and nodes, of which each counts as NODE characters."""
NODE = 10
"""What it takes longer to make: nobody else is served meanwhile."""
MOST_NODES = 100_000
"""Scalars, lists, maps and aliases of one document; its reading takes some microseconds for each, and nobody else is served
meanwhile. The largest object of ours, a full EndpointSlice, has some twenty thousand."""
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_TAG = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class NoYaml(ValueError):
    """The text is not YAML, or not such as JSON can say; the message begins with ``yaml: ``."""


def parse(body: bytes) -> tuple[Any, tuple[str, ...]]:
    """The first document with Pairs and Literals, and a text for each key that was given twice (the last one counts).

    Raises:
        NoYaml: Not readable, or too much for its size.
    """
    text = body.decode("utf-8", "replace")
    try:
        if len(text) > MOST_NODES:
            _refuse_too_many(text)
        loader = _LOADER(text)
        try:
            loader.check_node()
            reader = _Reader(loader)
            return reader.value(loader.get_node()), tuple(reader.problems)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NoYaml(f"yaml: line {mark.line + 1 if mark else 1}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        complaint = " ".join(str(error).split())
        raise NoYaml(complaint if complaint.startswith("yaml: ") else f"yaml: {complaint}") from error
    except RecursionError as error:
        raise NoYaml("yaml: exceeded max depth") from error


def write(value: Any) -> bytes:
    """``value``: as JSON has it."""
    text: str = yaml.dump(value, Dumper=_DUMPER, default_flow_style=False, allow_unicode=True, width=2**30)
    return text.encode()


def _refuse_too_many(text: str) -> None:
    """Counts before anything is made of them.

    Raises:
        NoYaml: There are more than MOST_NODES.
        yaml.YAMLError: It is none.
    """
    loader, nodes = _LOADER(text), 0
    try:
        while not loader.check_event(yaml.DocumentEndEvent, yaml.StreamEndEvent):
            nodes += isinstance(loader.get_event(), yaml.NodeEvent)
            if nodes > MOST_NODES:
                raise NoYaml(f"yaml: document contains more than {MOST_NODES} nodes; JSON may have more")
    finally:
        loader.dispose()


class _Reader:
    """Turns nodes into values. An alias is its node again, so a node met twice counts as aliased."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._met: set[int] = set()
        self._open: set[int] = set()
        self._aliased = 0
        self.problems: list[str] = []

    def value(self, node: yaml.Node | None) -> Any:
        if node is None:
            return None
        self._charge(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise NoYaml(f"yaml: line {node.start_mark.line + 1}: an anchor's value contains itself")
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            found: Any = [self.value(item) for item in node.value]
        else:
            found = Pairs(list(self._mapping(node).items()))
        self._open.discard(id(node))
        return found

    def _charge(self, node: yaml.Node) -> None:
        if id(node) in self._met and id(node) not in self._open:
            self._aliased += NODE + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            if self._aliased > MOST_ALIASED:
                raise NoYaml("yaml: document contains excessive aliasing")
        self._met.add(id(node))

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged |= self._merge(value_node)
                continue
            key = self._key(key_node)
            if key in found:
                self.problems.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
            found[key] = self.value(value_node)
        return found | {key: given for key, given in merged.items() if key not in found}

    def _merge(self, node: yaml.Node) -> dict[str, Any]:
        if isinstance(node, yaml.SequenceNode):
            found: dict[str, Any] = {}
            for item in node.value:
                found = self._merge(item) | found
            return found
        value = self.value(node)
        if not isinstance(value, Pairs):
            raise NoYaml("yaml: map merge requires map or sequence of maps as the value")
        return dict(value.pairs)

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise NoYaml(f"yaml: line {node.start_mark.line + 1}: invalid map key")
        found = self._scalar(node)
        if isinstance(found, Literal):
            return found.text
        if isinstance(found, bool):
            return "true" if found else "false"
        return "null" if found is None else str(found)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        kind = node.tag.removeprefix(_TAG)
        is_plain = not node.style
        if is_plain and kind in ("bool", "str") and text in _TRUE:
            return True
        if is_plain and kind in ("bool", "str") and text in _FALSE:
            return False
        if kind == "null":
            return None
        if kind == "int" and ":" not in text:
            return Literal(str(self._loader.construct_yaml_int(node)))
        if kind == "float" and ":" not in text:
            return Literal(_spelled(self._loader.construct_yaml_float(node)))
        return whole(text)


def _spelled(number: float) -> str:
    """A float as Go writes it into JSON: 80.0 becomes 80."""
    if number != number or number in (float("inf"), float("-inf")):
        raise NoYaml(f"yaml: json: unsupported value: {number}")
    return str(int(number)) if number == int(number) and abs(number) < 1e21 else repr(number)
