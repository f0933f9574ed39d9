"""pods/binding, pods/eviction, pods/log, replicasets/scale; and those that are not served yet."""

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


def test_a_binding_may_say_which_pod_it_means() -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        found = (await region.admin("GET", f"{PODS}/p")).json["metadata"]
        for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
            body = {"metadata": {"name": "p"} | wrong, "target": {"name": "n1"}}
            got = await region.admin("POST", f"{PODS}/p/binding", body)
            assert (got.status, got.json["reason"]) == (409, "Conflict")
        same = {"name": "p", "uid": found["uid"], "resourceVersion": found["resourceVersion"]}
        body = {"metadata": same, "target": {"name": "n1"}}
        assert (await region.admin("POST", f"{PODS}/p/binding", body)).status == 201

    play(scene)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"metadata": {"name": "p"}}, 500, "target.name: Required value"),
        ({"metadata": {"name": "p"}, "target": {"kind": "Foo", "name": "x"}}, 500, 'target.kind: Unsupported value: "Foo": supported values: "Node", "<empty>"'),
        ({"metadata": {"name": "q"}, "target": {"name": "x"}}, 400, "name in URL does not match name in Binding object"),
        ({"metadata": {"name": "p"}, "target": {"name": ["x"]}}, 400, 'Binding in version "v1" cannot be handled as a Binding: json: cannot unmarshal array into Go struct field ObjectReference.target.name of type string'),
        ({"metadata": {"name": "p", "annotations": "x"}, "target": {"name": "x"}}, 400, 'Binding in version "v1" cannot be handled as a Binding: json: cannot unmarshal string into Go struct field ObjectMeta.metadata.annotations of type map[string]string'),
    ],
)  # fmt: skip
def test_bindings_that_cannot_be(body: Tree, code: int, message: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        got = await region.admin("POST", f"{PODS}/p/binding", body)
        assert (got.status, got.json["message"]) == (code, message)
        assert "nodeName" not in (await region.admin("GET", f"{PODS}/p")).json["spec"]

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
        (
            "?container=c&sinceTime=now",
            'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"',
        ),
        ("?container=waiting", 'container "waiting" in pod "p" is waiting to start: ContainerCreating'),
    ],
)
def test_logs_that_cannot_be_had(query: str, message: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region, "c", "waiting", nodeName="n1")
        got = await region.admin("GET", f"{PODS}/p/log{query}")
        assert (got.status, got.json["message"]) == (400, message)

    play(scene)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
    ],
)
def test_numbers_that_no_log_has(query: str, why: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        got = await region.admin("GET", f"{PODS}/p/log?{query}")
        assert (got.status, got.json["message"]) == (422, f'PodLogOptions "p" is invalid: {why}')

    play(scene)


@pytest.mark.parametrize("said", [0, 1])
def test_a_log_is_closed_when_its_reader_has_gone(said: int) -> None:
    """Also one that has said nothing yet, and so has not been answered."""

    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        async with region.admin.stream(f"{PODS}/p/log?follow=true&tailLines={said}"):
            await region.logs.followed.wait()
            assert not region.logs.closed.is_set()
        assert region.logs.closed.is_set()

    play(scene)


async def replica_set(region: Region) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    assert (await region.admin("POST", SETS, {"metadata": {"name": "r"}, "spec": spec})).status == 201


@pytest.mark.parametrize(
    "scale",
    [
        {"metadata": "r"},
        {"metadata": {"name": "r"}, "spec": "one"},
        {"metadata": {"name": "r"}, "spec": {"replicas": 2**31}},
        {"kind": "Service", "metadata": {"name": "r"}},
    ],
)
def test_what_is_no_scale_changes_nothing(scale: Tree) -> None:
    async def scene(region: Region) -> None:
        await replica_set(region)
        before = region.store.revision
        assert (await region.admin("PUT", f"{SETS}/r/scale", scale)).status == 400
        assert (await region.admin("PATCH", f"{SETS}/r/scale", scale | {"spec": []}, MERGE)).status == 422
        assert region.store.revision == before

    play(scene)


def test_strict_minds_unknown_fields_of_a_scale() -> None:
    async def scene(region: Region) -> None:
        await replica_set(region)
        odd = {"metadata": {"name": "r"}, "spec": {"replica": 1}}
        got = await region.admin("PUT", f"{SETS}/r/scale?fieldValidation=Strict", odd)
        assert (got.status, 'unknown field "spec.replica"' in got.json["message"]) == (400, True)
        got = await region.admin("PUT", f"{SETS}/r/scale", odd)
        assert (got.status, got.header("warning")) == (200, ['299 - "unknown field \\"spec.replica\\""'])

    play(scene)


def test_a_namespace_is_finalized_under_its_own_name() -> None:
    async def scene(region: Region) -> None:
        body = {"metadata": {"name": "other"}, "spec": {}}
        got = await region.admin("PUT", "/api/v1/namespaces/default/finalize", body)
        assert got.status == 400

    play(scene)


def test_scale() -> None:
    async def scene(region: Region) -> None:
        await replica_set(region)
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


# -- pods/eviction ------------------------------------------------------------------------------------------


def eviction(name: str = "p", **options: object) -> Tree:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}


