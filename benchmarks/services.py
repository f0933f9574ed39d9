"""The Services that benchmarks write and read."""

from __future__ import annotations

from benchmarks.load import Load, api
from benchmarks.region import Region

PATH = "/api/v1/namespaces/default/services"


def service(name: str, selector: dict[str, str] | None = None) -> dict[str, object]:
    spec: dict[str, object] = {"ports": [{"name": "http", "port": 8080, "targetPort": 9376}]}
    if selector:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def create(region: Region, prefix: str, *, requests: int, selector: dict[str, str] | None = None) -> Load:
    """Services ``PREFIX-0`` and so on, from 16 connections."""
    body = service(f"{prefix}-{{n}}", selector)
    return api(region, "POST", PATH, requests=requests, connections=16, body=body)
