"""Services and their floating IPs: the real API server and all controllers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from floating import check
from inside import Flaky, Inside, at_work, controlled, eventually, network, server, serving, working
from pierhead.api import Tree
from pierhead.api.kinds import EVENT, FLOATING_IP, FLOATING_IP_POOL, NODE, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import FloatingIP, FloatingIPPool, Object, Service
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.client.transport import Response, Stream, Transport, unavailable
from pierhead.core.defaultpool import Standing
from pierhead.core.loadbalancer import FINALIZER
from pierhead.errors import ApiError

ONE = "192.0.2.1/32"


def ground(*floating: str) -> Network:
    return replace(network(), floating_ranges=tuple(map(ip_network, floating)))


class Scene:
    """Short words for what tests do and see."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self.client = client
        self.services: Informer[Service] = informers.of(SERVICE)
        self.fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        self.pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
        self.events: Informer[Object] = informers.of(EVENT)

    async def service(self, name: str = "web", port: int = 80, **spec: Any) -> None:
        body = {"type": "LoadBalancer", "ports": [{"port": port}]} | spec
        await self.client.create(SERVICE, {"metadata": {"name": name, "namespace": "default"}, "spec": body})

    async def change(self, name: str = "web", **spec: Any) -> None:
        await self.client.patch(SERVICE, name, {"spec": spec}, "default")

    async def fip(self, name: str = "", **spec: Any) -> Tree:
        return await self.client.create(FLOATING_IP, {"metadata": {"name": name} if name else {}, "spec": spec})

    async def pool(self, name: str, *ranges: str, **spec: Any) -> None:
        await self.client.create(
            FLOATING_IP_POOL, {"metadata": {"name": name}, "spec": {"ranges": list(ranges)} | spec}
        )

    def ingress(self, name: str = "web") -> list[str]:
        found = self.services.get(name, "default")
        return [entry.ip for entry in found.status.load_balancer.ingress] if found else []

    def held(self, name: str = "web") -> bool:
        found = self.services.get(name, "default")
        return found is not None and FINALIZER in found.metadata.finalizers

    def users(self, name: str) -> tuple[str, ...]:
        found = self.fips.get(name)
        return found.status.services if found else ()

    def counts(self, name: str = "default") -> tuple[int | None, int | None]:
        found = self.pools.get(name)
        return (found.status.used, found.status.free) if found else (None, None)

    async def is_at(self, *addresses: str, name: str = "web") -> None:
        await eventually(lambda: self.ingress(name) == list(addresses))

    async def said(self, reason: str, about: str = "web") -> str:
        """The text of the first Event of a reason, as soon as there is one."""
        found = await self.told(about, lambda seen: any(one == reason for one, _ in seen))
        return next(text for one, text in found if one == reason)

    async def told(self, about: str, enough: Callable[[list[tuple[str, str]]], bool]) -> list[tuple[str, str]]:
        """Reason and text of the Events about an object, in their order, once they are enough."""
        while True:
            found = sorted((await self.client.list(EVENT, "default")).items, key=lambda each: each["metadata"]["name"])
            seen = [(each["reason"], each["message"]) for each in found if each["involvedObject"]["name"] == about]
            if enough(seen):
                return seen
            await self.events.reached(str(self.events.revision + 1))


def play(scenario: Callable[[Scene], Awaitable[None]], *floating: str) -> None:
    async def run() -> None:
        async with controlled(ground(*floating)) as (client, informers), asyncio.timeout(20):
            informers.of(EVENT)
            scene = Scene(client, informers)
            if floating:
                await eventually(lambda: scene.pools.get("default") is not None)
            await scenario(scene)

    asyncio.run(run())


def test_a_service_that_wishes_for_nothing_is_given_an_address_and_gives_it_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await scene.is_at("192.0.2.1")
        assert scene.held()
        (fip,) = scene.fips.list()
        assert (fip.spec.service, fip.status.address) == ("default/web", "192.0.2.1")
        await eventually(lambda: scene.users(fip.metadata.name) == ("default/web",))
        stored = await scene.client.get(SERVICE, "web", "default")
        assert stored["status"]["loadBalancer"] == {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}
        await scene.client.delete(SERVICE, "web", "default")
        await eventually(lambda: scene.services.get("web", "default") is None)
        assert scene.fips.list() == []
        words = await scene.told("web", lambda seen: len(seen) == 4)
        assert words == [
            ("EnsuringLoadBalancer", "Ensuring load balancer"),
            ("EnsuredLoadBalancer", "Ensured load balancer"),
            ("DeletingLoadBalancer", "Deleting load balancer"),
            ("DeletedLoadBalancer", "Deleted load balancer"),
        ]

    play(scenario, ONE)


