"""Short ways to write the objects that tests are about."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from pierhead.api.views import Node, Object, ObjectMeta, Pod, Service

V = TypeVar("V", bound=Object)


def view(shape: type[V], tree: dict[str, Any]) -> V:
    """A view of a tree as the API server would send it."""
    return msgspec.convert(tree, shape)


def meta(name: str, **fields: Any) -> ObjectMeta:
    return ObjectMeta(name, namespace="default", uid=fields.pop("uid", f"uid-{name}"), **fields)


def pod(
    name: str,
    ip: str = "",
    *,
    ready: bool = True,
    node: str = "n1",
    labels: dict[str, str] | None = None,
    deleted: bool = False,
    phase: str = "Running",
    ports: list[dict[str, Any]] | None = None,
    owner: str = "",
    **spec: Any,
) -> Pod:
    """A pod ``app=web`` on node ``n1``; ``ip``: one address or several with commas."""
    ips = ip.split(",") if ip else []
    metadata: dict[str, Any] = {
        "name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels or {"app": "web"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:09Z"
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": f"uid-{owner}"}
        metadata["ownerReferences"] = [reference | {"controller": True}]
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:05Z"}
    status = {"phase": phase, "podIP": ips[0] if ips else "", "podIPs": [{"ip": one} for one in ips]}
    return view(Pod, {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": ports or []}], **spec},
        "status": status | {"conditions": [condition]},
    })  # fmt: skip


def service(
    name: str = "web", *, labels: dict[str, str] | None = None, annotations: Any = None, **spec: Any
) -> Service:
    """A Service for pods ``app=web`` on port 80, IPv4."""
    metadata = {
        "name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels or {},
        "annotations": annotations or {}, "creationTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    plain: dict[str, Any] = {
        "type": "ClusterIP", "selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"],
        "ports": [{"port": 80, "targetPort": 8080}],
    }  # fmt: skip
    return view(Service, {"metadata": metadata, "spec": plain | spec})


def node(name: str = "n1", zone: str = "za", *, cpu: str = "", ready: bool = True, **spec: Any) -> Node:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    status = {"conditions": [{"type": "Ready", "status": str(ready)}], "allocatable": {"cpu": cpu} if cpu else {}}
    return view(Node, {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status})
