"""What a kubelet would write about a pod of which everything runs."""

from __future__ import annotations

import pytest

from pierhead.api import Tree
from pierhead.errors import ApiError
from pierhead.testing import Region, kubelet

NOW = 1767225600.0


def pod(**spec: object) -> Tree:
    containers = [{"name": "web", "image": "nginx"}]
    return {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u1"},
        "spec": {"containers": containers} | spec,
    }


def conditions(status: Tree) -> dict[str, str]:
    return {found["type"]: found["status"] for found in status["conditions"]}


def test_it_runs_is_ready_and_has_an_address() -> None:
    status = kubelet.ready(pod(), "10.244.0.1", NOW)
    assert (status["phase"], status["podIP"], status["podIPs"]) == ("Running", "10.244.0.1", [{"ip": "10.244.0.1"}])
    assert conditions(status) == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    [container] = status["containerStatuses"]
    assert (container["name"], container["image"], container["ready"], container["started"]) == (
        "web",
        "nginx",
        True,
        True,
    )
    assert container["state"] == {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def test_init_containers_have_ended_and_sidecars_run() -> None:
    inits = [{"name": "prepare", "image": "i"}, {"name": "sidecar", "image": "s", "restartPolicy": "Always"}]
    status = kubelet.ready(pod(initContainers=inits), "10.244.0.1", NOW)
    states = {found["name"]: next(iter(found["state"])) for found in status["initContainerStatuses"]}
    assert states == {"prepare": "terminated", "sidecar": "running"}
    assert conditions(status)["Ready"] == "True"


def test_a_readiness_gate_that_nobody_opened_keeps_it_unready() -> None:
    status = kubelet.ready(pod(readinessGates=[{"conditionType": "example.com/lb"}]), "10.244.0.1", NOW)
    assert (conditions(status)["ContainersReady"], conditions(status)["Ready"]) == ("True", "False")


def test_a_pod_keeps_its_address_and_the_times_of_its_conditions() -> None:
    tree = pod()
    tree["status"] = kubelet.ready(tree, "10.244.0.1", NOW)
    assert kubelet.ready(tree, "10.244.0.2", NOW + 60)["podIP"] == "10.244.0.1"
    assert kubelet.ready(tree, "10.244.0.2", NOW + 60)["conditions"] == tree["status"]["conditions"]


def test_each_pod_of_a_region_gets_an_address_of_its_own_and_a_node_that_is_there(pierhead: Region) -> None:
    for name in ("web-0", "web-1"):
        pierhead.apply({"apiVersion": "v1", "kind": "Pod"} | pod() | {"metadata": {"name": name}})
    first, second = pierhead.ready("web-0"), pierhead.ready("web-1")
    assert (first["status"]["podIP"], second["status"]["podIP"]) == ("10.244.0.1", "10.244.0.2")
    [node] = pierhead.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": first["spec"]["nodeName"]}})
    assert conditions(node["status"]) == {"Ready": "True"}
    assert "taints" not in node["spec"]
    assert pierhead.ready("web-0")["status"]["podIP"] == "10.244.0.1"


def test_a_pod_that_is_bound_stays_where_it_is(pierhead: Region) -> None:
    spec = pod(nodeName="far")["spec"]
    pierhead.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}, "spec": spec})
    assert pierhead.ready("web-0")["spec"]["nodeName"] == "far"


def test_a_pod_that_is_not_there_is_404(pierhead: Region) -> None:
    with pytest.raises(ApiError, match='pods "web-0" not found'):
        pierhead.ready("web-0")
