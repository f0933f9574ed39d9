"""ProxyStatuses: what each proxy has programmed, and what somebody waits for."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import invalid_value
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

ENDPOINT_NOT_ALLOWED = "EndpointNotAllowed"
"""The reason of a refusal that is about an endpoint; all others are about a frontend of the Service itself."""


class ProxyStatusStrategy(Strategy):
    """The controllers write ``spec.want``, the proxy writes the status; neither can write the other's part."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        obj.pop("status", None)

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        kept = "spec" if write.subresource == "status" else "status"
        obj.pop(kept, None)
        if kept in old:
            obj[kept] = old[kept]

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return _vector("spec.want", (obj.get("spec") or {}).get("want") or {})

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "status":
            return _vector("status.programmed", (obj.get("status") or {}).get("programmed") or {})
        return self.validate(obj, write)


def _vector(path: str, vector: Tree) -> list[Cause]:
    """One resourceVersion for each kind."""
    return [
        invalid_value(f"{path}.{kind}", value, "must be a resourceVersion: decimal digits")
        for kind, value in sorted(vector.items())
        if value and not (value.isascii() and value.isdecimal())
    ]
