"""Which resource a request means: a pure function from method and path to a ``Route``.

/api/v1/namespaces/NS/services/NAME/status        /apis/GROUP/VERSION/PLURAL …
/api/v1/watch/namespaces/NS/services/NAME         the old form of a watch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pierhead.api.kind import Kind
from pierhead.errors import ApiError


class Route(msgspec.Struct, frozen=True):
    """A request for a resource, as authorization and the verbs see it."""

    kind: Kind
    verb: str
    """``get list watch create update patch delete deletecollection``; a list becomes a watch by its query."""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """``pods/status``: how authorization names it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def prefix(self) -> str:
        """What the store keys of this collection start with."""
        return collection(self.kind, self.namespace)

    @property
    def key(self) -> str:
        return self.prefix + self.name


def collection(kind: Kind, namespace: str = "") -> str:
    """What the store keys of a collection start with: ``services/default/``, or ``services/`` for all namespaces."""
    return f"{kind.resource}/{namespace}/" if kind.namespaced and namespace else f"{kind.resource}/"


def not_served() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def not_allowed() -> ApiError:
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, details={})


_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_KEPT_COLLECTION = {"GET": "list", "POST": "create"}
_QUESTION = {"POST": "create"}
_ACROSS_NAMESPACES = {"GET": "list"}
_WATCH = {"GET": "watch"}
_SUBRESOURCES: Mapping[str, Mapping[str, str]] = {
    "status": {"GET": "get", "PUT": "update", "PATCH": "patch"},
    "scale": {"GET": "get", "PUT": "update", "PATCH": "patch"},
    "finalize": {"PUT": "update"},
    "binding": {"POST": "create"},
    "eviction": {"POST": "create"},
    "log": {"GET": "get"},
}
_CONVERSATION = {"GET": "get", "POST": "create"}
_PROXY = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
UNSERVED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "pods": dict.fromkeys(("attach", "exec", "portforward"), _CONVERSATION) | {"proxy": _PROXY},
    "services": {"proxy": _PROXY},
    "nodes": {"proxy": _PROXY},
}
"""Resource → subresources that kubectl knows and we do not serve yet: who asks for one is told so."""


class Router:
    """The paths of a set of kinds."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._versions: dict[tuple[str, str], dict[str, Kind]] = {}
        for kind in kinds:
            self._versions.setdefault((kind.group, kind.version), {})[kind.plural] = kind
        self.groups = frozenset(group for group, _ in self._versions)

    def serves(self, group: str, version: str) -> bool:
        return (group, version) in self._versions

    def route(self, method: str, path: Sequence[str]) -> Route:
        """``path``: the unescaped parts of a path that begins with ``api`` or ``apis`` and is longer than discovery's.

        Raises:
            ApiError: 404 for a resource nobody serves, 405 for a verb it does not have.
        """
        group, version, parts = ("", path[1], path[2:]) if path[0] == "api" else (path[1], path[2], path[3:])
        plurals = self._versions.get((group, version))
        if plurals is None or not all(parts):
            raise not_served()
        watched = parts[0] == "watch"
        namespace, plural, name, subresource = _split(parts[1:] if watched else parts)
        kind = plurals.get(plural)
        if kind is None or (namespace and not kind.namespaced):
            raise not_served()
        methods = _WATCH if watched else _methods(kind, namespace, name, subresource)
        if method not in methods:
            raise not_allowed()
        return Route(kind, methods[method], namespace, name, subresource)


def _split(parts: Sequence[str]) -> tuple[str, str, str, str]:
    """(namespace, plural, name, subresource). A namespace's own paths begin like those of its content."""
    inside = len(parts) >= 3 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize")
    namespace, rest = (parts[1], parts[2:]) if inside else ("", parts)
    if not rest or (len(rest) > 3 and rest[2] != "proxy"):  # what follows is the path to ask for there
        raise not_served()
    plural, name, subresource = (*rest, "", "")[:3]
    return namespace, plural, name, subresource


def _methods(kind: Kind, namespace: str, name: str, subresource: str) -> Mapping[str, str]:
    unserved = UNSERVED.get(kind.plural, {}).get(subresource)
    if subresource and unserved is None and subresource not in kind.subresources:
        raise not_served()
    if kind.namespaced and not namespace:
        if name:
            raise not_served()
        return _ACROSS_NAMESPACES
    if subresource:
        return unserved or _SUBRESOURCES[subresource]
    if kind.asked:
        if name:
            raise not_served()
        return _QUESTION
    if name:
        return _OBJECT
    return _COLLECTION if kind.delete_collection else _KEPT_COLLECTION
