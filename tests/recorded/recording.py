"""Recorded cases of a real kube-apiserver 1.36 as data: what a step asks, and how an answer is compared with the recorded one.

``cases/AREA.jsonl`` holds one case a line; a case is a list of steps, each a request and its answer. Values that differ from
run to run stand as placeholders (``<uid:1>``): the same placeholder stands for the same value within a case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATTERNS = {
    "uid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "rv": r"\d+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z",
    "ip": r"[0-9a-f]*[.:][0-9a-f.:]*[0-9a-f]",
    "nodePort": r"3[0-2]\d{3}",
    "name": r"[a-z0-9]{5}",
    "continue": r"[\w=.-]+",
    "age": r"(?:(?:\d+[ydhms])+|<invalid>|<unknown>)",
    "any": r"(?s:.*)",
}
PLACEHOLDER = re.compile(rf"<({'|'.join(PATTERNS)})(?::\d+)?>")
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
UNORDERED = ("ports", "endpoints", "subsets", "items", "addresses", "notReadyAddresses")


def cases(area: Path) -> Iterator[dict[str, Any]]:
    with area.open() as lines:
        yield from map(json.loads, lines)


def rows(path: Path) -> dict[str, str]:
    """Of a list of open cases: case id → why it is open."""
    lines = path.read_text().splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


@dataclass
class Bindings:
    """What the placeholders of one case stand for, as far as its answers have shown."""

    namespace: str
    values: dict[str, str] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """A request with its placeholders replaced by what they stand for."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if value.startswith("<nodePort:") and value in self.values:
            return int(self.values[value])
        text = value.replace("{ns}", self.namespace)
        return PLACEHOLDER.sub(lambda found: self.values.get(found[0], found[0]), text)

    def matches(self, expected: str, actual: Any) -> bool:
        """Whether a text is the expected one; placeholders met for the first time are bound to what they matched."""
        expected = expected.replace("{ns}", self.namespace)
        if expected.startswith("<nodePort:") and isinstance(actual, int):
            actual = str(actual)
        if not isinstance(actual, str):
            return False
        groups: dict[str, str] = {}
        pattern, end = "", 0
        for found in PLACEHOLDER.finditer(expected):
            token = found[0]
            pattern += re.escape(expected[end : found.start()])
            end = found.end()
            if token in self.values:
                pattern += re.escape(self.values[token])
            elif token in groups:
                pattern += f"(?P={groups[token]})"
            elif ":" in token:
                groups[token] = f"p{len(groups)}"
                pattern += f"(?P<{groups[token]}>{PATTERNS[found[1]]})"
            else:
                pattern += f"(?:{PATTERNS[found[1]]})"
        match = re.fullmatch(pattern + re.escape(expected[end:]), actual)
        if match is None:
            return False
        self.values.update({token: match[group] for token, group in groups.items()})
        return True


@dataclass
class Comparison:
    """Differences between a recorded answer and ours."""

    bindings: Bindings
    subset: bool = False
    """Ours may hold more than the recorded one."""
    managed_fields: bool = False

    def differences(self, expected: Any, actual: Any, path: str = "") -> Iterator[str]:
        if isinstance(expected, str):
            if not self.bindings.matches(expected, actual):
                yield f"{path}: expected {self.bindings.fill(expected)!r}, got {actual!r}"
        elif isinstance(expected, dict) and isinstance(actual, dict):
            yield from self._objects(expected, actual, path)
        elif isinstance(expected, list) and isinstance(actual, list):
            yield from self._lists(expected, actual, path)
        elif type(expected) is not type(actual) or expected != actual:
            yield f"{path}: expected {expected!r}, got {actual!r}"

    def _objects(self, expected: dict[str, Any], actual: dict[str, Any], path: str) -> Iterator[str]:
        wanted = {key.replace("{ns}", self.bindings.namespace): value for key, value in expected.items()}
        for key in wanted.keys() | actual.keys() if not self.subset else wanted.keys():
            where = f"{path}.{key}"
            if key == "managedFields" and not self.managed_fields:
                continue
            if key not in actual:
                yield f"{where}: missing, expected {wanted[key]!r}"
            elif key not in wanted:
                yield f"{where}: unexpected {actual[key]!r}"
            elif key == "managedFields":
                one, other = (sorted(side, key=_manager) for side in (wanted[key], actual[key]))
                yield from self.differences(one, other, where)
            else:
                yield from self.differences(wanted[key], actual[key], where)

    def _lists(self, expected: list[Any], actual: list[Any], path: str) -> Iterator[str]:
        if self.subset:
            have = {_identity(item): item for item in actual}
            for item in expected:
                who = _identity(item)
                if who in have:
                    yield from self.differences(item, have[who], f"{path}[{who}]")
                else:
                    yield f"{path}: lacks {item!r}"
            return
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} items, got {len(actual)}: {actual!r}"
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from self.differences(one, other, f"{path}[{index}]")


