"""Services through the API and the floating IPs they use: which wish is granted, who has a port, what is given back when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from floating import (
    FIPS,
    POOLS,
    SERVICES,
    balanced,
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
from inside import network, server
from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.errors import ApiError
from scenes import Region, play


def test_many_services_share_an_address_by_their_ports() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, SERVICES, balanced("web", "192.0.2.4", 80, 443))
        await made(region, SERVICES, balanced("dns", "shop", "53/UDP", "80/UDP"))
        assert await refused(region, SERVICES, balanced("api", "shop", 8080, 443, "53/UDP")) == (
            'Service "api" is invalid: '
            "[spec.ports[1]: Invalid value: 443: TCP port 443 of 192.0.2.4 is in use by Service default/web, "
            "spec.ports[2]: Invalid value: 53: UDP port 53 of 192.0.2.4 is in use by Service default/dns]"
        )
        assert claims(region.store, "claims/frontend/") == {
            "claims/frontend/192.0.2.4/TCP/443": "services/default/web",
            "claims/frontend/192.0.2.4/TCP/80": "services/default/web",
            "claims/frontend/192.0.2.4/UDP/53": "services/default/dns",
            "claims/frontend/192.0.2.4/UDP/80": "services/default/dns",
        }

    pooled(scene)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("192.0.2", "must be empty, an allocated address, or the name of a FloatingIP"),
        ("192.0.02.4", "must not have leading 0s"),
        ("203.0.113.1", "is in no pool of floating IPs"),
        ("198.51.100.1", 'belongs to region "north", and floating IPs are used in their own; this is "local"'),
        ("192.0.2.7", 'is not allocated: create a FloatingIP with spec.address "192.0.2.7" first'),
        ("nobody", "no FloatingIP has this name"),
        ("192.0.2.5", "belongs to Service default/other alone"),
        ("six", "is of family IPv6, and this Service has IPv4 only"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_every_write_that_utters_it(wish: str, why: str) -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("mine", address="192.0.2.5", service="default/other"))
        await made(region, POOLS, pool("198.51.100.0/24", name="far", region="north"))
        await made(region, POOLS, pool("2001:db8::7", name="six"))
        await made(region, FIPS, fip("six", pool="six"))
        text = f'Service "web" is invalid: spec.loadBalancerIP: Invalid value: "{wish}": {why}'
        assert await refused(region, SERVICES, balanced("web", wish)) == text
        await made(region, SERVICES, balanced("web"))
        got = await patched(region, f"{SERVICES}/web", {"spec": {"loadBalancerIP": wish}})
        assert told(got) == f"422 {text}"
        await made(region, SERVICES, balanced("inner", wish, type="ClusterIP", allocateLoadBalancerNodePorts=None))
        got = await patched(region, f"{SERVICES}/inner", {"spec": {"type": "LoadBalancer"}})
        assert got.status == 422

    pooled(scene)


def test_a_service_keeps_the_family_of_its_floating_ip() -> None:
    async def scene() -> None:
        async with server(network("none", "10.96.0.0/16", "fd00:10:96::/112")) as found:
            client = found.client
            await client.create(FLOATING_IP_POOL, pool("2001:db8::7"))
            await client.create(FLOATING_IP, fip("six"))
            await client.create(SERVICE, balanced("web", "six", ipFamilyPolicy="RequireDualStack"))
            with pytest.raises(ApiError) as refused:
                await client.patch(SERVICE, "web", {"spec": {"ipFamilyPolicy": "SingleStack"}}, "default")
            assert refused.value.message == (
                'Service "web" is invalid: spec.loadBalancerIP: Invalid value: "six": '
                "is of family IPv6, and this Service has IPv4 only"
            )

    asyncio.run(scene())


def test_without_a_pool_or_with_another_class_a_wish_is_free_text() -> None:
    async def scene(region: Region) -> None:
        await made(region, SERVICES, balanced("old", "203.0.113.1"))
        await made(region, POOLS, pool("192.0.2.4"))
        relabelled = await patched(region, f"{SERVICES}/old", {"metadata": {"labels": {"a": "b"}}})
        assert relabelled.status == 200, "what was written before there was a pool stays"
        await made(region, SERVICES, balanced("foreign", "203.0.113.1", loadBalancerClass="example.com/x"))
        got = await patched(region, f"{SERVICES}/foreign/status", ingress("203.0.113.1"))
        assert got.status == 200

    play(scene)


def test_services_share_what_they_have_from_elsewhere() -> None:
    async def scene(region: Region) -> None:
        spec: Any = {"ports": [{"port": 80}], "externalIPs": ["203.0.113.1"]}
        for name in ("a", "b"):
            await made(region, SERVICES, {"metadata": {"name": name}, "spec": spec})
        assert len(claims(region.store, "claims/external/")) == 2
        await region.admin("DELETE", f"{SERVICES}/a")
        assert len(claims(region.store, "claims/external/")) == 1

    pooled(scene)


def test_ports_follow_the_service() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, FIPS, fip("mail", address="192.0.2.5"))
        await made(region, SERVICES, balanced("web", "shop", 80, 443))
        await made(region, SERVICES, balanced("api", "mail", 8080))
        web = f"{SERVICES}/web"

        async def after(change: Tree) -> set[str]:
            assert (await patched(region, web, change)).status == 200
            held = claims(region.store, "claims/frontend/")
            return {key.removeprefix("claims/frontend/") for key, holder in held.items() if holder.endswith("/web")}

        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 8080}]
        assert await after({"spec": {"ports": ports}}) == {"192.0.2.4/TCP/80", "192.0.2.4/TCP/8080"}
        clash = await patched(region, web, {"spec": {"loadBalancerIP": "mail"}})
        assert "spec.ports[1]: Invalid value: 8080: TCP port 8080 of 192.0.2.5 is in use by Service default/api" in (
            message(clash.body)
        )
        assert await after({"spec": {"ports": ports[:1], "loadBalancerIP": "mail"}}) == {"192.0.2.5/TCP/80"}
        assert await after({"spec": {"type": "ClusterIP"}}) == set()
        assert await after({"spec": {"type": "LoadBalancer"}}) == {"192.0.2.5/TCP/80"}
        assert await after({"spec": {"loadBalancerIP": None}}) == set()

    pooled(scene)


def test_who_moves_leaves_the_old_address_in_the_same_write() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, FIPS, fip("mail", address="192.0.2.5"))
        await made(region, SERVICES, balanced("web", "shop"))
        assert (await patched(region, f"{SERVICES}/web/status", ingress("192.0.2.4"))).status == 200
        same = await patched(region, f"{SERVICES}/web", {"spec": {"loadBalancerIP": "192.0.2.4"}})
        assert same.json["status"] == ingress("192.0.2.4")["status"], "the same address by its other name"
        moved = await patched(region, f"{SERVICES}/web", {"spec": {"loadBalancerIP": "mail"}})
        assert moved.json["status"] == {"loadBalancer": {}}

    pooled(scene)


def test_the_controller_binds_a_service_that_wishes_for_nothing_to_an_address_of_its_own() -> None:
    async def scene(region: Region) -> None:
        service = await made(region, SERVICES, balanced("web"))
        own = f"service-{service['metadata']['uid']}"
        await made(region, FIPS, fip(own, address="192.0.2.4", service="default/web"))
        await made(region, FIPS, fip("shop", address="192.0.2.5"))
        status = f"{SERVICES}/web/status"
        for ip in ("192.0.2.5", "192.0.2.6"):
            got = await patched(region, status, ingress(ip))
            assert told(got) == (
            f'422 Service "web" is invalid: status.loadBalancer.ingress[0].ip: Invalid value: "{ip}": '
                "is a floating IP that this Service does not have"
            )  # fmt: skip
        assert claims(region.store, "claims/frontend/") == {}
        assert (await patched(region, status, ingress("192.0.2.4"))).status == 200
        assert claims(region.store, "claims/frontend/") == {"claims/frontend/192.0.2.4/TCP/80": "services/default/web"}
        assert (await region.admin("DELETE", f"{FIPS}/{own}")).status == 409
        pinned = await patched(region, f"{SERVICES}/web", {"spec": {"loadBalancerIP": "192.0.2.4"}})
        assert pinned.json["status"] == ingress("192.0.2.4")["status"]
        assert (await patched(region, status, {"status": {"loadBalancer": None}})).status == 200
        assert len(claims(region.store, "claims/frontend/")) == 1, "a wish holds what it means"

    pooled(scene)


def test_who_wished_first_for_an_address_that_comes_later_is_bound_by_the_status() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("first", address="192.0.2.4"))
        await made(region, FIPS, fip("later"))
        await made(region, SERVICES, balanced("web", "later", 80, 443))
        await made(region, SERVICES, balanced("api", "later", 443))
        assert claims(region.store, "claims/frontend/") == {}
        await region.admin("DELETE", f"{FIPS}/first")
        assert (await patched(region, f"{FIPS}/later/status", {"status": {"address": "192.0.2.4"}})).status == 200
        assert (await patched(region, f"{SERVICES}/api/status", ingress("192.0.2.4"))).status == 200
        got = await patched(region, f"{SERVICES}/web/status", ingress("192.0.2.4"))
        assert told(got) == (
            '422 Service "web" is invalid: spec.ports[1]: Invalid value: 443: '
            "TCP port 443 of 192.0.2.4 is in use by Service default/api"
        )  # fmt: skip
        labelled = await patched(region, f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
        assert labelled.status == 200, "a write that says nothing about it is not refused for it"

    pooled(scene, "192.0.2.4")


def test_a_service_on_its_way_out_gives_its_ports_back_when_its_status_is_empty() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, SERVICES, kept(balanced("web", "shop")))
        web = f"{SERVICES}/web"
        assert (await patched(region, f"{web}/status", ingress("192.0.2.4"))).status == 200
        await region.admin("DELETE", web)
        assert len(claims(region.store, "claims/frontend/")) == 1, "traffic may still come"
        assert (await patched(region, f"{web}/status", {"status": {"loadBalancer": None}})).status == 200
        assert claims(region.store, "claims/frontend/") == {}
        assert (await region.admin("DELETE", f"{FIPS}/shop")).status == 200
        assert (await patched(region, web, {"metadata": {"finalizers": None}})).status == 200

    pooled(scene)


def test_a_service_that_was_never_bound_gives_its_ports_back_when_it_is_told_to_go() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, SERVICES, kept(balanced("web", "shop")))
        await region.admin("DELETE", f"{SERVICES}/web")
        assert claims(region.store, "claims/frontend/") == {}

    pooled(scene)


def test_addresses_of_another_regions_pool_are_nobodys_here() -> None:
    async def scene(region: Region) -> None:
        await made(region, POOLS, pool("198.51.100.0/24", name="far", region="north"))
        theirs = 'Invalid value: "198.51.100.1": belongs to region "north"'
        assert f"spec.loadBalancerIP: {theirs}" in await refused(region, SERVICES, balanced("web", "198.51.100.1"))
        external: Any = balanced("web", "", externalIPs=["198.51.100.1"])
        assert "spec.externalIPs[0]" in await refused(region, SERVICES, external)
        await made(region, SERVICES, balanced("web"))
        got = await patched(region, f"{SERVICES}/web/status", ingress("198.51.100.1"))
        assert "is a floating IP that this Service does not have" in told(got)

    play(scene)


def test_nobody_takes_a_floating_ip_as_an_external_ip() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        spec: Any = {"ports": [{"port": 80}], "externalIPs": ["203.0.113.1", "192.0.2.4"]}
        assert await refused(region, SERVICES, {"metadata": {"name": "web"}, "spec": spec}) == (
            'Service "web" is invalid: spec.externalIPs[1]: Invalid value: "192.0.2.4": '
            "is a floating IP, which a Service uses by spec.loadBalancerIP only"
        )

    pooled(scene)