def test_an_eviction_is_a_delete_that_says_why() -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        done = await region.admin("POST", f"{PODS}/p/eviction", eviction(gracePeriodSeconds=7))
        assert (done.status, done.json["status"], done.json["code"]) == (201, "Success", 201)
        found = (await region.admin("GET", f"{PODS}/p")).json
        assert found["metadata"]["deletionGracePeriodSeconds"] == 7
        (condition,) = found["status"]["conditions"]
        assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")

    play(scene)


def test_an_evicted_pod_without_a_node_is_gone() -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        assert (await region.admin("POST", f"{PODS}/p/eviction", eviction())).status == 201
        assert (await region.admin("GET", f"{PODS}/p")).status == 404

    play(scene)


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("p", eviction("q"), 400),
        ("none", eviction("none"), 404),
        ("p", eviction(preconditions={"uid": "another"}), 409),
        ("p", eviction(preconditions={"resourceVersion": "1"}), 409),
        ("p", eviction(propagationPolicy="Sideways"), 422),
        ("p", eviction(gracePeriodSeconds="x"), 400),
    ],
)
def test_an_eviction_that_may_not_be(name: str, body: Tree, code: int) -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        before = region.store.revision
        assert (await region.admin("POST", f"{PODS}/{name}/eviction", body)).status == code
        assert region.store.revision == before

    play(scene)


@pytest.mark.parametrize(("query", "options"), [("?dryRun=All", {}), ("", {"dryRun": ["All"]})])
def test_an_eviction_may_be_tried(query: str, options: Tree) -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        before = region.store.revision
        assert (await region.admin("POST", f"{PODS}/p/eviction{query}", eviction(**options))).status == 201
        assert region.store.revision == before

    play(scene)


def test_a_node_evicts_nobody() -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        assert (await region.node("POST", f"{PODS}/p/eviction", eviction())).status == 403

    play(scene)


# -- not served yet -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attach", "exec", "portforward", "proxy"])
def test_a_subresource_that_is_not_served_yet_says_so(name: str) -> None:
    async def scene(region: Region) -> None:
        await pod(region, nodeName="n1")
        for method in ("GET", "POST"):
            got = await region.admin(method, f"{PODS}/p/{name}")
            assert got.status == 501
            assert " yet" in got.json["message"]
        assert (await region.admin("GET", f"{PODS}/none/{name}")).status == 404

    play(scene)


def test_what_needs_a_node_says_that_there_is_none() -> None:
    async def scene(region: Region) -> None:
        await pod(region)
        got = await region.admin("GET", f"{PODS}/p/exec?command=ls")
        assert (got.status, got.json["message"]) == (400, "pod p does not have a host assigned")

    play(scene)


def test_requests_are_forwarded_to_nobody() -> None:
    async def scene(region: Region) -> None:
        made = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
        services = "/api/v1/namespaces/default/services"
        assert (await region.admin("POST", services, made)).status == 201
        for path in (f"{services}/web/proxy", f"{services}/web/proxy/a/b?c=d"):
            assert (await region.admin("GET", path)).status == 501

    play(scene)
