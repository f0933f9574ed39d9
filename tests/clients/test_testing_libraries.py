"""Regions inside a test, through the clients that people have: those that block, those of asyncio, kubectl."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pierhead.testing import Region

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web"}]},
}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """These libraries leave their connections to the collector."""
    yield
    gc.collect()


def kubectl(region: Region, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"KUBECONFIG": str(region.kubeconfig), "HOME": str(region.kubeconfig.parent)}
    return subprocess.run(
        ["kubectl", *arguments], env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_kubectl_finds_the_region_and_meets_its_faults(pierhead: Region) -> None:
    pierhead.apply(MAP)
    assert kubectl(pierhead, "get", "configmap", "-o", "name").stdout == "configmap/m\n"
    fault = pierhead.fault("delete", "configmaps", 403, name="m")
    refused = kubectl(pierhead, "delete", "configmap", "m")
    assert refused.stderr.startswith("Error from server (Forbidden):")
    assert fault.left == 0
    assert kubectl(pierhead, "delete", "configmap", "m").returncode == 0


def test_the_official_library_writes_and_meets_a_conflict(pierhead: Region) -> None:
    from kubernetes.client import ApiException, CoreV1Api

    api = CoreV1Api(pierhead.kubernetes())
    api.create_namespaced_service("default", SERVICE)
    found = api.read_namespaced_service("web", "default")
    pierhead.fault("update", "services", 409)
    with pytest.raises(ApiException, match="Conflict") as refused:
        api.replace_namespaced_service("web", "default", found)
    assert refused.value.status == 409
    assert api.replace_namespaced_service("web", "default", found).spec.cluster_ip.startswith("10.96.")


def test_the_official_library_s_watch_ends_when_it_expires(pierhead: Region) -> None:
    from kubernetes.client import ApiException, CoreV1Api
    from kubernetes.watch import Watch

    api, watch = CoreV1Api(pierhead.kubernetes()), Watch()
    listed = api.list_namespaced_config_map("default")
    events = watch.stream(api.list_namespaced_config_map, "default", resource_version=listed.metadata.resource_version)
    pierhead.apply(MAP)
    assert next(events)["type"] == "ADDED"
    pierhead.expire_watches()
    with pytest.raises(ApiException, match="too old resource version") as ended:
        next(events)
    assert ended.value.status == 410


@pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")
def test_kr8s_blocks_and_waits(pierhead: Region) -> None:
    from kr8s.objects import Pod, Service

    api = pierhead.kr8s()
    Service(SERVICE, api=api).create()
    web = Service.get("web", api=api)
    web.label({"tier": "front"})
    assert Service.get("web", api=api).labels == {"tier": "front"}
    pierhead.apply(POD)
    pierhead.ready("web-0")
    Pod.get("web-0", api=api).wait("condition=Ready", timeout=5)


def test_lightkube_lists_watches_and_is_refused(pierhead: Region) -> None:
    from lightkube import ApiError
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    client = pierhead.lightkube()
    client.create(ConfigMap(metadata=ObjectMeta(name="m", namespace="default"), data={"a": "1"}))
    pierhead.fault("get", "configmaps", 500)
    with pytest.raises(ApiError, match="Internal error"):
        client.get(ConfigMap, "m")
    assert client.get(ConfigMap, "m").data == {"a": "1"}
    pierhead.reset()
    assert list(client.list(ConfigMap)) == []


def test_our_own_client_works_in_the_loop_of_the_test(pierhead: Region) -> None:
    from pierhead.api.kinds import CONFIG_MAP

    async def scene() -> Any:
        client = pierhead.client("mine")
        stored = await client.create(
            CONFIG_MAP, {"metadata": {"name": "m", "namespace": "default"}, "data": {"a": "1"}}
        )
        await client.close()
        return stored["metadata"]["managedFields"][0]["manager"]

    assert asyncio.run(scene()) == "mine"
