"""Services and their condition ``Programmed``: the real API server and all controllers, with the proxies played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
from msgspec.structs import replace

import virtual
from inside import STORE, Flaky, controlled, network, server, working
from pierhead.api import Tree
from pierhead.api.kinds import NODE, PROXY_STATUS, SERVICE
from pierhead.api.network import Mode
from pierhead.client.client import Client
from pierhead.controllers.programmed import PATIENCE

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
MOMENT = PATIENCE / 2


class Scene:
    """Short words for what tests do and see."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def node(self, name: str) -> None:
        await self.client.create(NODE, {"metadata": {"name": name}})
        await self.client.patch(NODE, name, READY, subresource="status")

    async def report(self, *nodes: str, services: int = 0, refusals: tuple[Tree, ...] = (), store: str = STORE) -> None:
        """What the proxy of these nodes says, and lets everybody hear it."""
        programmed = {"services": str(services)}
        status = {"store": store, "nodes": nodes, "programmed": programmed, "refusals": refusals}
        if not (await self.client.list(PROXY_STATUS, fields=f"metadata.name={nodes[0]}")).items:
            await self.client.create(PROXY_STATUS, {"metadata": {"name": nodes[0]}})
        await self.client.patch(PROXY_STATUS, nodes[0], {"status": status}, subresource="status")
        await asyncio.sleep(MOMENT / 10)

    async def wanted(self, proxy: str = "a") -> int:
        """What it is asked for, and it takes a moment to ask."""
        await asyncio.sleep(MOMENT / 10)
        found = await self.client.get(PROXY_STATUS, proxy)
        return int(found.get("spec", {}).get("want", {}).get("services", "0"))

    async def web(self, name: str = "web", **spec: Any) -> Tree:
        metadata = {"name": name, "namespace": "default"}
        return await self.client.create(SERVICE, {"metadata": metadata, "spec": {"ports": [{"port": 80}]} | spec})

    async def shown(self, name: str = "web") -> Tree:
        return await self.client.get(SERVICE, name, "default")

    async def condition(self, name: str = "web") -> Tree:
        """Empty: the Service has none."""
        found = (await self.shown(name))["status"].get("conditions", [])
        return next((one for one in found if one["type"] == "Programmed"), {})

    async def says(self, name: str = "web") -> tuple[str, str, int]:
        found = await self.condition(name)
        return found["status"], found["message"], found["observedGeneration"]


def play(scenario: Callable[[Scene], Awaitable[None]], mode: Mode = "loopback") -> None:
    async def run() -> None:
        async with controlled(network(mode)) as (client, _):
            await scenario(Scene(client))

    virtual.run(run())


def revision(obj: Tree) -> int:
    return int(obj["metadata"]["resourceVersion"])


def refusal(message: str, name: str = "web") -> Tree:
    where = {"protocol": "TCP", "address": "10.96.0.7", "port": 80}
    return {"namespace": "default", "name": name, "reason": "AddressInUse", "message": message} | where


def test_the_proxy_is_asked_and_its_report_is_the_condition() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        made = await scene.web()
        assert await scene.wanted() >= revision(made)
        assert await scene.condition() == {}
        await scene.report("a", services=await scene.wanted())
        assert await scene.says() == ("True", "1/1 nodes", 1)
        assert (await scene.condition())["lastTransitionTime"]

    play(scenario)


def test_a_service_costs_one_write() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        made = await scene.web()
        await scene.report("a", services=await scene.wanted())
        once = await scene.shown()
        await asyncio.sleep(PATIENCE * 3)
        await scene.report("a", services=revision(once))
        assert await scene.shown() == once
        assert revision(made) < revision(once)
        assert await scene.wanted() < revision(once)

    play(scenario)


def test_a_load_balancer_costs_one_write_too_and_is_programmed_with_its_address() -> None:
    async def scenario() -> None:
        ground = replace(network("loopback"), floating_ranges=(ip_network("192.0.2.1/32"),))
        async with server(ground) as found:
            transport, scene = Flaky(found.transport), Scene(found.client)
            async with working(Client(transport, "controllers"), ground):
                await scene.node("a")
                await scene.report("a")
                await scene.web(type="LoadBalancer")
                await scene.report("a", services=await scene.wanted())
                await scene.report("a", services=await scene.wanted())
                shown = await scene.shown()
                assert shown["status"]["loadBalancer"]["ingress"]
                assert await scene.says() == ("True", "1/1 nodes", 1)
                written = [request for request in transport.requests if "services/web/status" in request]
                assert len(written) == 2  # the address, and the condition
                await scene.web("again", type="LoadBalancer")
                await scene.report("a", services=await scene.wanted())
                await asyncio.sleep(PATIENCE)
                assert (await scene.condition("again"))["reason"] == "AddressNotAssigned"
                await scene.client.delete(SERVICE, "web", "default")
                await scene.report("a", services=await scene.wanted())
                await scene.report("a", services=await scene.wanted())
                assert (await scene.says("again"))[0] == "True"

    virtual.run(scenario())


