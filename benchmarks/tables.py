"""Big tables: what the proxy is given, as values and as the API lists it. Services on 10.96.0.0/12, pods on 10.128.0.0/9, one endpoint in
a hundred on this node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pierhead.api.network import Network
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName
from pierhead.wire.nftables import Family

PORT, TARGET = 80, 8080
HERE, ELSEWHERE, LOCAL = "node-1", "node-2", 100
NODE_ADDRESS = "10.0.0.1"
SERVICES, PODS = ip_network("10.96.0.0/12"), ip_network("10.128.0.0/9")
GROUND = Ground(Family.IP, "bench", (NODE_ADDRESS,), (SERVICES,), (PODS,))
NETWORK = Network("namespace", (SERVICES,), (PODS,), node_address=NODE_ADDRESS)
PLACE = Place(frozenset({HERE}), NETWORK)
SINCE = "2026-01-01T00:00:00Z"


def cluster_ip(service: int) -> str:
    return f"10.{96 + (service >> 16)}.{service >> 8 & 255}.{service & 255}"


def pod(number: int) -> str:
    return f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def port_key(service: int) -> PortKey:
    return PortKey(ServiceName("default", f"service-{service}"), "http", "TCP", "IPv4")


def backends(service: int, endpoints: int) -> Backends:
    first = service * endpoints + 1
    found = tuple(
        sorted(Endpoint(pod(number), TARGET, number % LOCAL == 0) for number in range(first, first + endpoints))
    )
    return Backends(found, (), found)


def table(services: int, endpoints: int) -> ForwardingTable:
    rules: dict[Frontend, Rule] = {}
    led: dict[PortKey, Backends] = {}
    for service in range(services):
        key = port_key(service)
        rules[Frontend("TCP", cluster_ip(service), PORT)] = Rule(key, "cluster", "Cluster")
        led[key] = backends(service, endpoints)
    return ForwardingTable(rules, led)


def write_lists(directory: Path, services: int, endpoints: int) -> None:
    """What the API answers to who lists each kind that a proxy reads, in files named after it."""
    lists: dict[str, Iterator[dict[str, Any]]] = {
        "services": map(_service, range(services)),
        "endpointslices": (_slice(service, endpoints) for service in range(services)),
        "nodes": iter(()),
        "proxystatuses": iter(()),
    }
    for name, items in lists.items():
        (directory / name).write_text(json.dumps({"metadata": {"resourceVersion": "1000000"}, "items": [*items]}))


def _metadata(name: str, number: int, **more: object) -> dict[str, Any]:
    uid = f"00000000-0000-4000-8000-{number:012}"
    said = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(number + 1)}
    return {**said, "creationTimestamp": SINCE, **more}


def _service(number: int) -> dict[str, Any]:
    name, address = f"service-{number}", cluster_ip(number)
    return {
        "metadata": _metadata(name, number, labels={"app": name}),
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": name},
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": TARGET}],
        },
        "status": {"loadBalancer": {}},
    }


def _slice(service: int, endpoints: int) -> dict[str, Any]:
    name = f"service-{service}"
    return {
        "metadata": _metadata(f"{name}-abcde", service, labels={"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": TARGET}],
        "endpoints": [
            {
                "addresses": [found.address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": HERE if found.local else ELSEWHERE,
                "targetRef": {"kind": "Pod", "namespace": "default", "name": f"pod-{found.address}", "uid": name},
                "zone": "a",
            }
            for found in backends(service, endpoints).cluster
        ],
    }
