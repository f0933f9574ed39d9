"""Pools of floating IPs: what they say of themselves, and what becomes of the default one from start to start."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from balancing import Scene, anew, called, ground, life, play, renamed
from inside import Inside, eventually
from pierhead.api.kinds import EVENT, FLOATING_IP, FLOATING_IP_POOL, NODE, SERVICE
from pierhead.core.defaultpool import Standing
from pierhead.errors import ApiError


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


def test_a_pool_of_public_addresses_says_whom_the_machine_reaches_there_no_longer() -> None:
    linked = replace(ground("192.0.2.0/30"), machine_address="10.97.0.1")

    async def scenario(found: Inside) -> None:
        async with life(found, linked) as (scene, _):
            await scene.pool("far", "192.0.2.16/28", "8.8.8.8", "9.9.9.0/30")
            text = "this machine reaches the region at 8.8.8.8, 9.9.9.0/30 now, and no longer whoever else has these public addresses"
            assert await scene.said("PublicAddresses", "far") == text
            for _ in range(2):
                await scene.fip(pool="far")
            await eventually(lambda: [pool.status.used for pool in scene.pools.list()].count(2) == 1)
            about = [(each["involvedObject"]["name"], each["count"]) for each in (await found.client.list(EVENT)).items]
            assert about == [("far", 1)]

    anew(scenario)


def test_where_no_route_leads_to_them_there_is_nothing_to_say() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.pool("far", "8.8.8.8", zones=["b"])
        await scene.said("NoNodeInZones", "far")
        assert {each["reason"] for each in (await scene.client.list(EVENT)).items} == {"NoNodeInZones"}

    play(scenario)


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
    async def scenario(found: Inside) -> None:
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

    anew(scenario)


def test_ranges_that_somebody_else_has_make_no_pool_and_whoever_waits_is_told() -> None:
    async def scenario(found: Inside) -> None:
        spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}
        await found.client.create(SERVICE, {"metadata": {"name": "old", "namespace": "default"}, "spec": spec})
        async with life(found, ground("192.0.2.0/30")) as (scene, standing):
            assert standing == Standing(
                problem='--floating-cidr 192.0.2.0/30 cannot be had, and there is no pool "default": Invalid value: "192.0.2.0/30":'
                " covers 192.0.2.1, which Service default/old has in spec.externalIPs or its status"
            )
            await scene.service()
            assert (await scene.said("SyncLoadBalancerFailed")).startswith("there is no FloatingIPPool in region")

    anew(scenario)


def test_the_default_pool_follows_its_region_under_another_name() -> None:
    """With what its users made of it, and at once, so that who waits is served."""

    async def scenario(north: Inside, south: Inside) -> None:
        async with life(north, called("north")):
            wider = {"spec": {"ranges": ["192.0.2.0/30", "198.51.100.7"]}}
            await north.client.patch(FLOATING_IP_POOL, "default", wider)
        async with life(south, called("south")) as (scene, standing):
            assert standing == Standing(("192.0.2.0/30", "198.51.100.7"))
            await scene.service()
            await eventually(lambda: len(scene.ingress()) == 1)

    renamed(scenario)


def test_a_default_pool_in_use_stays_and_follows_when_its_addresses_are_given_back() -> None:
    async def scenario(north: Inside, south: Inside) -> None:
        async with life(north, called("north")) as (scene, _):
            await scene.service("old")
            await eventually(lambda: len(scene.ingress("old")) == 1)
        async with life(south, called("south")) as (scene, standing):
            own = scene.fips.list()[0].status.address
            assert standing == Standing(
                problem=f'pool "default" stays in region "north": FloatingIP {own} has an address of this pool;'
                " release its addresses (pierhead fip get) and it follows, or start with --region north"
            )
            assert await scene.said("RegionRefused", "default") == standing.problem
            await scene.service()
            await scene.service("old2", 81, loadBalancerIP=None)
            for name in ("web", "old2"):
                why = await scene.said("SyncLoadBalancerFailed", name)
                assert why.startswith('there is no FloatingIPPool in region "south", and pool "default" belongs to')
            with pytest.raises(ApiError, match=r'pool "default" belongs to region "north".* and it follows'):
                await scene.fip("more")
            assert scene.ingress("old"), "it stays where it is"
            await scene.client.delete(SERVICE, "old", "default")
            await eventually(lambda: all(scene.ingress(name) for name in ("web", "old2")))
            assert scene.services.get("old", "default") is None

    renamed(scenario)