def test_it_follows_the_generation_and_another_one_is_another_write() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a", services=0)
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        before = await scene.condition()
        changed = await scene.client.patch(SERVICE, "web", {"spec": {"sessionAffinity": "ClientIP"}}, "default")
        assert changed["metadata"]["generation"] == 2
        assert await scene.wanted() == revision(changed)
        assert (await scene.says())[2] == 1
        await scene.report("a", services=revision(changed))
        assert await scene.condition() == before | {"observedGeneration": 2}

    play(scenario)


def test_a_write_of_something_else_is_none_of_its_business() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        wanted = await scene.wanted()
        labelled = await scene.client.patch(SERVICE, "web", {"metadata": {"labels": {"a": "b"}}}, "default")
        assert await scene.wanted() == wanted
        assert await scene.shown() == labelled

    play(scenario)


def test_others_conditions_are_left_alone_and_ones_own_is_put_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        other = {"type": "example.com/Ready", "status": "True", "reason": "R", "message": ""}
        other["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        await scene.client.patch(SERVICE, "web", {"status": {"conditions": [other]}}, "default", subresource="status")
        await scene.report("a", services=await scene.wanted())
        assert other in (await scene.shown())["status"]["conditions"]
        await scene.client.patch(SERVICE, "web", {"status": {"conditions": [other]}}, "default", subresource="status")
        await asyncio.sleep(MOMENT / 10)
        assert await scene.says() == ("True", "1/1 nodes", 1)
        assert other in (await scene.shown())["status"]["conditions"]

    play(scenario)


def test_every_live_node_counts_and_after_a_while_those_missing_are_named() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("a", "b", "c"):
            await scene.node(name)
        await scene.report("a", "b")
        await scene.report("c")
        await scene.web()
        await scene.report("a", "b", services=await scene.wanted())
        assert await scene.condition() == {}
        await asyncio.sleep(PATIENCE)
        assert await scene.says() == ("False", "2/3 nodes: not yet on c", 1)
        await scene.report("c", services=await scene.wanted("c"))
        assert await scene.says() == ("True", "3/3 nodes", 1)

    play(scenario)


def test_a_node_that_dies_is_no_longer_waited_for_and_one_that_comes_is_none_either() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.node("b")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        await asyncio.sleep(PATIENCE)
        assert (await scene.says())[0] == "False"
        await scene.client.delete(NODE, "b")
        await asyncio.sleep(MOMENT / 10)
        assert await scene.says() == ("True", "1/1 nodes", 1)
        shown = await scene.shown()
        await scene.node("c")
        await scene.report("c")
        await asyncio.sleep(PATIENCE * 2)
        assert await scene.shown() == shown

    play(scenario)


def test_a_refusal_is_said_as_long_as_it_lasts() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted(), refusals=(refusal("taken by nginx"),))
        found = await scene.condition()
        assert (found["status"], found["reason"]) == ("False", "AddressInUse")
        assert found["message"] == "0/1 nodes: taken by nginx"
        wanted = await scene.wanted()
        await scene.report("a", services=wanted, refusals=(refusal("taken by caddy"),))
        assert (await scene.says())[1] == "0/1 nodes: taken by caddy"
        await scene.report("a", services=wanted)
        assert await scene.says() == ("True", "1/1 nodes", 1)
        await scene.report("a", services=wanted, refusals=(refusal("taken again"), refusal("x", name="other")))
        assert await scene.says() == ("False", "0/1 nodes: taken again", 1)

    play(scenario)


def test_what_a_node_refuses_counts_again_when_it_is_back() -> None:
    """Its report is the same as before it went."""

    async def scenario(scene: Scene) -> None:
        for name in ("a", "b"):
            await scene.node(name)
            await scene.report(name)
        await scene.web()
        await scene.report("a", services=await scene.wanted("a"))
        await scene.report("b", services=await scene.wanted("b"), refusals=(refusal("taken by nginx"),))
        assert (await scene.says())[:2] == ("False", "1/2 nodes: taken by nginx")
        for ready, said in (("False", "1/1 nodes"), ("True", "1/2 nodes: taken by nginx")):
            conditions = [{"type": "Ready", "status": ready}]
            await scene.client.patch(NODE, "b", {"status": {"conditions": conditions}}, subresource="status")
            await asyncio.sleep(MOMENT / 10)
            assert (await scene.says())[1] == said

    play(scenario)


