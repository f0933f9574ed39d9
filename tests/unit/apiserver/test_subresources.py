"""pods/binding, pods/log, replicasets/scale."""

from __future__ import annotations

import pytest

from pierhead.api import Tree
from scenes import Region, play

PODS = "/api/v1/namespaces/default/pods"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
MERGE = {"content-type": "application/merge-patch+json"}


async def pod(region: Region, *containers: str, **spec: object) -> None:
    made = {"containers": [{"name": name, "image": "host"} for name in containers or ("c",)], **spec}
    assert (await region.admin("POST", PODS, {"metadata": {"name": "p"}, "spec": made})).status == 201


def test_a_binding_gives_a_pod_its_node() -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        done = await region.admin(
            "POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
        )
        assert (done.status, done.json["status"]) == (201, "Success")
        found = (await region.admin("GET", f"{PODS}/p")).json
        assert found["spec"]["nodeName"] == "n1"
        (condition,) = found["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
        second = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}}
        assert (await region.admin("POST", f"{PODS}/p/binding", second)).status == 409

    play(scene)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"metadata": {"name": "p"}}, 500, "target.name: Required value"),
        ({"metadata": {"name": "p"}, "target": {"kind": "Foo", "name": "x"}}, 500, 'target.kind: Unsupported value: "Foo": supported values: "Node", "<empty>"'),
        ({"metadata": {"name": "q"}, "target": {"name": "x"}}, 400, "name in URL does not match name in Binding object"),
    ],
)  # fmt: skip
def test_bindings_that_cannot_be(body: Tree, code: int, message: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        got = await region.admin("POST", f"{PODS}/p/binding", body)
        assert (got.status, got.json["message"]) == (code, message)

    play(scene)


def test_a_log_comes_from_the_node() -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        got = await region.admin("GET", f"{PODS}/p/log?tailLines=5")
        assert (got.status, got.body) == (200, b"n1 c\nsecond\n")
        assert got.header("content-type") == ["text/plain"]

    play(scene)


def test_a_pod_without_a_node_has_said_nothing() -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        got = await region.admin("GET", f"{PODS}/p/log")
        assert (got.status, got.body) == (204, b"")

    play(scene)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "a container name must be specified for pod p, choose one of: [c waiting]"),
        ("?container=none", "container none is not valid for pod p"),
        ("?container=c&tailLines=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("?container=waiting", 'container "waiting" in pod "p" is waiting to start: ContainerCreating'),
    ],
)
def test_logs_that_cannot_be_had(query: str, message: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region, "c", "waiting", nodeName="n1")
        got = await region.admin("GET", f"{PODS}/p/log{query}")
        assert (got.status, got.json["message"]) == (400, message)

    play(scene)


def test_scale() -> None:
    async def scene(region: Region) -> None:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
        spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        assert (await region.admin("POST", SETS, {"metadata": {"name": "r"}, "spec": spec})).status == 201
        got = (await region.admin("GET", f"{SETS}/r/scale")).json
        assert (got["kind"], got["spec"], got["status"]) == ("Scale", {}, {"replicas": 0, "selector": "a=b"})
        got = (await region.admin("PATCH", f"{SETS}/r/scale", {"spec": {"replicas": 2}}, MERGE)).json
        assert got["spec"] == {"replicas": 2}
        assert (await region.admin("GET", f"{SETS}/r")).json["spec"]["replicas"] == 2
        bad = await region.admin("PATCH", f"{SETS}/r/scale", {"spec": {"replicas": -1}}, MERGE)
        assert bad.json["message"] == (
            'Scale.autoscaling "r" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
        )
        stale = {"metadata": {"name": "r", "resourceVersion": "1"}, "spec": {"replicas": 1}}
        assert (await region.admin("PUT", f"{SETS}/r/scale", stale)).status == 409
        assert (await region.admin("PUT", f"{SETS}/r/scale", {"metadata": {"name": "r"}, "spec": {}})).status == 200

    play(scene)
