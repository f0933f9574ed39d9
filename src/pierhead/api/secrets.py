"""Secrets: ConfigMaps with a type that says which keys must be there, and contents that no message shows."""

from __future__ import annotations

from base64 import b64decode, b64encode

from pierhead.api import Tree
from pierhead.api.codec.text import NoJson, parse
from pierhead.api.configmaps import MOST_BYTES, decoded_size, immutable_causes, key_causes
from pierhead.api.rules import IMMUTABLE, invalid_value, required, too_long
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

OPAQUE = "Opaque"
_REDACTED = "<secret contents redacted>"
_ACCOUNT = "kubernetes.io/service-account.name"
_DOCKER = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}
_NEEDED = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class SecretStrategy(Strategy):
    """``stringData`` is a way to write ``data``; it is never stored."""

    def default(self, obj: Tree) -> None:
        plain = obj.pop("stringData", None) or {}
        if plain:
            written = {key: b64encode(value.encode(errors="replace")).decode() for key, value in plain.items()}
            obj["data"] = (obj.get("data") or {}) | written
        obj["type"] = obj.get("type") or OPAQUE

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        data = obj.get("data") or {}
        causes = [cause for key in sorted(data) for cause in key_causes("data", key)]
        if decoded_size(data.values()) > MOST_BYTES:
            causes.append(too_long("data", MOST_BYTES))
        return causes + _type_causes(obj, data)

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        causes = [] if obj["type"] == old["type"] else [invalid_value("type", obj["type"], IMMUTABLE)]
        return [*causes, *immutable_causes(obj, old, ("data",)), *self.validate(obj, write)]

    def selectable(self, obj: Tree) -> dict[str, str]:
        return {"type": obj.get("type") or ""}


def _type_causes(obj: Tree, data: dict[str, str]) -> list[Cause]:
    kind = obj["type"]
    if kind == "kubernetes.io/service-account-token":
        named = (obj["metadata"].get("annotations") or {}).get(_ACCOUNT)
        return [] if named else [required(f"metadata.annotations[{_ACCOUNT}]")]
    if kind == "kubernetes.io/basic-auth":
        names = ("username", "password")
        return [] if any(name in data for name in names) else [required(f"data[{name}]") for name in names]
    if kind in _DOCKER:
        return _docker_causes(_DOCKER[kind], data)
    return [required(f"data[{name}]") for name in _NEEDED.get(kind, ()) if name not in data]


def _docker_causes(key: str, data: dict[str, str]) -> list[Cause]:
    """The credentials of a registry are JSON."""
    if key not in data:
        return [required(f"data[{key}]")]
    try:
        parse(b64decode(data[key]))
    except NoJson as error:
        return [invalid_value(f"data[{key}]", _REDACTED, str(error))]
    return []
