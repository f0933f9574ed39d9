"""Tables of Services, Endpoints and EndpointSlices."""

from __future__ import annotations

from collections.abc import Iterator

from pierhead.api import Tree
from pierhead.api.columns import NONE, UNKNOWN, Printed, age, labels, name_of, some
from pierhead.api.kind import Cell

UNSET = "<unset>"
PENDING = "<pending>"


def _service(obj: Tree, now: float) -> list[Cell]:
    spec = obj.get("spec") or {}
    ports = ",".join(map(_service_port, spec.get("ports") or []))
    address = spec.get("clusterIP") or NONE
    shown = labels(spec.get("selector"))
    return [name_of(obj), spec.get("type") or "", address, _external(obj, spec), ports or NONE, age(obj, now), shown]


def _service_port(port: Tree) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol')}"


def _external(obj: Tree, spec: Tree) -> str:
    """Under which addresses a Service can be reached from outside."""
    addresses = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
            given = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
            return ",".join([*given, *addresses]) or PENDING
        case "ClusterIP" | "NodePort":
            return ",".join(addresses) or NONE
        case _:
            return UNKNOWN


def _endpoints(obj: Tree, now: float) -> list[Cell]:
    subsets = obj.get("subsets") or []
    shown = some((text for subset in subsets for text in _subset(subset)), "") if subsets else NONE
    return [name_of(obj), shown, age(obj, now)]


def _subset(subset: Tree) -> Iterator[str]:
    addresses = [address.get("ip") or "" for address in subset.get("addresses") or []]
    if not subset.get("ports"):
        yield from addresses
    for port in subset.get("ports") or []:
        for address in addresses:
            yield f"[{address}]:{port['port']}" if ":" in address else f"{address}:{port['port']}"


def _endpoint_slice(obj: Tree, now: float) -> list[Cell]:
    ports = some(map(_slice_port, obj.get("ports") or []), UNSET)
    addresses = (address for endpoint in obj.get("endpoints") or [] for address in endpoint.get("addresses") or [])
    return [name_of(obj), obj.get("addressType") or "", ports, some(addresses, UNSET), age(obj, now)]


def _slice_port(port: Tree) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return "*" if port.get("name") is None else str(port["name"])


SERVICE = Printed("Service", _service)
ENDPOINTS = Printed("Endpoints", _endpoints)
ENDPOINT_SLICE = Printed("EndpointSlice", _endpoint_slice)
