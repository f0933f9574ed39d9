"""FloatingIPPools through the API: what they may give out, and what they have to keep."""

from __future__ import annotations

from typing import Any

import pytest

from asgi import Reply
from floating import (
    FIPS,
    POOLS,
    SERVICES,
    balanced,
    check,
    claims,
    fip,
    ingress,
    kept,
    made,
    message,
    patched,
    pool,
    pooled,
    refused,
    told,
)
from scenes import Region, play


def test_pools_do_not_overlap() -> None:
    async def scene(region: Region) -> None:
        start = 'FloatingIPPool.pierhead.dev "b" is invalid: spec.ranges'
        assert await refused(region, POOLS, pool("198.51.100.1", "192.0.2.0/24", name="b", region="north")) == (
            f'{start}[1]: Invalid value: "192.0.2.0/24": overlaps 192.0.2.4-192.0.2.7 of pool "default"'
        )
        await made(region, POOLS, pool("192.0.2.8", name="b"))
        grown = await patched(region, f"{POOLS}/b", {"spec": {"ranges": ["192.0.2.7-192.0.2.8"]}})
        assert told(grown) == (
            f'422 {start}[0]: Invalid value: "192.0.2.7-192.0.2.8": overlaps 192.0.2.4-192.0.2.7 of pool "default"'
        )  # fmt: skip
        assert (await patched(region, f"{POOLS}/b", {"spec": {"ranges": ["192.0.2.8-192.0.2.9"]}})).status == 200

    pooled(scene)


def test_a_pool_keeps_what_it_has_given_out() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, FIPS, fip("mail", address="192.0.2.6"))
        shrunk = await patched(region, f"{POOLS}/default", {"spec": {"ranges": ["192.0.2.5"]}})
        assert told(shrunk) == (
            '422 FloatingIPPool.pierhead.dev "default" is invalid: '
            '[spec.ranges: Invalid value: ["192.0.2.5"]: must keep 192.0.2.4, which belongs to FloatingIP "shop", '
            'spec.ranges: Invalid value: ["192.0.2.5"]: must keep 192.0.2.6, which belongs to FloatingIP "mail"]'
        )
        assert (await patched(region, f"{POOLS}/default", {"spec": {"ranges": ["192.0.2.0/29"]}})).status == 200
        got = await region.admin("DELETE", f"{POOLS}/default")
        assert told(got) == (
            '409 Operation cannot be fulfilled on floatingippools.pierhead.dev "default": '
            "it is in use by FloatingIPs mail and shop"
        )  # fmt: skip
        for name in ("shop", "mail"):
            await region.admin("DELETE", f"{FIPS}/{name}")
        assert (await region.admin("DELETE", f"{POOLS}/default")).status == 200

    pooled(scene)


def test_a_pool_that_is_being_deleted_gives_nothing_to_who_waits() -> None:
    async def scene(region: Region) -> None:
        await made(region, POOLS, kept(pool("192.0.2.9", name="going")))
        await made(region, FIPS, fip("first", pool="going"))
        await made(region, FIPS, fip("second", pool="going"))
        await region.admin("DELETE", f"{FIPS}/first")
        await region.admin("DELETE", f"{POOLS}/going")
        got = await patched(region, f"{FIPS}/second/status", {"status": {"address": "192.0.2.9"}})
        assert message(got.body).endswith('status.address: Invalid value: "192.0.2.9": pool "going" is being deleted')
        assert (await patched(region, f"{POOLS}/going", {"metadata": {"finalizers": None}})).status == 200

    pooled(scene)


def test_a_pool_moves_to_another_region_while_nobody_owns_an_address_of_it() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        moved = {"spec": {"region": "north"}}
        assert told(await patched(region, f"{POOLS}/default", moved)) == (
            '422 FloatingIPPool.pierhead.dev "default" is invalid: '
            'spec.region: Invalid value: "north": FloatingIP shop has an address of this pool'
        )
        await made(region, FIPS, fip("mail"))
        assert "FloatingIPs mail and shop have addresses" in told(await patched(region, f"{POOLS}/default", moved))
        for name in ("shop", "mail"):
            await region.admin("DELETE", f"{FIPS}/{name}")
        assert (await patched(region, f"{POOLS}/default", moved)).json["spec"]["region"] == "north"
        assert 'pool "default" belongs to region "north"' in await refused(region, FIPS, fip("x"))

    pooled(scene)


@pytest.mark.parametrize("how", ["created", "grown", "of another region"])
def test_a_pool_takes_no_address_that_a_service_has_from_elsewhere(how: str) -> None:
    """Whoever wrote it first: an address inside a pool is somebody's who claimed it."""
    ranges = ["198.51.100.7", "192.0.2.4-192.0.2.7"]

    async def scene(region: Region) -> None:
        async def asked() -> Reply:
            if how == "grown":
                return await patched(region, f"{POOLS}/mine", {"spec": {"ranges": ranges}})
            where = {"region": "north"} if how == "of another region" else {}
            return await region.admin("POST", POOLS, pool(*ranges, name="mine", **where))

        if how == "grown":
            await made(region, POOLS, pool(ranges[0], name="mine"))
        outside: Any = {"ports": [{"port": 80}], "externalIPs": ["203.0.113.1", "192.0.2.4"]}
        await made(region, SERVICES, {"metadata": {"name": "external"}, "spec": outside})
        await made(region, SERVICES, balanced("foreign"))
        assert (await patched(region, f"{SERVICES}/foreign/status", ingress("192.0.2.5"))).status == 200
        covers, where = (
            'spec.ranges[1]: Invalid value: "192.0.2.4-192.0.2.7": covers',
            "in spec.externalIPs or its status",
        )
        assert told(await asked()) == (
            '422 FloatingIPPool.pierhead.dev "mine" is invalid: '
            f"[{covers} 192.0.2.4, which Service default/external has {where}, "
            f"{covers} 192.0.2.5, which Service default/foreign has {where}]"
        )
        less = {"spec": {"externalIPs": ["203.0.113.1"]}}
        assert (await patched(region, f"{SERVICES}/external", less)).status == 200
        assert (await region.admin("DELETE", f"{SERVICES}/foreign")).status == 200
        assert claims(region.store, "claims/external/") == {
            "claims/external/203.0.113.1/default/external": "services/default/external"
        }
        assert (await asked()).status in (200, 201)
        check(region.store)

    play(scene)
