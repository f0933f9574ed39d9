"""The loops at work: the real API server and all controllers in this process, from a write to what follows from it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import virtual
from inside import Flaky, controlled, eventually, network, server, serving, working
from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.kinds import CONFIG_MAP, ENDPOINT_SLICE, ENDPOINTS, EVENT, NAMESPACE, NODE, POD, REPLICA_SET, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import Endpoints, EndpointSlice, Namespace, Node, Object, Pod, ReplicaSet, Service
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers


class Scene:
    """Short words for what tests do and see."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self.client = client
        self.informers = informers
        self.endpoints: Informer[Endpoints] = informers.of(ENDPOINTS)
        self.slices: Informer[EndpointSlice] = informers.of(ENDPOINT_SLICE)
        self.pods: Informer[Pod] = informers.of(POD)

    async def make(self, kind: Kind, name: str, body: Tree | None = None, **metadata: Any) -> Tree:
        meta = {"name": name} | ({"namespace": "default"} if kind.namespaced else {}) | metadata
        return await self.client.create(kind, {"metadata": meta} | (body or {}))

    async def node(self, name: str, **labels: str) -> None:
        await self.make(NODE, name, labels={"topology.kubernetes.io/zone": "za"} | labels)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.client.patch(NODE, name, ready, subresource="status")

    async def pod(self, name: str, ip: str, node: str = "n1") -> None:
        spec = {"containers": [{"name": "c", "image": "host"}], "nodeName": node}
        await self.make(POD, name, {"spec": spec}, labels={"app": "web"})
        await self.ready(name, ip)

    async def ready(self, name: str, ip: str, status: str = "True") -> None:
        found = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": status}],
        }
        await self.client.patch(POD, name, {"status": found}, "default", subresource="status")

    async def service(self, name: str = "web", **spec: Any) -> None:
        await self.make(SERVICE, name, {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]} | spec})

    def ready_addresses(self, name: str = "web") -> tuple[list[str], list[str]]:
        """Those of the Endpoints, and those of the slices."""
        found = self.endpoints.get(name, "default")
        first = [one.ip for subset in found.subsets for one in subset.addresses] if found else []
        second = [
            one.addresses[0] for found in self.slices_of(name) for one in found.endpoints or () if one.conditions.ready
        ]
        return first, sorted(second)

    def slices_of(self, name: str) -> list[EndpointSlice]:
        return [found for found in self.slices.list("default") if found.service == name]

    async def gone(self, kind: Kind, name: str, namespace: str = "default") -> None:
        informer: Informer[Object] = self.informers.of(kind)
        await eventually(lambda: informer.get(name, namespace if kind.namespaced else "") is None)


def play(scenario: Callable[[Scene], Awaitable[None]], ground: Network | None = None) -> None:
    async def run() -> None:
        async with controlled(ground) as (client, informers), asyncio.timeout(20):
            await scenario(Scene(client, informers))

    asyncio.run(run())


def test_a_service_follows_its_pods() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("n1")
        await scene.service()
        for number in (1, 2):
            await scene.pod(f"p{number}", f"10.1.0.{number}")
        both = ["10.1.0.1", "10.1.0.2"]
        await eventually(lambda: scene.ready_addresses() == (both, both))
        await scene.ready("p1", "10.1.0.1", "False")
        await eventually(lambda: scene.ready_addresses() == (both[1:], both[1:]))
        await scene.client.patch(POD, "p2", {"metadata": {"labels": {"app": "other"}}}, "default")
        await eventually(lambda: scene.ready_addresses() == ([], []))

    play(scenario)


def test_a_pod_whose_node_comes_later_joins_then() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await scene.pod("p", "10.1.0.1", node="late")
        await eventually(lambda: scene.ready_addresses() == (["10.1.0.1"], []))
        await scene.node("late")
        await eventually(lambda: scene.ready_addresses() == (["10.1.0.1"], ["10.1.0.1"]))

    play(scenario)


