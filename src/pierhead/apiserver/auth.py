"""Who asks, and whether they may: bearer token → identity, identity and attributes → yes, or the text of a 401 or 403.

Three identities, with fixed rights: administrators and controllers may do anything; a node reads all objects (but a Secret only
by its name) and writes only its own Node, Lease and ProxyStatus, the status of the pods bound to it, and Events. Without a token one is
``system:anonymous`` and sees health and version, as ``system:public-info-viewer`` does in Kubernetes; whoever has any name sees
discovery as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pierhead.api import Tree
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError, bad_request, forbidden

MASTERS = "system:masters"
NODES = "system:nodes"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
NODE_PREFIX = "system:node:"
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_DISCOVERY = ("/api", "/apis", "/openapi")
_READS = frozenset(("get", "list", "watch"))


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as Kubernetes names one."""

    user: str = "system:anonymous"
    groups: tuple[str, ...] = (UNAUTHENTICATED,)

    @property
    def node(self) -> str:
        """The node's name when this is a node, else empty."""
        return self.user.removeprefix(NODE_PREFIX) if NODES in self.groups and self.user.startswith(NODE_PREFIX) else ""

    @property
    def anything(self) -> bool:
        return MASTERS in self.groups


ANONYMOUS = Identity()
ADMIN = Identity("kubernetes-admin", (MASTERS, AUTHENTICATED))
CONTROLLER = Identity("system:kube-controller-manager", (MASTERS, AUTHENTICATED))


def node_identity(name: str) -> Identity:
    return Identity(NODE_PREFIX + name, (NODES, AUTHENTICATED))


def authenticate(tokens: Mapping[str, Identity], headers: Mapping[str, str]) -> Identity:
    """Raises: ApiError 401 for a token nobody has; 403 or 400 for an impersonation that may not be or makes no sense."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not scheme:
        identity = ANONYMOUS
    elif scheme.lower() == "bearer" and token.strip() in tokens:
        identity = tokens[token.strip()]
    else:
        raise ApiError(401, "Unauthorized", "Unauthorized")
    if any(name.startswith("impersonate-") for name in headers):
        return _impersonated(identity, headers)
    return identity


def _impersonated(identity: Identity, headers: Mapping[str, str]) -> Identity:
    user = headers.get("impersonate-user", "")
    groups = tuple(filter(None, headers.get("impersonate-group", "").split(",")))
    if not user:
        shown = ", ".join(f'"{group}"' for group in groups)
        who = f'&user.DefaultInfo{{Name:"", UID:"", Groups:[]string{{{shown}}}, Extra:map[string][]string(nil)}}'
        raise bad_request(f"requested {who} without impersonating a user name")
    if not identity.anything:
        why = f'User "{identity.user}" cannot impersonate resource "users" in API group "" at the cluster scope'
        raise forbidden(user, "users", "", why)
    return Identity(user, (*groups, UNAUTHENTICATED if user == ANONYMOUS.user else AUTHENTICATED))


def authorize_path(identity: Identity, method: str, path: str) -> None:
    """May this identity see a path that is no resource?

    Raises:
        ApiError: 403.
    """
    known = AUTHENTICATED in identity.groups
    open_to_all = path.startswith(_PUBLIC) or (known and (path == "/" or path.startswith(_DISCOVERY)))
    if not identity.anything and not open_to_all:
        raise ApiError(
            403, "Forbidden", f'forbidden: User "{identity.user}" cannot {_word(method)} path "{path}"', details={}
        )


def _word(method: str) -> str:
    return {"PUT": "put", "POST": "post"}.get(method, method.lower())


def authorize(identity: Identity, route: Route) -> None:
    """May this identity do this at all? What depends on the object itself follows in ``admit``.

    Raises:
        ApiError: 403.
    """
    if identity.anything or (identity.node and _node_may(identity.node, route)):
        return
    raise _refused(identity, route)


def admit(identity: Identity, route: Route, obj: Tree) -> None:
    """The part of a node's fixed rights that shows only in the object: its pods are those bound to it.

    Raises:
        ApiError: 403.
    """
    if identity.anything:
        return
    if route.kind.plural == "pods" and obj.get("spec", {}).get("nodeName", "") != identity.node:
        name = obj["metadata"].get("name", "")
        raise forbidden(name, route.resource, "", f'node "{identity.node}" can only write the status of its own pods')
    if route.verb == "create" and route.kind.plural in _OWN and obj["metadata"].get("name", "") != identity.node:
        raise _refused(identity, route)


_OWN = frozenset(("nodes", "leases", "proxystatuses"))
"""Kinds of which a node has one of its own name."""


def _node_may(node: str, route: Route) -> bool:
    plural, writes = route.kind.plural, ("create", "update", "patch", "delete")
    if route.verb in _READS:
        return route.subresource != "log" and (plural != "secrets" or route.verb == "get")
    if plural in _OWN:
        own = route.name == node or route.verb == "create"
        return own and route.verb in writes and (plural != "leases" or route.namespace == "kube-node-lease")
    if plural == "pods":
        return (route.subresource == "status" and route.verb in writes) or (
            not route.subresource and route.verb == "delete"
        )
    return plural == "events" and not route.subresource and route.verb in ("create", "update", "patch")


def _refused(identity: Identity, route: Route) -> ApiError:
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    who = f'User "{identity.user}" cannot {route.verb} resource'
    why = f'{who} "{route.resource}" in API group "{route.kind.group}" {where}'
    return forbidden(route.name, route.kind.plural, route.kind.group, why)