def test_of_what_another_proxy_carries_nothing_is_said_until_it_is_ours_again() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        assert (await scene.says())[0] == "True"
        label = "service.kubernetes.io/service-proxy-name"
        await scene.client.patch(SERVICE, "web", {"metadata": {"labels": {label: "cilium"}}}, "default")
        await asyncio.sleep(PATIENCE * 2)
        assert await scene.condition() == {}
        ours = await scene.client.patch(SERVICE, "web", {"metadata": {"labels": {label: None}}}, "default")
        assert await scene.wanted() == revision(ours)
        assert await scene.condition() == {}
        await scene.report("a", services=revision(ours))
        assert (await scene.says())[0] == "True"

    play(scenario)


def test_services_that_were_there_before_the_nodes_are_waited_for() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.web()
        await asyncio.sleep(PATIENCE * 2)
        assert await scene.condition() == {}
        await scene.node("a")
        await scene.report("a")
        await scene.report("a", services=await scene.wanted())
        assert await scene.says() == ("True", "1/1 nodes", 1)

    play(scenario)


def test_what_is_written_at_once_is_few_wishes() -> None:
    async def scenario() -> None:
        ground = network("loopback")
        async with server(ground) as found:
            transport, scene = Flaky(found.transport), Scene(found.client)
            async with working(Client(transport, "controllers"), ground):
                await scene.node("a")
                await scene.report("a")
                transport.requests.clear()
                for number in range(50):
                    made = await scene.web(f"web-{number}")
                assert await scene.wanted() == revision(made)
                assert (
                    sum("proxystatuses/a" in request for request in transport.requests) <= 2
                )  # the first, and all others

    virtual.run(scenario())


def test_a_service_that_is_made_again_under_its_name_is_another_one() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        await scene.client.delete(SERVICE, "web", "default")
        again = await scene.web()
        assert await scene.wanted() == revision(again)
        assert await scene.condition() == {}
        await scene.report("a", services=revision(again))
        assert (await scene.says())[0] == "True"

    play(scenario)


def test_a_report_about_another_store_says_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        made = await scene.web()
        await scene.report("a", services=revision(made) + 100, store="rebuilt since")
        assert await scene.condition() == {}
        assert await scene.wanted() >= revision(made)
        await scene.report("a", services=revision(made))
        assert (await scene.says())[0] == "True"

    play(scenario)


@pytest.mark.parametrize(("left", "message"), [(("a", "b"), "2/2 nodes"), (("a",), "1/1 nodes")])
def test_a_start_counts_anew_and_writes_what_differs(left: tuple[str, ...], message: str) -> None:
    """With the reports of proxies that have ended their ProxyStatuses go."""

    async def scenario() -> None:
        ground = network("loopback")
        async with server(ground) as found:
            scene = Scene(found.client)
            async with working(found.client, ground):
                await scene.node("a")
                await scene.node("b")
                await scene.report("a", "b")
                await scene.web()
                await scene.report("a", "b", services=await scene.wanted())
                before = await scene.shown()
            await found.client.delete(PROXY_STATUS, "a")
            for name in {"a", "b"} - set(left):
                await found.client.delete(NODE, name)
            async with working(found.client, ground):
                await asyncio.sleep(MOMENT)
                assert await scene.shown() == before
                await scene.report(*left, services=revision(before))
                assert await scene.says() == ("True", message, 1)
                assert (await scene.shown() == before) == (len(left) == 2)

    virtual.run(scenario())


def test_a_service_on_its_way_out_is_left_alone() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        await scene.web()
        await scene.report("a", services=await scene.wanted())
        kept = {"metadata": {"finalizers": ["example.com/x"]}}
        await scene.client.patch(SERVICE, "web", kept, "default")
        going = await scene.client.delete(SERVICE, "web", "default")
        await scene.report("a", services=revision(going), refusals=(refusal("taken by nginx"),))
        await asyncio.sleep(PATIENCE * 2)
        assert await scene.says() == ("True", "1/1 nodes", 1)

    play(scenario)


def test_an_api_alone_keeps_neither_condition_nor_generation() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.node("a")
        await scene.report("a")
        made = await scene.web()
        await scene.report("a", services=revision(made))
        await asyncio.sleep(PATIENCE * 2)
        assert "generation" not in made["metadata"]
        assert await scene.shown() == made

    play(scenario, "none")
