"""delete and deletecollection: options, preconditions, finalizers, grace, namespaces."""

from __future__ import annotations

import pytest

from pierhead.api import Tree
from pierhead.api.kinds import CONFIG_MAP, POD
from pierhead.apiserver.deletes import doomed
from pierhead.apiserver.options import DeleteOptions
from scenes import Region, play

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
MERGE = {"content-type": "application/merge-patch+json"}


def test_a_delete_answers_the_object_or_a_status_by_kind() -> None:
    async def scene(region: Region) -> None:
        made = await region.configmap("a")
        got = await region.admin("DELETE", f"{MAPS}/a")
        assert got.json == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
        }  # fmt: skip
        assert (await region.admin("DELETE", f"{MAPS}/a")).status == 404
        await region.admin("POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
        assert (await region.admin("DELETE", f"{SERVICES}/web")).json["kind"] == "Service"

    play(scene)


def test_options_in_protobuf() -> None:
    """``DeleteOptions{preconditions: {uid: "u"}}``, as a Go client writes it."""
    named = b"\x0a\x02v1\x12\x0dDeleteOptions"
    options = b"\x12\x03\x0a\x01u"
    body = b"k8s\0\x0a" + bytes((len(named),)) + named + b"\x12" + bytes((len(options),)) + options

    async def scene(region: Region) -> None:
        await region.configmap("a")
        media = {"content-type": "application/vnd.kubernetes.protobuf"}
        got = await region.admin("DELETE", f"{MAPS}/a", body, media)
        assert (got.status, "UID in the precondition (u)" in got.json["message"]) == (409, True)
        assert (await region.admin("DELETE", f"{MAPS}/a", body[:-1], media)).status == 400
        assert (await region.admin("DELETE", f"{MAPS}/a", body.replace(b"Delete", b"Update"), media)).status == 400

    play(scene)


def test_preconditions() -> None:
    async def scene(region: Region) -> None:
        made = await region.configmap("a")
        other = {"preconditions": {"uid": "00000000-0000-4000-8000-000000000001"}}
        refused = await region.admin("DELETE", f"{MAPS}/a", other)
        assert (refused.status, refused.json["details"]) == (409, {"name": "a", "kind": "ConfigMap"})
        assert (await region.admin("DELETE", f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})).status == 409
        met = {name: made["metadata"][name] for name in ("uid", "resourceVersion")}
        assert (await region.admin("DELETE", f"{MAPS}/a", {"preconditions": met})).status == 200

    play(scene)


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("?propagationPolicy=Foo", None, 422),
        ("?gracePeriodSeconds=x", None, 400),
        ("?dryRun=Yes", None, 422),
        ("", {"propagationPolicy": "Orphan", "orphanDependents": True}, 422),
        ("", {"kind": "Foo"}, 400),
        ("", {"gracePeriodSeconds": "5"}, 400),
        ("", {"gracePeriodSeconds": 2**63}, 400),
        ("", {"preconditions": []}, 400),
        ("", b'{"kind":', 400),
        ("", b"[]", 400),
        ("", b"[" * 100_000, 400),
    ],
)
def test_options_that_may_not_be(query: str, body: object, code: int) -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        assert (await region.admin("DELETE", f"{MAPS}/a{query}", body)).status == code
        assert (await region.admin("GET", f"{MAPS}/a")).status == 200

    play(scene)


def test_a_finalizer_holds_an_object_until_it_is_taken_away() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a", finalizers=["example.com/x"])
        first = (await region.admin("DELETE", f"{MAPS}/a")).json["metadata"]
        assert first["deletionGracePeriodSeconds"] == 0
        again = (await region.admin("DELETE", f"{MAPS}/a")).json["metadata"]
        assert again == first
        last = await region.admin("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, MERGE)
        assert last.json["metadata"]["resourceVersion"] == first["resourceVersion"]
        assert (await region.admin("GET", f"{MAPS}/a")).status == 404

    play(scene)


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_the_garbage_collector_is_asked_by_a_finalizer(policy: str, finalizer: str) -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        got = await region.admin("DELETE", f"{MAPS}/a", {"propagationPolicy": policy})
        assert got.json["metadata"]["finalizers"] == [finalizer]
        background = await region.admin("DELETE", f"{MAPS}/a", {"propagationPolicy": "Background"})
        assert background.json["status"] == "Success"

    play(scene)


def test_a_service_takes_its_endpoints_with_it() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
        endpoints = "/api/v1/namespaces/default/endpoints"
        await region.admin("POST", endpoints, {"metadata": {"name": "web"}})
        await region.admin("POST", endpoints, {"metadata": {"name": "other"}})
        before = region.store.revision
        await region.admin("DELETE", f"{SERVICES}/web")
        assert [entry.key for entry in region.store.range("endpoints/")] == ["endpoints/default/other"]
        assert region.store.revision == before + 3  # the Service, its claim, its Endpoints: one commit

    play(scene)


def test_a_collection_goes_by_selector() -> None:
    async def scene(region: Region) -> None:
        for name in "abc":
            await region.configmap(name, labels={"n": name})
        gone = (await region.admin("DELETE", f"{MAPS}?labelSelector=n%20in%20(a,b)")).json
        assert gone["kind"] == "ConfigMapList"
        assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
        left = (await region.admin("GET", MAPS)).json
        assert [item["metadata"]["name"] for item in left["items"]] == ["c"]
        assert (await region.admin("DELETE", f"{MAPS}?fieldSelector=foo%3D1")).status == 400
        assert (await region.admin("DELETE", MAPS.replace("default", "none"))).json["items"] == []

    play(scene)


# -- pods ---------------------------------------------------------------------------------------------------


def pod(**spec: object) -> Tree:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "host"}], **spec}}


