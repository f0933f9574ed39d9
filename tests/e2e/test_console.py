"""What `up` prints after its greeting: nothing, as long as people do what people do."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from e2e.backends import eventually, service
from running import Region, ranges, running

APPS = range(4)


def replica_set(app: str) -> dict[str, Any]:
    container = {"name": "c", "image": "host", "command": ["sleep", "1000"]}
    template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": app}}, "template": template}
    return {"metadata": {"name": app}, "spec": spec}


def fill(region: Region, namespace: str) -> None:
    """ReplicaSets with pods, and Services before them; nobody waits until they stand."""
    assert region.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})[0] == 201
    for app in (f"app-{number}" for number in APPS):
        found = service(app, [{"port": 80, "targetPort": 8080}], {"app": app})
        assert region.call("POST", f"/apis/apps/v1/namespaces/{namespace}/replicasets", replica_set(app))[0] == 201
        assert region.call("POST", f"/api/v1/namespaces/{namespace}/services", found)[0] == 201


def pods(region: Region, namespace: str) -> list[Any]:
    return list(region.call("GET", f"/api/v1/namespaces/{namespace}/pods")[1]["items"])


def namespaces(region: Region) -> list[str]:
    return [found["metadata"]["name"] for found in region.call("GET", "/api/v1/namespaces")[1]["items"]]


def test_what_is_deleted_while_controllers_work_on_it_is_no_news(tmp_path: Path) -> None:
    """Namespaces full of pods, some of them barely begun; and objects one by one."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    with running(tmp_path / "d", "--network", "loopback", *ranges(worker, part=60)) as region:
        for namespace in ("young", "grown"):
            fill(region, namespace)
        eventually(lambda: len(pods(region, "grown")) == 3 * len(APPS), "all pods")
        for kind in ("services", "replicasets"):
            region.kubectl("-n", "grown", "delete", kind, "app-0", "--wait=false")
        fill(region, "new")
        for namespace in ("young", "grown", "new"):
            assert region.call("DELETE", f"/api/v1/namespaces/{namespace}")[0] == 200
        eventually(lambda: not {"young", "grown", "new"} & set(namespaces(region)), "the end of all three")
        region.process.send_signal(signal.SIGTERM)
        assert region.process.stdout
        assert region.process.stdout.read() == ""
