"""ConfigMaps, and what their keys have in common with those of Secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pierhead.api import Tree
from pierhead.api.rules import forbidden_field, invalid_value, invalid_values, too_long
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

MOST_BYTES = 2**20
"""All values of a ConfigMap or Secret together, decoded."""

_KEY = "[-._a-zA-Z0-9]+"
_is_key = re.compile(_KEY).fullmatch
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_KEY}')"
)


class ConfigMapStrategy(Strategy):
    """Keys that can be file names, and immutability for those who asked for it."""

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        causes = []
        for key in sorted(data):
            causes += key_causes("data", key)
            if key in binary:
                causes.append(invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
        for key in sorted(binary):
            causes += key_causes("binaryData", key)
        size = sum(len(value.encode(errors="replace")) for value in data.values()) + decoded_size(binary.values())
        return [*causes, too_long("", MOST_BYTES)] if size > MOST_BYTES else causes

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        return [*immutable_causes(obj, old, ("data", "binaryData")), *self.validate(obj, write)]


def config_key(value: str) -> list[str]:
    """A key that can be the name of a file in a volume."""
    texts = ["must be no more than 253 characters"] if len(value) > 253 else []
    if not _is_key(value):
        texts.append(_KEY_TEXT)
    if value in (".", ".."):
        texts.append(f"must not be '{value}'")
    elif value.startswith(".."):
        texts.append("must not start with '..'")
    return texts


def key_causes(path: str, key: str) -> list[Cause]:
    return invalid_values(f"{path}[{key}]", key, config_key(key))


def decoded_size(values: Iterable[str]) -> int:
    """Bytes behind texts in base64."""
    return sum(len(value) * 3 // 4 - value[-2:].count("=") for value in values)


def immutable_causes(obj: Mapping[str, Any], old: Mapping[str, Any], fields: Iterable[str]) -> list[Cause]:
    """What an object that was once marked ``immutable`` may no longer change."""
    if not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    causes = [] if obj.get("immutable") else [forbidden_field("immutable", text)]
    return causes + [forbidden_field(name, text) for name in fields if (obj.get(name) or {}) != (old.get(name) or {})]