def test_a_wish_by_name_or_address_is_granted_and_the_address_outlives_the_service() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.fip("site", address="192.0.2.7")
        await scene.service(loadBalancerIP="site")
        await scene.service("dns", 53, loadBalancerIP="192.0.2.7")
        await scene.is_at("192.0.2.7")
        await scene.is_at("192.0.2.7", name="dns")
        await eventually(lambda: scene.users("site") == ("default/dns", "default/web"))
        with pytest.raises(ApiError, match="it is in use by Services default/dns and default/web"):
            await scene.client.delete(FLOATING_IP, "site")
        for name in ("web", "dns"):
            await scene.client.delete(SERVICE, name, "default")
        await eventually(lambda: scene.users("site") == ())
        await eventually(lambda: scene.services.list("default") == [scene.services.get("kubernetes", "default")])
        await scene.client.delete(FLOATING_IP, "site")

    play(scenario, "192.0.2.0/24")


def test_from_cluster_ip_to_load_balancer_and_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service(type="ClusterIP")
        before = await scene.client.get(SERVICE, "web", "default")
        for _ in range(2):
            await scene.change(type="LoadBalancer")
            await scene.is_at("192.0.2.1")
            await scene.change(type="ClusterIP")
            await eventually(lambda: not scene.held() and scene.fips.list() == [])
            assert scene.ingress() == []
        after = await scene.client.get(SERVICE, "web", "default")
        assert after["spec"] == before["spec"]
        words = await scene.told("web", lambda seen: len(seen) == 4)
        assert [reason.removesuffix("LoadBalancer") for reason, _ in words] == [
            "Ensuring",
            "Ensured",
            "Deleting",
            "Deleted",
        ]

    play(scenario, ONE)


def test_a_changed_wish_moves_the_service_and_says_so() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.fip("site", address="192.0.2.7")
        await scene.service()
        await eventually(lambda: len(scene.ingress()) == 1)
        await scene.change(loadBalancerIP="site")
        await scene.is_at("192.0.2.7")
        await eventually(lambda: [fip.metadata.name for fip in scene.fips.list()] == ["site"])
        assert await scene.said("UpdatedLoadBalancer") == "Updated load balancer with new address 192.0.2.7"
        await scene.change(loadBalancerIP=None)
        await eventually(lambda: len(scene.fips.list()) == 2 and scene.ingress() not in ([], ["192.0.2.7"]))
        await eventually(lambda: scene.users("site") == ())

    play(scenario, "192.0.2.0/28")


def test_of_an_exhausted_pool_one_waits_is_told_and_served_when_another_leaves() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service("first")
        await scene.is_at("192.0.2.1", name="first")
        await scene.service()
        assert (await scene.said("SyncLoadBalancerFailed")).startswith(
            'pool "default" has no free address: release one'
        )
        assert not scene.held()
        await scene.client.delete(SERVICE, "first", "default")
        await scene.is_at("192.0.2.1")

    play(scenario, ONE)


def owners(scene: Scene) -> dict[str, str]:
    return {fip.metadata.name: fip.status.address for fip in scene.fips.list()}


def test_who_waited_longest_is_served_first_and_a_grown_pool_serves_the_rest() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("a", "b", "c"):
            await scene.fip(name)
        assert (await scene.said("NoFreeAddress", "b")).startswith('pool "default" has no free address')
        await scene.client.delete(FLOATING_IP, "a")
        await eventually(lambda: owners(scene) == {"b": "192.0.2.1", "c": ""})
        await scene.fip("d")
        await scene.client.delete(FLOATING_IP, "c")
        await scene.client.delete(FLOATING_IP, "b")
        await eventually(lambda: owners(scene) == {"d": "192.0.2.1"})
        await scene.fip("e")
        await scene.client.patch(FLOATING_IP_POOL, "default", {"spec": {"ranges": ["192.0.2.1-192.0.2.2"]}})
        await eventually(lambda: all(fip.status.address for fip in scene.fips.list()))

    play(scenario, ONE)


def test_a_service_waits_for_the_name_it_wishes_for() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.fip()
        await scene.fip("site")
        await scene.service(loadBalancerIP="site")
        assert (await scene.said("SyncLoadBalancerFailed")).startswith('pool "default" has no free address')
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await scene.is_at("192.0.2.1")

    play(scenario, ONE)


