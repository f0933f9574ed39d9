"""FloatingIPs that wait for an address: who is served when one is free, and what is said until then."""

from __future__ import annotations

from balancing import ONE, Scene, called, life, owners, play, renamed
from inside import Inside, eventually
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL


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


def test_a_floating_ip_that_waits_in_another_regions_pool_is_told_so_and_served_when_it_follows() -> None:
    async def scenario(north: Inside, south: Inside) -> None:
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

    renamed(scenario)
