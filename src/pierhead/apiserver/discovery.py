"""Discovery: which groups, versions and resources there are. Pure functions from the kinds to what clients ask first.

Two dialects. The old one takes a request for each level: ``/api``, ``/apis``, ``/apis/GROUP``, ``/apis/GROUP/VERSION``. The
aggregated one gives everything in two, and is what current clients ask for by their Accept header.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from pierhead.api import Tree
from pierhead.api.kind import Kind

JSON = "application/json"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

_PARTIAL = ("get", "patch", "update")
_SUBRESOURCES: dict[str, tuple[tuple[str, ...], tuple[str, str, str] | None]] = {
    "binding": (("create",), ("", "v1", "Binding")),
    "eviction": (("create",), ("policy", "v1", "Eviction")),
    "finalize": (("update",), None),
    "log": (("get",), None),
    "scale": (_PARTIAL, ("autoscaling", "v1", "Scale")),
    "status": (_PARTIAL, None),
}
"""Subresource → its verbs, and the group, version and kind it speaks when that is not the kind's own."""


def find(kinds: Sequence[Kind], parts: Sequence[str], accept: str) -> tuple[str, Tree] | None:
    """The content type and the body for a path of discovery, in parts; None when it is none or names what is not there."""
    match list(parts):
        case ["api"] if wants_aggregated(accept):
            return AGGREGATED, aggregated(kinds, core=True)
        case ["apis"] if wants_aggregated(accept):
            return AGGREGATED, aggregated(kinds, core=False)
        case ["api"]:
            return JSON, legacy_versions(kinds)
        case ["apis"]:
            return JSON, group_list(kinds)
        case ["api", version]:
            found = resources(kinds, "", version)
        case ["apis", name]:
            found = group(kinds, name)
        case ["apis", name, version] if name:
            found = resources(kinds, name, version)
        case _:
            found = None
    return None if found is None else (JSON, found)


def wants_aggregated(accept: str) -> bool:
    """Whether the first form that we have, of those a client accepts, is the aggregated one."""
    for offer in accept.split(","):
        media, *settings = (part.strip() for part in offer.split(";"))
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= set(settings):
            return True
        if media in (JSON, "*/*") and not any(setting.startswith("as=") for setting in settings):
            return False
    return False


# -- one request a level --------------------------------------------------------------------------------------


def legacy_versions(kinds: Sequence[Kind]) -> Tree:
    """``/api``: the versions of the group without a name."""
    return {"kind": "APIVersions", "versions": _versions(kinds, ""), "serverAddressByClientCIDRs": []}


def group_list(kinds: Sequence[Kind]) -> Tree:
    """``/apis``: all groups."""
    found = [_described(kinds, name) for name in _groups(kinds)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(kinds: Sequence[Kind], name: str) -> Tree | None:
    """``/apis/GROUP``; None when there is no such group."""
    if name not in _groups(kinds):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1"} | _described(kinds, name)


def resources(kinds: Sequence[Kind], group: str, version: str) -> Tree | None:
    """``/api/v1`` or ``/apis/GROUP/VERSION``; None when there is no such version."""
    members = _members(kinds, group, version)
    if not members:
        return None
    # The group without a name is older than apiVersion in this list, and never got one.
    head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group else {})
    rows = [row for kind in members for row in _rows(kind)]
    return head | {"groupVersion": members[0].api_version, "resources": rows}


def _described(kinds: Sequence[Kind], name: str) -> Tree:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _versions(kinds, name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _rows(kind: Kind) -> list[Tree]:
    own: Tree = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": _verbs(kind),
        **_extras(kind),
        **({} if kind.asked else {"storageVersionHash": storage_hash(kind)}),
    }
    return [own, *(_subresource_row(kind, name) for name in sorted(kind.subresources))]


def _subresource_row(kind: Kind, name: str) -> Tree:
    verbs, speaks = _SUBRESOURCES[name]
    row: Tree = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    if speaks and speaks[:2] != (kind.group, kind.version):
        row |= {"group": speaks[0], "version": speaks[1]}
    return row | {"kind": speaks[2] if speaks else kind.name, "verbs": list(verbs)}


# -- everything at once ---------------------------------------------------------------------------------------


def aggregated(kinds: Sequence[Kind], *, core: bool) -> Tree:
    """``/api`` (``core``) or ``/apis`` as one APIGroupDiscoveryList."""
    items = [_discovered(kinds, name) for name in ([""] if core else _groups(kinds))]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(kinds: Sequence[Kind], name: str) -> Tree:
    versions = [
        {
            "version": version,
            "resources": [_resource(kind) for kind in _members(kinds, name, version)],
            "freshness": "Current",
        }
        for version in _versions(kinds, name)
    ]
    return {"metadata": {"name": name} if name else {}, "versions": versions}


def _resource(kind: Kind) -> Tree:
    found: Tree = {
        "resource": kind.plural,
        "responseKind": _response(kind.name),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
        **_extras(kind),
    }
    if kind.subresources:
        found["subresources"] = [_subresource(kind, name) for name in sorted(kind.subresources)]
    return found


def _subresource(kind: Kind, name: str) -> Tree:
    verbs, speaks = _SUBRESOURCES[name]
    foreign = speaks if speaks and speaks[:2] != (kind.group, kind.version) else ("", "")
    response = _response(speaks[2] if speaks else kind.name, *foreign[:2])
    return {"subresource": name, "responseKind": response, "verbs": list(verbs)}


def _response(kind: str, group: str = "", version: str = "") -> Tree:
    """Empty group and version: those of the resource itself."""
    return {"group": group, "version": version, "kind": kind}


# -- what both say --------------------------------------------------------------------------------------------


def storage_hash(kind: Kind) -> str:
    """Tells clients whether two versions are stored alike. Theirs to compare, not to understand."""
    digest = hashlib.sha256(f"{kind.group}/{kind.version}/{kind.name}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _verbs(kind: Kind) -> list[str]:
    if kind.asked:
        return ["create"]
    return [verb for verb in VERBS if verb != "deletecollection" or kind.delete_collection]


def _extras(kind: Kind) -> dict[str, Any]:
    found = {"shortNames": list(kind.short_names), "categories": list(kind.categories)}
    return {name: values for name, values in found.items() if values}


def _groups(kinds: Sequence[Kind]) -> list[str]:
    return sorted({kind.group for kind in kinds if kind.group})


def _versions(kinds: Sequence[Kind], group: str) -> list[str]:
    """Preferred first: the order in which the kinds have them."""
    return list(dict.fromkeys(kind.version for kind in kinds if kind.group == group))


def _members(kinds: Sequence[Kind], group: str, version: str) -> list[Kind]:
    return sorted(
        (kind for kind in kinds if (kind.group, kind.version) == (group, version)), key=lambda kind: kind.plural
    )