def test_a_pod_without_a_node_goes_at_once() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", PODS, pod())
        got = (await region.admin("DELETE", f"{PODS}/p")).json["metadata"]
        assert got["deletionGracePeriodSeconds"] == 0
        assert (await region.admin("GET", f"{PODS}/p")).status == 404

    play(scene)


def test_a_pod_on_a_node_gets_its_grace_and_then_goes() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", PODS, pod(nodeName="n1", terminationGracePeriodSeconds=7))
        since = region.store.revision
        told = (await region.admin("DELETE", f"{PODS}/p")).json["metadata"]
        assert told["deletionGracePeriodSeconds"] == 7
        async with region.admin.stream(f"{PODS}?watch=1&resourceVersion={since}") as events:
            assert (await anext(events))["type"] == "MODIFIED"
            await region.admin("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
            shortened = await anext(events)
            assert (shortened["type"], shortened["object"]["metadata"]["deletionGracePeriodSeconds"]) == ("MODIFIED", 0)
            assert (await anext(events))["type"] == "DELETED"

    play(scene)


def test_grace_is_shortened_and_never_prolonged() -> None:
    told = doomed(POD, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}, DeleteOptions(grace=10), now=1000.0)
    assert told["metadata"]["deletionTimestamp"] == "1970-01-01T00:16:50Z"
    assert doomed(POD, told, DeleteOptions(grace=20), now=1001.0) == told
    shorter = doomed(POD, told, DeleteOptions(grace=4), now=1001.0)
    assert shorter["metadata"]["deletionTimestamp"] == "1970-01-01T00:16:44Z"
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 4


def test_a_negative_grace_is_one_second_and_only_pods_have_any() -> None:
    told = doomed(POD, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}, DeleteOptions(grace=-1), now=0.0)
    assert told["metadata"]["deletionGracePeriodSeconds"] == 1
    endless = doomed(POD, {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}, DeleteOptions(grace=2**62), now=0.0)
    assert endless["metadata"]["deletionTimestamp"] == "2262-04-11T23:47:16Z"
    plain = doomed(CONFIG_MAP, {"metadata": {"name": "p"}}, DeleteOptions(grace=5), now=0.0)
    assert plain["metadata"]["deletionGracePeriodSeconds"] == 0


# -- namespaces ---------------------------------------------------------------------------------------------


def test_a_namespace_ends_when_it_is_finalized_and_empty() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
        await region.admin("POST", MAPS.replace("default", "x"), {"metadata": {"name": "a"}})
        going = (await region.admin("DELETE", "/api/v1/namespaces/x")).json
        assert (going["status"]["phase"], going["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
        assert (await region.admin("GET", "/api/v1/namespaces/x")).status == 200
        done = {"metadata": {"name": "x"}, "spec": {"finalizers": []}}
        held = await region.admin("PUT", "/api/v1/namespaces/x/finalize", done)
        assert held.status == 409
        await region.admin("DELETE", MAPS.replace("default", "x"))
        assert (await region.admin("PUT", "/api/v1/namespaces/x/finalize", done)).status == 200
        assert (await region.admin("GET", "/api/v1/namespaces/x")).status == 404

    play(scene)


def test_some_namespaces_stay() -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("DELETE", "/api/v1/namespaces/default")
        assert (got.status, got.json["message"]) == (
            403,
            'namespaces "default" is forbidden: this namespace may not be deleted',
        )

    play(scene)