def test_what_users_delete_comes_back_and_goes_with_the_service() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await eventually(lambda: bool(scene.slices_of("web")) and scene.endpoints.get("web", "default") is not None)
        old = scene.slices_of("web")[0].metadata.name
        await scene.client.delete_all(ENDPOINT_SLICE, "default")
        await scene.client.delete(ENDPOINTS, "web", "default")
        await scene.gone(ENDPOINT_SLICE, old)
        await eventually(lambda: bool(scene.slices_of("web")))
        await eventually(lambda: scene.endpoints.get("web", "default") is not None)
        await scene.client.delete(SERVICE, "web", "default")
        await scene.gone(ENDPOINTS, "web")
        await eventually(lambda: not scene.slices_of("web"))

    play(scenario)


def test_hand_made_endpoints_are_mirrored_as_long_as_they_are() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service(selector=None)
        subsets = [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}]
        await scene.make(ENDPOINTS, "web", {"subsets": subsets})
        await eventually(lambda: scene.ready_addresses() == (["192.0.2.7"], ["192.0.2.7"]))
        await scene.client.patch(SERVICE, "web", {"spec": {"selector": {"app": "web"}}}, "default")
        await eventually(lambda: scene.ready_addresses() == ([], []))

    play(scenario)


def test_services_without_selector_cost_nothing_and_get_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        for number in range(20):
            await scene.service(f"s{number}", selector=None)
        await scene.service()
        await eventually(lambda: bool(scene.slices_of("web")))
        assert {found.service for found in scene.slices.list("default")} <= {"web", "kubernetes"}

    play(scenario)


def replica_set(replicas: int) -> Tree:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    return {"spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}}


def test_a_replicaset_keeps_its_number() -> None:
    async def scenario(scene: Scene) -> None:
        sets: Informer[ReplicaSet] = scene.informers.of(REPLICA_SET)
        await scene.make(REPLICA_SET, "r", replica_set(3))
        await eventually(lambda: len(scene.pods.list("default")) == 3)
        first = scene.pods.list("default")[0]
        await scene.client.delete(POD, first.metadata.name, "default")
        await scene.gone(POD, first.metadata.name)
        await eventually(lambda: len(scene.pods.list("default")) == 3)
        await scene.client.patch(REPLICA_SET, "r", {"spec": {"replicas": 1}}, "default")
        await eventually(lambda: len(scene.pods.list("default")) == 1)
        await eventually(lambda: sets.list("default")[0].status.replicas == 1)
        await scene.client.delete(REPLICA_SET, "r", "default", propagation="Background")
        await eventually(lambda: not scene.pods.list("default"))

    play(scenario)


def test_a_replicaset_adopts_what_matches_and_releases_what_does_not() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.pod("stray", "10.1.0.1")
        await scene.make(REPLICA_SET, "r", replica_set(1))

        def owners() -> int:
            pod = scene.pods.get("stray", "default")
            return len(pod.metadata.owner_references) if pod else -1

        await eventually(lambda: owners() == 1)
        assert len(scene.pods.list("default")) == 1
        await scene.client.patch(POD, "stray", {"metadata": {"labels": {"app": "db"}}}, "default")
        await eventually(lambda: owners() == 0)
        await eventually(lambda: len(scene.pods.list("default")) == 2)

    play(scenario)


def test_orphans_stay_foreground_waits_and_the_ownerless_go() -> None:
    async def scenario(scene: Scene) -> None:
        maps: Informer[Object] = scene.informers.of(CONFIG_MAP)
        for name in ("left", "first", "gone"):
            owner = await scene.make(CONFIG_MAP, f"{name}-owner")
            reference = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": f"{name}-owner",
                "uid": owner["metadata"]["uid"],
            }
            await scene.make(CONFIG_MAP, name, ownerReferences=[reference | {"blockOwnerDeletion": True}])
        await scene.client.delete(CONFIG_MAP, "left-owner", "default", propagation="Orphan")
        await scene.client.delete(CONFIG_MAP, "first-owner", "default", propagation="Foreground")
        await scene.client.delete(CONFIG_MAP, "gone-owner", "default", propagation="Background")
        for name in ("left-owner", "first-owner", "gone-owner", "first", "gone"):
            await scene.gone(CONFIG_MAP, name)
        left = maps.get("left", "default")
        assert left is not None
        assert left.metadata.owner_references == ()

    play(scenario)