def test_whose_port_is_taken_when_the_address_comes_is_told_and_served_when_it_is_given_back() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.fip()
        await scene.fip("site")
        for name in ("web", "late"):
            await scene.service(name, loadBalancerIP="site")
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await eventually(lambda: scene.ingress() + scene.ingress("late") == ["192.0.2.1"])
        winner, loser = ("web", "late") if scene.ingress() else ("late", "web")
        await scene.told(loser, lambda seen: any(f"in use by Service default/{winner}" in text for _, text in seen))
        assert scene.users("site") in ((), (f"default/{winner}",))
        await scene.client.delete(SERVICE, winner, "default")
        await scene.is_at("192.0.2.1", name=loser)

    play(scenario, ONE)


class Halting(Flaky):
    """The Service ``brief`` cannot be written, so that it is never bound."""

    def _check(self, method: str, target: str) -> None:
        if method != "GET" and "services/brief" in target:
            raise unavailable("halted")


def test_whose_port_was_claimed_by_one_that_goes_before_it_is_bound_is_served() -> None:
    async def run() -> None:
        async with server() as found, asyncio.timeout(20):
            scene = Scene(found.client, Informers(found.client))
            await scene.pool("default", ONE)
            first = await scene.fip()
            await scene.fip("site")
            await scene.service(loadBalancerIP="site")
            await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
            await scene.client.patch(FLOATING_IP, "site", {"status": {"address": "192.0.2.1"}}, subresource="status")
            await scene.service("brief", loadBalancerIP="site")
            halting = Client(Halting(found.transport), "test")
            async with working(halting, ground(ONE)) as informers:
                informers.of(EVENT)
                scene = Scene(found.client, informers)
                assert "in use by Service default/brief" in await scene.said("SyncLoadBalancerFailed")
                await scene.client.delete(SERVICE, "brief", "default")
                await scene.is_at("192.0.2.1")

    asyncio.run(run())


def test_one_that_waits_no_more_but_lingers_lets_others_have_what_is_free() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.fip()
        meta = {"name": "going", "finalizers": ["example.com/hold"]}
        await scene.client.create(FLOATING_IP, {"metadata": meta, "spec": {}})
        await scene.client.delete(FLOATING_IP, "going")
        await scene.fip("site")
        await scene.said("NoFreeAddress", "site")
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await eventually(lambda: owners(scene) == {"going": "", "site": "192.0.2.1"})

    play(scenario, ONE)


def test_a_foreign_class_is_left_alone_without_a_word() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service("other", loadBalancerClass="example.com/lb", loadBalancerIP="whatever")
        await scene.service()
        await scene.is_at("192.0.2.1")
        found = await scene.client.get(SERVICE, "other", "default")
        assert (found["metadata"].get("finalizers"), found["status"]) == (None, {"loadBalancer": {}})
        events = (await scene.client.list(EVENT, "default")).items
        assert not any(each["involvedObject"]["name"] == "other" for each in events)

    play(scenario, ONE)


def test_without_pools_nothing_happens_until_there_is_one() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service(loadBalancerIP="free text")
        await scene.service("plain")
        await scene.client.patch(
            SERVICE, "plain", {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}, "default",
            subresource="status",
        )  # fmt: skip
        await scene.service("open")
        await scene.pool("mine", "192.0.2.0/28")
        await eventually(lambda: len(scene.ingress("open")) == 1)
        told = await scene.told("web", lambda seen: len(seen) == 2)
        assert told[0][1] == 'there is no FloatingIPPool in region "local": create one, or start with --floating-cidr'
        assert 'spec.loadBalancerIP "free text"' in told[1][1]
        assert {reason for reason, _ in told} == {"SyncLoadBalancerFailed"}
        assert not scene.held("plain")
        assert len(scene.fips.list()) == 1

    play(scenario)


def test_what_somebody_takes_out_of_the_status_or_the_finalizers_comes_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await scene.is_at("192.0.2.1")
        await scene.client.patch(SERVICE, "web", {"status": None}, "default", subresource="status")
        await scene.said("UpdatedLoadBalancer")
        await scene.is_at("192.0.2.1")
        await scene.client.patch(SERVICE, "web", {"metadata": {"finalizers": None}}, "default")
        await eventually(scene.held)

    play(scenario, ONE)


# -- pools --------------------------------------------------------------------------------------------------


