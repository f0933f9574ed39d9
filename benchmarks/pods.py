"""Pods and Services of the benchmarks that send traffic: the backend is ``load serve``, compiled as its client is."""

from __future__ import annotations

from typing import Any

from benchmarks.load import tool
from benchmarks.region import Region

PORT = 9376
NAMESPACE = "/api/v1/namespaces/default"


def pod(name: str) -> dict[str, Any]:
    command = ["sh", "-c", f'exec {tool()} serve "$POD_IP" {PORT}']
    container = {"name": "backend", "image": "host", "command": command, "ports": [{"containerPort": PORT}]}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def front(region: Region, name: str) -> str:
    """A Service in front of the pod of that name; its address."""
    spec = {"selector": {"app": name}, "ports": [{"port": PORT}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    address: str = region.call("POST", f"{NAMESPACE}/services", body)["spec"]["clusterIP"]
    return address


def is_ready(tree: dict[str, Any]) -> bool:
    conditions = tree.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