def _manager(entry: dict[str, Any]) -> str:
    return json.dumps([entry.get(key) for key in ("operation", "manager", "subresource", "apiVersion")])


def _identity(item: Any) -> str:
    """What makes an element of a discovery list the same element."""
    if not isinstance(item, dict):
        return json.dumps(item)
    name = item.get("name") or (item.get("metadata") or {}).get("name")
    if "versions" in item:
        return f"group {name}"
    keys = [name, *(item.get(key) for key in ("groupVersion", "version", "resource", "subresource"))]
    return json.dumps(keys if any(keys) else item, sort_keys=True)


def ordered(value: Any) -> Any:
    """What the controllers write in no fixed order, in an order of its own; without what depends on how many writes it took."""
    if isinstance(value, list):
        return [ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: ordered(item) for key, item in value.items()}
    if isinstance(found.get("metadata"), dict) and (
        {"addressType", "subsets"} & found.keys() or found.get("kind") == "Endpoints"
    ):
        metadata = {key: item for key, item in found["metadata"].items() if key not in ("generation", "generateName")}
        notes = {key: item for key, item in metadata.pop("annotations", {}).items() if key != TRIGGER_TIME}
        found["metadata"] = metadata | ({"annotations": notes} if notes else {})
    for key in UNORDERED:
        if isinstance(found.get(key), list) and found[key] and isinstance(found[key][0], dict):
            found[key].sort(key=lambda item: json.dumps(_rank(item), sort_keys=True))
    return found


def _rank(item: dict[str, Any]) -> Any:
    """The place of a slice, a subset, an endpoint, an address, or anything with a name among its like."""
    target = (item.get("targetRef") or {}).get("name")
    if "addressType" in item:
        manager = item["metadata"].get("labels", {}).get("endpointslice.kubernetes.io/managed-by")
        return [item["addressType"], item.get("ports"), [_rank(one) for one in item.get("endpoints") or []], manager]
    if "ip" in item:
        return [item["ip"], target]
    addresses = [item.get("addresses") or [], item.get("notReadyAddresses") or []]
    if any(addresses):
        return [
            item.get("ports"),
            [[_rank(one) if isinstance(one, dict) else one for one in side] for side in addresses],
            target,
        ]
    return item.get("metadata", {}).get("name") or item


def merged(body: Any) -> Any:
    """A list of EndpointSlices by address type and port list: how many endpoints each slice has, and all endpoints together."""
    if not isinstance(body, dict) or "items" not in body:
        return body
    groups: dict[str, dict[str, Any]] = {}
    for item in body["items"]:
        who = {"addressType": item.get("addressType"), "ports": item.get("ports")}
        group = groups.setdefault(json.dumps(who), who | {"sizes": [], "endpoints": []})
        group["sizes"] = sorted([*group["sizes"], len(item.get("endpoints") or [])])
        group["endpoints"] = sorted(
            group["endpoints"] + (item.get("endpoints") or []), key=lambda one: one["addresses"]
        )
    return {"merged": [groups[key] for key in sorted(groups)]}
