"""A region of several zones in one process: "Service is regional. You can associate pods in all availability zones of the same
region to the service.\""""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from e2e.backends import Namespace, answers, eventually, pod, service, spread
from running import Region, ranges, running

ZONE = "topology.kubernetes.io/zone"
APP = {"app": "web"}
NUMBERS = count()


def options(part: int) -> list[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    return ["--network", "loopback", "--region", "eu-1", *ranges(worker, part=part)]


@pytest.fixture(scope="module")
def regional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(tmp_path_factory.mktemp("zones"), *options(50), "--zones", "a,b,c") as found:
        yield found


@pytest.fixture
def home(regional: Region) -> Iterator[Namespace]:
    namespace = Namespace(regional, f"zones-{next(NUMBERS)}")
    regional.kubectl("create", "namespace", namespace.name)
    yield namespace
    regional.kubectl("delete", "namespace", namespace.name, "--wait=false")


def replicated(name: str, replicas: int) -> dict[str, Any]:
    template = pod("web", 9376, APP)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": APP},
            "template": {"metadata": {"labels": APP}, "spec": template["spec"]},
        },
    }


def elsewhere(name: str) -> dict[str, Any]:
    """What runs somewhere and is not ours."""
    metadata = {"name": name, "labels": {"app": name}, "annotations": {"pierhead.dev/address": "127.71.0.9"}}
    spec = {"runtimeClassName": "external", "containers": [{"name": "external", "image": "external"}]}
    return {"metadata": metadata, "spec": spec}


def zones_of(home: Namespace) -> dict[str, str]:
    """The zone of each ready pod behind the Service ``web``, as its slices say it."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{home.name}/endpointslices"
    slices = home.region.call("GET", f"{path}?labelSelector=kubernetes.io/service-name%3Dweb")[1]
    return {
        endpoint["targetRef"]["name"]: endpoint["zone"]
        for found in slices["items"]
        for endpoint in found.get("endpoints") or []
        if endpoint["conditions"]["ready"]
    }


def nodes(region: Region) -> list[dict[str, Any]]:
    return list(region.call("GET", "/api/v1/nodes")[1]["items"])


def reports(region: Region) -> dict[str, list[str]]:
    """Of each proxy, the nodes that it serves."""
    found = region.call("GET", "/apis/pierhead.dev/v1/proxystatuses")[1]["items"]
    return {one["metadata"]["name"]: one.get("status", {}).get("nodes", []) for one in found}


def test_there_is_a_node_in_each_zone(regional: Region) -> None:
    eventually(lambda: len(nodes(regional)) == 3, "three nodes")
    found = {node["metadata"]["name"]: node for node in nodes(regional)}
    assert set(found) == {"node-a", "node-b", "node-c"}
    labels = [node["metadata"]["labels"] for node in found.values()]
    assert [label[ZONE] for label in labels] == ["a", "b", "c"]
    assert {label["topology.kubernetes.io/region"] for label in labels} == {"eu-1"}
    assert len({node["spec"]["podCIDR"] for node in found.values()}) == 3
    assert any(line.split()[0] == "nodes" and line.endswith("eu-1: a, b, c") for line in regional.lines)


def test_one_proxy_reports_for_all_nodes(regional: Region) -> None:
    eventually(lambda: reports(regional) == {"node-a": ["node-a", "node-b", "node-c"]}, "a report")


def test_a_service_spans_the_pods_of_all_zones(home: Namespace) -> None:
    home.apply(replicated("web", 6))
    home.create("services", service("web", [{"port": 8080, "targetPort": 9376}], APP))
    home.wait_endpoints("web", 6)
    zones = eventually(lambda: found if len(found := zones_of(home)) == 6 else None, "a slice with all pods")
    assert Counter(zones.values()) == {"a": 2, "b": 2, "c": 2}
    address = home.cluster_ip("web")
    eventually(lambda: answers(address, 8080), "an answer")
    served = Counter(zones[name] for name in spread(address, 8080, 90).elements())
    assert set(served) == {"a", "b", "c"}


def test_a_pod_chooses_its_zone(home: Namespace) -> None:
    home.apply(pod("here", 9376, APP, nodeSelector={ZONE: "b"}))
    eventually(lambda: home.get("pods/here")["spec"].get("nodeName") == "node-b", "the pod on zone b's node")


def test_a_pod_for_a_zone_that_no_node_has_says_so(home: Namespace) -> None:
    home.apply(pod("nowhere", 9376, APP, nodeSelector={ZONE: "z"}))

    def said() -> str | None:
        conditions = home.get("pods/nowhere")["status"].get("conditions") or []
        return next((found["message"] for found in conditions if found["type"] == "PodScheduled"), None)

    message = eventually(said, "a condition PodScheduled")
    assert message.startswith("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector")
    assert home.get("pods/nowhere")["status"]["phase"] == "Pending"
    events = eventually(lambda: home.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}"), "an event")
    assert "FailedScheduling" in events


def test_what_ran_in_a_zone_that_is_given_up_runs_elsewhere(tmp_path: Path) -> None:
    with running(tmp_path / "d", *options(60), "--zones", "a,b") as region:
        home = Namespace(region, "default")
        home.apply(replicated("web", 2), service("web", [{"port": 8080, "targetPort": 9376}], APP))
        home.create("pods", elsewhere("db"))
        home.wait_endpoints("web", 2)
        eventually(lambda: set(zones_of(home).values()) == {"a", "b"}, "a pod in each zone")
    with running(tmp_path / "d", *options(60), "--zones", "a") as region:
        home = Namespace(region, "default")
        eventually(lambda: len(zones_of(home)) == 2 and set(zones_of(home).values()) == {"a"}, "both pods in zone a")
        assert [node["metadata"]["name"] for node in nodes(region)] == ["node-1"]
        eventually(lambda: reports(region) == {"node-1": ["node-1"]}, "the one proxy's report, and no other")
        eventually(lambda: home.get("pods/db")["status"].get("podIP"), "a look at db")
        moved = home.get("pods/db")
        assert (moved["spec"]["nodeName"], moved["status"]["podIP"]) == ("node-1", "127.71.0.9")
        assert moved["metadata"]["labels"] == {"app": "db"}


def test_nodes_that_get_other_parts_of_the_pod_range_say_so(tmp_path: Path) -> None:
    def lengths(region: Region) -> list[int]:
        return [int(node["spec"]["podCIDR"].partition("/")[2]) for node in nodes(region)]

    with running(tmp_path / "d", *options(30), "--zones", "b,c") as region:
        half, _ = eventually(lambda: found if len(found := lengths(region)) == 2 else None, "two nodes")
        home = Namespace(region, "default")
        home.apply(replicated("web", 2), service("web", [{"port": 8080, "targetPort": 9376}], APP))
        home.wait_endpoints("web", 2)
    with running(tmp_path / "d", *options(30), "--zones", "a,b,c") as region:
        eventually(lambda: lengths(region) == [half + 1] * 3, "three quarters of the range")
        eventually(lambda: reports(region) == {"node-a": ["node-a", "node-b", "node-c"]}, "the one proxy's report")
        parts = [ip_network(node["spec"]["podCIDR"]) for node in nodes(region)]
        home = Namespace(region, "default")

        def where() -> set[bool]:
            return {any(ip_address(ip) in part for part in parts[1:]) for ip, _ in home.endpoints("web")}

        eventually(lambda: len(home.endpoints("web")) == 2 and where() == {True}, "pods at addresses of their nodes")
        address = home.cluster_ip("web")
        eventually(lambda: answers(address, 8080), "an answer")
        assert len(spread(address, 8080, 40)) == 2
