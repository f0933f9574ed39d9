"""Who asks, and whether they may: bearer token → identity, identity and attributes → yes or no, with the text of a 401 or 403.

Three identities, with fixed rights: administrators and controllers may do anything; a node reads all objects (but a Secret only
by its name) and writes only its own Node, Lease and ProxyStatus, the status of the pods bound to it, and Events. Without a token one is
``system:anonymous`` and sees health and version, as ``system:public-info-viewer`` does in Kubernetes; whoever has any name sees
discovery as well, and may ask about himself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import LEASE, NODE, PROXY_STATUS, REVIEWS
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError, bad_request, forbidden

MASTERS = "system:masters"
NODES = "system:nodes"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
NODE_PREFIX = "system:node:"
PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
DISCOVERY = ("/api", "/apis", "/openapi")
_READS = frozenset(("get", "list", "watch"))


class Identity(msgspec.Struct, frozen=True):
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


class Attributes(msgspec.Struct, frozen=True):
    """What somebody would do to which resource. It need not be one that we serve."""

    verb: str
    resource: str
    """The plural."""
    group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, route: Route) -> Attributes:
        kind = route.kind
        return cls(route.verb, kind.plural, kind.group, route.subresource, route.namespace, route.name)


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


def may_see(identity: Identity, path: str) -> bool:
    """Whether this identity may do anything about a path that is no resource."""
    known = AUTHENTICATED in identity.groups
    open_to_all = path.startswith(PUBLIC) or (known and (path == "/" or path.startswith(DISCOVERY)))
    return identity.anything or open_to_all


def authorize_path(identity: Identity, method: str, path: str) -> None:
    """May this identity see that path?

    Raises:
        ApiError: 403.
    """
    if not may_see(identity, path):
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
    if not may(identity, Attributes.of(route)):
        raise refused(identity, route)


def may(identity: Identity, asked: Attributes) -> bool:
    """Whether this identity may do this at all."""
    if identity.anything:
        return True
    if asked.verb == "create" and (asked.group, asked.resource) in _QUESTIONS and not asked.subresource:
        return AUTHENTICATED in identity.groups
    return bool(identity.node) and _node_may(identity.node, asked)


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
    if (
        route.verb == "create"
        and (route.kind.group, route.kind.plural) in _OWN
        and obj["metadata"].get("name", "") != identity.node
    ):
        raise refused(identity, route)


_OWN = frozenset((kind.group, kind.plural) for kind in (NODE, LEASE, PROXY_STATUS))
"""Resources of which a node has one of its own name."""
_QUESTIONS = frozenset((kind.group, kind.plural) for kind in REVIEWS)


def _node_may(node: str, asked: Attributes) -> bool:
    resource, writes = (asked.group, asked.resource), ("create", "update", "patch", "delete")
    if asked.verb in _READS:
        return asked.subresource in ("", "status", "scale") and (resource != ("", "secrets") or asked.verb == "get")
    if resource in _OWN:
        own = asked.name == node or asked.verb == "create"
        return own and asked.verb in writes and (asked.resource != LEASE.plural or asked.namespace == "kube-node-lease")
    if resource == ("", "pods"):
        return (asked.subresource == "status" and asked.verb in writes) or (
            not asked.subresource and asked.verb == "delete"
        )
    return resource == ("", "events") and not asked.subresource and asked.verb in ("create", "update", "patch")


def refused(identity: Identity, route: Route) -> ApiError:
    """The 403 of somebody who may not do this at all."""
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    who = f'User "{identity.user}" cannot {route.verb} resource'
    why = f'{who} "{route.resource}" in API group "{route.kind.group}" {where}'
    return forbidden(route.name, route.kind.plural, route.kind.group, why)