def test_an_object_born_with_an_owner_that_never_was_is_collected() -> None:
    async def scenario(scene: Scene) -> None:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "none"}
        await scene.make(CONFIG_MAP, "lost", ownerReferences=[reference])
        await scene.gone(CONFIG_MAP, "lost")

    play(scenario)


def test_a_namespace_is_emptied_and_goes_when_nothing_holds_its_content() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.make(NAMESPACE, "x")
        await scene.make(CONFIG_MAP, "plain", namespace="x")
        await scene.make(CONFIG_MAP, "held", namespace="x", finalizers=["example.com/x"])
        await scene.client.delete(NAMESPACE, "x")
        await scene.gone(CONFIG_MAP, "plain", "x")
        spaces: Informer[Namespace] = scene.informers.of(NAMESPACE)
        await eventually(lambda: any(found.status.conditions for found in spaces.list()))
        await scene.client.patch(CONFIG_MAP, "held", {"metadata": {"finalizers": None}}, "x")
        await scene.gone(NAMESPACE, "x")

    play(scenario)


def test_in_a_namespace_that_is_going_nobody_insists(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.make(NAMESPACE, "x")
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        await scene.make(SERVICE, "web", {"spec": spec}, namespace="x", finalizers=["example.com/x"])
        await scene.make(REPLICA_SET, "r", replica_set(5), namespace="x")
        by_hand = {"subsets": [{"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 80}]}]}
        await scene.make(ENDPOINTS, "by-hand", by_hand, namespace="x")
        await eventually(lambda: bool(scene.slices.list("x")) and scene.endpoints.get("web", "x") is not None)
        await eventually(lambda: len(scene.pods.list("x")) == 5)
        await scene.client.delete(NAMESPACE, "x")
        await scene.gone(ENDPOINTS, "web", "x")
        await eventually(lambda: not scene.slices.list("x"))
        spaces: Informer[Namespace] = scene.informers.of(NAMESPACE)
        await eventually(lambda: any(found.status.conditions for found in spaces.list()))
        await scene.client.patch(SERVICE, "web", {"metadata": {"finalizers": None}}, "x")
        await scene.gone(NAMESPACE, "x")

    play(scenario)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_region_starts_with_its_namespaces_and_the_service_of_the_api() -> None:
    async def scenario(scene: Scene) -> None:
        names = {"default", "kube-node-lease", "kube-public", "kube-system"}
        spaces: Informer[Object] = scene.informers.of(NAMESPACE)
        await eventually(lambda: names <= {found.metadata.name for found in spaces.list()})
        await eventually(lambda: scene.ready_addresses("kubernetes") == (["192.0.2.1"], ["192.0.2.1"]))
        service = await scene.client.get(SERVICE, "kubernetes", "default")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        await scene.client.delete(SERVICE, "kubernetes", "default")
        await eventually(lambda: scene.ready_addresses("kubernetes") == (["192.0.2.1"], ["192.0.2.1"]))
        assert [found.metadata.name for found in scene.slices.list("default")] == ["kubernetes"]

    play(scenario)


def test_the_service_of_the_api_leads_to_it_again_when_it_led_elsewhere() -> None:
    async def scenario(scene: Scene) -> None:
        services: Informer[Service] = scene.informers.of(SERVICE)

        def target() -> object:
            found = services.get("kubernetes", "default")
            return found.spec.ports[0].target_port if found else None

        await eventually(lambda: target() == 6443)
        elsewhere = {"spec": {"ports": [{"name": "https", "port": 443, "targetPort": 7443}]}}
        await scene.client.patch(SERVICE, "kubernetes", elsewhere, "default")
        await scene.client.patch(ENDPOINTS, "kubernetes", {"subsets": None}, "default")
        await eventually(lambda: target() == 6443)
        await eventually(lambda: scene.ready_addresses("kubernetes") == (["192.0.2.1"], ["192.0.2.1"]))
        await scene.client.delete(ENDPOINT_SLICE, "kubernetes", "default")
        other = {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:db8::1"]}]}
        await scene.make(ENDPOINT_SLICE, "kubernetes", other, labels={"kubernetes.io/service-name": "kubernetes"})
        await eventually(lambda: scene.ready_addresses("kubernetes") == (["192.0.2.1"], ["192.0.2.1"]))

    play(scenario)


class LateNews(Flaky):
    """What happens to Services is heard of some time after everything else."""

    async def _until_cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if b'"kind":"Service"' in chunk:
                await asyncio.sleep(0.2)
            yield chunk


def test_the_service_of_the_api_does_not_meet_its_own_address(caplog: pytest.LogCaptureFixture) -> None:
    """It moves to another range, as after a start with another --service-cidr; endpoints and slice come before the news of it."""

    async def scenario() -> None:
        async with (
            server(network("none", "10.97.0.0/16")) as found,
            working(found.client, network("none", "10.97.0.0/16")),
        ):
            await asyncio.sleep(1)
        transport = LateNews(found.transport)
        async with serving(found.store) as again:
            transport.transport = again.transport
            async with working(Client(transport, "controllers")):
                await asyncio.sleep(3)
                moved = await again.client.get(SERVICE, "kubernetes", "default")
                assert moved["spec"]["clusterIP"] == "10.96.0.1"
        posts = [request for request in transport.requests if request.startswith("POST") and "/services" in request]
        assert len(posts) == 1

    virtual.run(scenario())
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_waiting_pods_are_bound_when_a_node_is_there() -> None:
    async def scenario(scene: Scene) -> None:
        for number in range(4):
            await scene.make(POD, f"p{number}", {"spec": {"containers": [{"name": "c", "image": "host"}]}})
        await scene.node("n1")
        await eventually(lambda: all(pod.spec.node_name == "n1" for pod in scene.pods.list("default")))
        nodes: Informer[Node] = scene.informers.of(NODE)
        assert len(nodes.list()) == 1

    play(scenario, network("loopback"))


def test_a_pod_that_fits_nowhere_says_why_once_and_is_bound_when_it_fits() -> None:
    homeless = {"spec": {"containers": [{"name": "c", "image": "host"}], "nodeSelector": {"disk": "nvme"}}}
    why = (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available:"
        " 1 Preemption is not helpful for scheduling."
    )

    async def scenario(scene: Scene) -> None:
        def scheduled() -> list[tuple[str, str, str]]:
            pod = scene.pods.get("p", "default")
            found = pod.status.conditions if pod else ()
            return [(one.status, one.reason, one.message) for one in found if one.type == "PodScheduled"]

        async def told() -> Counter[str]:
            events = (await scene.client.list(EVENT, "default")).items
            return Counter({one["message"]: one["count"] for one in events if one["reason"] == "FailedScheduling"})

        await scene.node("n1")
        await scene.make(POD, "p", homeless)
        await eventually(lambda: scheduled() == [("False", "Unschedulable", why)])
        before = await scene.client.get(POD, "p", "default")
        await scene.client.patch(NODE, "n1", {"metadata": {"labels": {"colour": "blue"}}})
        await scene.make(POD, "later", {"spec": homeless["spec"] | {"nodeSelector": {"colour": "blue"}}})
        later = scene.pods.index(lambda pod: [pod.spec.node_name])
        await eventually(lambda: "later" in {pod.metadata.name for pod in later["n1"]})
        assert await scene.client.get(POD, "p", "default") == before
        events: Informer[Object] = scene.informers.of(EVENT)
        await eventually(lambda: any(one.metadata.name.startswith("p.") for one in events.list("default")))
        assert await told() == {why: 1}
        await scene.node("n2", disk="nvme")
        await eventually(lambda: [status for status, _, _ in scheduled()] == ["True"])
        pod = scene.pods.get("p", "default")
        assert pod is not None
        assert pod.spec.node_name == "n2"

    play(scenario, network("loopback"))


def test_without_a_network_nobody_binds() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("n1")
        await scene.make(POD, "p", {"spec": {"containers": [{"name": "c", "image": "host"}]}})
        await scene.service()
        await eventually(lambda: bool(scene.slices_of("web")))
        pod = scene.pods.get("p", "default")
        assert pod is not None
        assert pod.spec.node_name == ""

    play(scenario)
