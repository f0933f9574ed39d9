"""Who may do what: the fixed rights of three identities, and the words of the refusals."""

from __future__ import annotations

import pytest

from asgi import Direct
from pierhead.apiserver.auth import ADMIN, ANONYMOUS, CONTROLLER, authenticate, node_identity
from pierhead.errors import ApiError
from scenes import Region, play

NODE = node_identity("n1")
LEASES = "/apis/coordination.k8s.io/v1/namespaces"
MERGE = {"content-type": "application/merge-patch+json"}


def test_a_bearer_token_says_who_asks() -> None:
    tokens = {"t": ADMIN, "c": CONTROLLER}
    assert authenticate(tokens, {"authorization": "Bearer t"}) is ADMIN
    assert authenticate(tokens, {"authorization": "bearer c"}) is CONTROLLER
    assert authenticate(tokens, {}) is ANONYMOUS


@pytest.mark.parametrize("value", ["Bearer x", "Bearer ", "Basic t", "t"])
def test_any_other_credentials_are_401(value: str) -> None:
    with pytest.raises(ApiError) as refused:
        authenticate({"t": ADMIN}, {"authorization": value})
    assert (refused.value.code, refused.value.message) == (401, "Unauthorized")


def test_only_administrators_impersonate() -> None:
    tokens = {"t": ADMIN, "n": NODE}
    bob = authenticate(tokens, {"authorization": "Bearer t", "impersonate-user": "bob", "impersonate-group": "a,b"})
    assert (bob.user, bob.groups) == ("bob", ("a", "b", "system:authenticated"))
    nobody = authenticate(tokens, {"authorization": "Bearer t", "impersonate-user": "system:anonymous"})
    assert nobody == ANONYMOUS
    with pytest.raises(ApiError, match='cannot impersonate resource "users"'):
        authenticate(tokens, {"authorization": "Bearer n", "impersonate-user": "bob"})
    with pytest.raises(ApiError, match="without impersonating a user name"):
        authenticate(tokens, {"authorization": "Bearer t", "impersonate-group": "system:masters"})


def test_the_words_of_a_refusal() -> None:
    async def scene(region: Region) -> None:
        bob = {"impersonate-user": "bob"}
        services = "/api/v1/namespaces/default/services"
        for method, target, why in (
            ("GET", services, 'services is forbidden: User "bob" cannot list resource "services" in API group "" in the namespace "default"'),
            ("GET", f"{services}/web", 'services "web" is forbidden: User "bob" cannot get resource "services" in API group "" in the namespace "default"'),
            ("GET", f"{services}/web/status", 'services "web" is forbidden: User "bob" cannot get resource "services/status" in API group "" in the namespace "default"'),
            ("GET", "/api/v1/nodes?watch=1", 'nodes is forbidden: User "bob" cannot watch resource "nodes" in API group "" at the cluster scope'),
            ("GET", "/metrics", 'forbidden: User "bob" cannot get path "/metrics"'),
        ):  # fmt: skip
            got = await region.admin(method, target, headers=bob)
            assert (got.status, got.json["reason"], got.json["message"]) == (403, "Forbidden", why)

    play(scene)


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"])
def test_everybody_may_ask_for_health_and_version(path: str) -> None:
    async def scene(region: Region) -> None:
        assert (await region.anonymous("GET", path)).status == 200

    play(scene)


@pytest.mark.parametrize("path", ["/", "/api", "/metrics", "/api/v1/namespaces"])
def test_the_rest_is_not_for_strangers(path: str) -> None:
    async def scene(region: Region) -> None:
        assert (await region.anonymous("GET", path)).status == 403
        assert (await Direct(region.app, "wrong")("GET", path)).status == 401

    play(scene)


def test_a_node_writes_what_is_its_own() -> None:
    async def scene(region: Region) -> None:
        made = await region.node("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
        assert made.status == 201
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        assert (await region.node("PATCH", "/api/v1/nodes/n1/status", ready, MERGE)).status == 200
        lease = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
        assert (await region.node("POST", f"{LEASES}/kube-node-lease/leases", lease)).status == 201
        proxy = {"metadata": {"name": "n1"}}
        assert (await region.node("POST", "/apis/pierhead.dev/v1/proxystatuses", proxy)).status == 201

    play(scene)


def test_a_node_writes_nothing_of_others() -> None:
    async def scene(region: Region) -> None:
        await region.admin("POST", "/api/v1/nodes", {"metadata": {"name": "n2"}})
        lease = {"metadata": {"name": "n1"}, "spec": {}}
        for method, target, body in (
            ("POST", "/api/v1/nodes", {"metadata": {"name": "n3"}}),
            ("PATCH", "/api/v1/nodes/n2/status", {}),
            ("DELETE", "/api/v1/nodes/n2", None),
            ("POST", f"{LEASES}/default/leases", lease),
            ("PATCH", f"{LEASES}/kube-node-lease/leases/n2", {}),
            ("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "x"}}),
            ("PATCH", "/api/v1/namespaces/default/services/x/status", {}),
            ("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "x"}}),
            ("DELETE", "/api/v1/namespaces/default/configmaps", None),
        ):
            got = await region.node(method, target, body, MERGE if method == "PATCH" else None)
            assert got.status == 403, (method, target, got.body)

    play(scene)


def test_the_pods_of_a_node_are_those_bound_to_it() -> None:
    async def scene(region: Region) -> None:
        pods = "/api/v1/namespaces/default/pods"
        for name, node in (("mine", "n1"), ("other", "n2")):
            spec = {"nodeName": node, "containers": [{"name": "c", "image": "host"}]}
            assert (await region.admin("POST", pods, {"metadata": {"name": name}, "spec": spec})).status == 201
        running = {"status": {"phase": "Running"}}
        assert (await region.node("PATCH", f"{pods}/mine/status", running, MERGE)).status == 200
        assert (await region.node("PATCH", f"{pods}/other/status", running, MERGE)).status == 403
        assert (await region.node("PATCH", f"{pods}/mine", {}, MERGE)).status == 403
        assert (await region.node("DELETE", f"{pods}/other?gracePeriodSeconds=0")).status == 403
        assert (await region.node("DELETE", f"{pods}/mine?gracePeriodSeconds=0")).status == 200

    play(scene)


def test_a_node_reads_neither_all_secrets_nor_the_logs_of_others() -> None:
    async def scene(region: Region) -> None:
        secrets = "/api/v1/namespaces/default/secrets"
        await region.admin("POST", secrets, {"metadata": {"name": "s"}})
        assert (await region.node("GET", f"{secrets}/s")).status == 200
        for target in (secrets, "/api/v1/secrets", f"{secrets}?watch=1", "/api/v1/namespaces/default/pods/p/log"):
            assert (await region.node("GET", target)).status == 403

    play(scene)


def test_a_node_reads_objects_and_records_events() -> None:
    async def scene(region: Region) -> None:
        for target in (
            "/api/v1/services",
            "/api/v1/namespaces/default/pods",
            "/apis/discovery.k8s.io/v1/endpointslices",
        ):
            assert (await region.node("GET", target)).status == 200
        event = {
            "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "reason": "Started",
            "type": "Normal",
        }
        assert (await region.node("POST", "/api/v1/namespaces/default/events", event)).status == 201

    play(scene)