def test_a_pool_says_how_many_addresses_are_given_out() -> None:
    async def scenario(scene: Scene) -> None:
        assert scene.counts() == (0, 14)
        for _ in range(3):
            await scene.fip()
        await eventually(lambda: scene.counts() == (3, 11))
        await scene.client.delete(FLOATING_IP, scene.fips.list()[0].metadata.name)
        await eventually(lambda: scene.counts() == (2, 12))

    play(scenario, "192.0.2.0/28")


def test_a_pool_without_a_node_in_its_zones_says_so() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.client.create(NODE, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}}})
        await scene.pool("near", "192.0.2.0/28", zones=["a", "b"])
        await scene.pool("far", "192.0.2.16/28", zones=["b", "c"])
        text = "no node is in b or c, where these addresses belong: start one there, or change spec.zones"
        assert await scene.said("NoNodeInZones", "far") == text
        assert not any(each.metadata.name.startswith("near.") for each in scene.events.list("default"))
        await scene.client.delete(NODE, "n1")
        await scene.said("NoNodeInZones", "near")

    play(scenario)


# -- killed and started again -------------------------------------------------------------------------------


class Mortal:
    """A transport that dies after so many writes: from then on nobody answers."""

    def __init__(self, transport: Transport, writes: int) -> None:
        self._transport = transport
        self._left = writes
        self.dead = asyncio.Event()

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        ours = any(kind.plural in target for kind in (SERVICE, FLOATING_IP)) and "events" not in target
        if method != "GET" and ours:
            self._left -= 1
            if self._left < 0:
                self.dead.set()
                await asyncio.get_running_loop().create_future()
        return await self._transport.request(method, target, headers=headers, body=body)

    def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        return self._transport.stream(method, target, headers=headers)

    async def close(self) -> None:
        await self._transport.close()


@pytest.mark.parametrize("writes", range(8))
def test_killed_after_any_write_the_next_life_ends_what_was_begun(writes: int) -> None:
    """``web`` is to be bound, and ``old`` to give up what it has."""

    async def run() -> None:
        async with server() as found, asyncio.timeout(20):
            async with working(found.client, ground("192.0.2.0/30")) as informers:
                scene = Scene(found.client, informers)
                await scene.service("old")
                await eventually(lambda: len(scene.ingress("old")) == 1)
            await scene.service("web")
            await found.client.delete(SERVICE, "old", "default")
            mortal = Mortal(found.transport, writes)
            async with working(Client(mortal, "test"), ground("192.0.2.0/30")) as informers:
                scene = Scene(found.client, informers)
                settled = asyncio.ensure_future(eventually(lambda: at_rest(scene)))
                await asyncio.wait([settled, asyncio.ensure_future(mortal.dead.wait())], return_when="FIRST_COMPLETED")
                settled.cancel()
            async with working(found.client, ground("192.0.2.0/30")) as informers:
                scene = Scene(found.client, informers)
                await eventually(lambda: at_rest(scene))
            check(found.store)

    asyncio.run(run())


def at_rest(scene: Scene) -> bool:
    """``old`` is gone with all that was its own; ``web`` is bound, and its FloatingIP says so."""
    names = [scene.users(fip.metadata.name) for fip in scene.fips.list()]
    return scene.services.get("old", "default") is None and len(scene.ingress()) == 1 and names == [("default/web",)]


# -- the default pool ---------------------------------------------------------------------------------------


@asynccontextmanager
async def life(found: Inside, network: Network) -> AsyncIterator[tuple[Scene, Standing]]:
    """The controllers from one start to its end; and what the start came to."""
    async with at_work(found.client, network) as (controllers, informers):
        yield Scene(found.client, informers), await controllers.floating()


def called(region: str) -> Network:
    return replace(ground("192.0.2.0/30"), region=region)


@pytest.mark.parametrize(
    ("second", "ranges", "said"),
    [
        ("192.0.2.0/30", ("192.0.2.0/30", "198.51.100.7"), ""),
        ("192.0.2.0/29", ("192.0.2.0/29",), ""),
        ("203.0.113.0/30", ("192.0.2.0/30", "198.51.100.7"), "must keep 198.51.100.7, which belongs to FloatingIP"),
    ],
)
def test_the_default_pool_is_its_users_until_a_region_is_started_with_other_ranges(
    second: str, ranges: tuple[str, ...], said: str
) -> None:
    async def run() -> None:
        async with server() as found, asyncio.timeout(20):
            async with life(found, ground("192.0.2.0/30")) as (scene, standing):
                assert standing == Standing(("192.0.2.0/30",))
                wider = {"spec": {"ranges": ["192.0.2.0/30", "198.51.100.7"]}}
                await found.client.patch(FLOATING_IP_POOL, "default", wider)
                if said:
                    await scene.fip(address="198.51.100.7")
            async with life(found, ground(second)) as (scene, standing):
                assert standing.ranges == ranges
                assert said in standing.problem
                if said:
                    assert await scene.said("RangesRefused", "default") == standing.problem
                await eventually(lambda: scene.pools.list()[0].spec.ranges == ranges)

    asyncio.run(run())


