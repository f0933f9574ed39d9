"""Services and EndpointSlices for tests of forwarding, on addresses of this process, so that tests in other processes do not meet
them on the machine's loopback network."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import Any
from zlib import crc32

import msgspec

from pierhead.api import views
from pierhead.api.network import Network
from pierhead.forwarding.assembly import Assembly
from pierhead.forwarding.build import build
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ForwardingTable, ServiceName

OWN = 1 + os.getpid() % 250
NODE = f"127.67.{OWN}.1"
VIP = f"127.99.{OWN}.1"
OUTSIDE = "192.0.2.9"

NETWORK = Network(
    "loopback",
    (ip_network(f"127.98.{OWN}.0/24"),),
    (ip_network(f"127.66.{OWN}.0/24"),),
    node_address=NODE,
)
HERE = Place(frozenset(("node-a",)), NETWORK, frozenset(("z1",)))


def cluster_ip(number: int = 1) -> str:
    return f"127.98.{OWN}.{number}"


def pod(number: int) -> str:
    return f"127.66.{OWN}.{number}"


def service(name: str = "web", *, ports: list[dict[str, Any]] | None = None, **spec: Any) -> views.Service:
    """A Service in ``default`` with one port, http, 8080 → 9376; ``ingress``: addresses of its load balancer."""
    ingress = [{"ip": address, "ipMode": "VIP"} for address in spec.pop("ingress", ())]
    tree = {
        "metadata": {
            "namespace": "default",
            "name": name,
            "creationTimestamp": spec.pop("created", "2026-01-01T00:00:00Z"),
        }
        | spec.pop("metadata", {}),
        "spec": {"clusterIP": cluster_ip(), "ports": ports or [{"name": "http", "port": 8080}]} | spec,
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    return msgspec.convert(tree, views.Service)


def endpoint(number: int, *, node: str | None = "node-a", ready: bool | None = True, **more: Any) -> dict[str, Any]:
    """Pod ``number``; ``terminating=True`` alone means that it still serves."""
    conditions = {"ready": ready, "serving": more.pop("serving", None), "terminating": more.pop("terminating", None)}
    if conditions["terminating"]:
        conditions |= {"ready": False, "serving": conditions["serving"] is not False}
    found = {"addresses": [pod(number)], "nodeName": node, "conditions": conditions} | more
    return {key: value for key, value in found.items() if value is not None}


def zones(*names: str) -> dict[str, Any]:
    return {"forZones": [{"name": name} for name in names]}


def nodes(*names: str) -> dict[str, Any]:
    return {"forNodes": [{"name": name} for name in names]}


def slice_of(
    name: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None, labels: dict[str, str] | None = None,
    address_type: str = "IPv4",
) -> views.EndpointSlice:  # fmt: skip
    """A slice of a Service's endpoints with the one port http → 9376."""
    tree = {
        "metadata": {
            "namespace": "default",
            "name": f"{name}-{crc32(repr((endpoints, ports)).encode())}",
            "labels": {"kubernetes.io/service-name": name} | (labels or {}),
        },
        "addressType": address_type,
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "protocol": "TCP", "port": 9376}] if ports is None else ports,
    }
    return msgspec.convert(tree, views.EndpointSlice)


def to_tree(service: str, name: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    """A slice as it is sent to an API server."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{key: value for key, value in found.items() if key != "conditions"} for found in endpoints],
        "ports": [{"name": "http", "protocol": "TCP", "port": 9376}],
    }


def table_of(*objects: views.Service | views.EndpointSlice, place: Place = HERE) -> ForwardingTable:
    """The table that these objects make."""
    slices = [found for found in objects if isinstance(found, views.EndpointSlice)]
    assembly = Assembly()
    for found in objects:
        if isinstance(found, views.Service):
            name = ServiceName(found.metadata.namespace, found.metadata.name)
            own = [item for item in slices if item.service == name.name]
            assembly.update({name: build(found, own, place)})
    return assembly.table()