def test_ranges_that_somebody_else_has_make_no_pool_and_whoever_waits_is_told() -> None:
    async def run() -> None:
        async with server() as found, asyncio.timeout(20):
            spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}
            await found.client.create(SERVICE, {"metadata": {"name": "old", "namespace": "default"}, "spec": spec})
            async with life(found, ground("192.0.2.0/30")) as (scene, standing):
                assert standing == Standing(
                    problem='--floating-cidr 192.0.2.0/30 cannot be had, and there is no pool "default": Invalid value: "192.0.2.0/30":'
                    " covers 192.0.2.1, which Service default/old has in spec.externalIPs or its status"
                )
                await scene.service()
                assert (await scene.said("SyncLoadBalancerFailed")).startswith("there is no FloatingIPPool in region")

    asyncio.run(run())


def test_the_default_pool_follows_its_region_under_another_name() -> None:
    """With what its users made of it, and at once, so that who waits is served."""

    async def run() -> None:
        async with (
            server(called("north")) as north,
            serving(north.store, called("south")) as south,
            asyncio.timeout(20),
        ):
            async with life(north, called("north")):
                wider = {"spec": {"ranges": ["192.0.2.0/30", "198.51.100.7"]}}
                await north.client.patch(FLOATING_IP_POOL, "default", wider)
            async with life(south, called("south")) as (scene, standing):
                assert standing == Standing(("192.0.2.0/30", "198.51.100.7"))
                await scene.service()
                await eventually(lambda: len(scene.ingress()) == 1)

    asyncio.run(run())


def test_a_default_pool_in_use_stays_and_follows_when_its_addresses_are_given_back() -> None:
    async def run() -> None:
        async with (
            server(called("north")) as north,
            serving(north.store, called("south")) as south,
            asyncio.timeout(20),
        ):
            async with life(north, called("north")) as (scene, _):
                await scene.service("old")
                await eventually(lambda: len(scene.ingress("old")) == 1)
            async with life(south, called("south")) as (scene, standing):
                own = scene.fips.list()[0].metadata.name
                assert standing == Standing(
                    problem=f'pool "default" stays in region "north": FloatingIP {own} has an address of this pool;'
                    " release them (pierhead fip get) and it follows, or start with --region north"
                )
                assert await scene.said("RegionRefused", "default") == standing.problem
                await scene.service()
                await scene.service("old2", 81, loadBalancerIP=None)
                for name in ("web", "old2"):
                    why = await scene.said("SyncLoadBalancerFailed", name)
                    assert why.startswith('there is no FloatingIPPool in region "south", and pool "default" belongs to')
                with pytest.raises(ApiError, match='pool "default" belongs to region "north"'):
                    await scene.fip("more")
                assert scene.ingress("old"), "it stays where it is"
                await scene.client.delete(SERVICE, "old", "default")
                await eventually(lambda: all(scene.ingress(name) for name in ("web", "old2")))
                assert scene.services.get("old", "default") is None

    asyncio.run(run())


def test_a_floating_ip_that_waits_in_another_regions_pool_is_told_so_and_served_when_it_follows() -> None:
    async def run() -> None:
        async with (
            server(called("north")) as north,
            serving(north.store, called("south")) as south,
            asyncio.timeout(20),
        ):
            async with life(north, called("north")) as (scene, _):
                for name in ("a", "b", "c"):
                    await scene.fip(name)
                await scene.said("NoFreeAddress", "c")
            async with life(south, called("south")) as (scene, _):
                await scene.client.delete(FLOATING_IP, "a")
                told = await scene.told("c", lambda seen: any("belongs to region" in text for _, text in seen))
                assert told[-1][1].startswith('pool "default" belongs to region "north": release its addresses')
                await scene.client.delete(FLOATING_IP, "b")
                await eventually(lambda: bool(owners(scene)["c"]))

    asyncio.run(run())
