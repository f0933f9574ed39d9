"""Floating IPs through the API: who owns an address, who uses it, and what is said to whoever may not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi import Reply
from floating import FIPS, MERGE, POOLS, SERVICES, balanced, check, claims, fip, ingress, message, pool
from inside import network, server
from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.errors import ApiError
from scenes import Region, play


def floating(scene: Callable[[Region], Awaitable[None]], *ranges: str) -> None:
    """Plays a scene in a region that has a pool of four addresses, or of ``ranges``; whatever happened, no claim is off."""

    async def whole(region: Region) -> None:
        await made(region, POOLS, pool(*ranges or ("192.0.2.4-192.0.2.7",)))
        await scene(region)
        check(region.store)

    play(whole)


async def made(region: Region, path: str, body: Tree) -> Tree:
    reply = await region.admin("POST", path, body)
    assert reply.status == 201, reply.body
    found: Tree = reply.json
    return found


async def patched(region: Region, path: str, body: Tree) -> Reply:
    return await region.admin("PATCH", path, body, MERGE)


def told(reply: Reply) -> str:
    return f"{reply.status} {message(reply.body)}"


async def refused(region: Region, path: str, body: Tree, code: int = 422) -> str:
    reply = await region.admin("POST", path, body)
    assert reply.status == code, reply.body
    return message(reply.body)


# -- owning an address --------------------------------------------------------------------------------------


def test_one_is_given_and_named_after_its_address() -> None:
    async def scene(region: Region) -> None:
        got = await made(region, FIPS, fip(displayName="shop"))
        ip = got["metadata"]["name"]
        assert ip in {f"192.0.2.{n}" for n in range(4, 8)}
        assert got["spec"] == {"pool": "default", "displayName": "shop"}
        assert got["status"] == {"address": ip, "region": "local"}
        assert claims(region.store) == {f"claims/floating/{ip}": f"floatingips.pierhead.dev/{ip}"}

    floating(scene)


def test_a_wished_one_under_a_name_of_its_own() -> None:
    async def scene(region: Region) -> None:
        got = await made(region, FIPS, fip("shop", address="192.0.2.5"))
        assert got["status"]["address"] == "192.0.2.5"
        again = await region.admin("POST", FIPS, fip("shop", address="192.0.2.5"))
        assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
        assert (await made(region, FIPS, fip("192.0.2.6")))["status"]["address"] == "192.0.2.6"
        assert 'belongs to FloatingIP "192.0.2.6"' in await refused(region, FIPS, fip(address="192.0.2.6"))

    floating(scene)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (fip("x", address="192.0.2"), '"x" is invalid: spec.address: Invalid value: "192.0.2": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        (fip(address="192.0.2"), '"" is invalid: spec.address: Invalid value: "192.0.2": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        (fip("x", address="203.0.113.1"), '"x" is invalid: spec.address: Invalid value: "203.0.113.1": is in no pool of floating IPs'),
        (fip("x", address="192.0.2.4"), '"x" is invalid: spec.address: Invalid value: "192.0.2.4": belongs to FloatingIP "taken"'),
        (fip("x", address="198.51.100.1"), '"x" is invalid: spec.address: Invalid value: "198.51.100.1": belongs to region "north", and floating IPs are used in their own; this is "local"'),
        (fip("x", pool="far"), '"x" is invalid: spec.pool: Invalid value: "far": belongs to region "north", and floating IPs are used in their own; this is "local"'),
        (fip("x", pool="none"), '"x" is invalid: spec.pool: Not found: "none"'),
        (fip("x", pool="small", address="192.0.2.5"), '"x" is invalid: spec.address: Invalid value: "192.0.2.5": is not in pool "small"'),
        (fip("x", pool="going"), '"x" is invalid: spec.pool: Invalid value: "going": pool "going" is being deleted'),
        (fip("x", address="192.0.2.99"), '"x" is invalid: spec.address: Invalid value: "192.0.2.99": pool "going" is being deleted'),
        (fip(pool="full"), '"" is invalid: spec.pool: Invalid value: "full": has no free address, and without a name there is nothing to wait under'),
        (fip("a_b"), '"a_b" is invalid: metadata.name: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \'-\' or \'.\', and must start and end with an alphanumeric character (e.g. \'example.com\', regex used for validation is \'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\')'),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_had(asked: Tree, why: str) -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("taken", address="192.0.2.4"))
        await made(region, POOLS, pool("198.51.100.0/24", name="far", region="north"))
        await made(region, POOLS, pool("192.0.2.77", name="small"))
        await made(region, POOLS, pool("192.0.2.88", name="full"))
        await made(region, FIPS, fip("all", pool="full"))
        held = pool("192.0.2.99", name="going")
        held["metadata"]["finalizers"] = ["example.com/x"]
        await made(region, POOLS, held)
        await region.admin("DELETE", f"{POOLS}/going")
        assert await refused(region, FIPS, asked) == f"FloatingIP.pierhead.dev {why}"

    floating(scene)


def test_who_names_no_pool_where_none_goes_without_saying() -> None:
    async def scene(region: Region) -> None:
        start = 'FloatingIP.pierhead.dev "x" is invalid: spec.pool: Required value'
        lacking = f'{start}: there is no FloatingIPPool in region "local"'
        assert await refused(region, FIPS, fip("x")) == f"{lacking}: create one, or start with --floating-cidr"
        await made(region, POOLS, pool("192.0.2.9", name="far", region="north"))
        assert (await refused(region, FIPS, fip("x"))).startswith(
            f'{lacking}, and pool "far" belongs to region "north": release its addresses'
        )
        await made(region, POOLS, pool("192.0.2.1", name="a"))
        assert (await made(region, FIPS, fip("y")))["spec"]["pool"] == "a"
        await made(region, POOLS, pool("192.0.2.2", name="b"))
        assert await refused(region, FIPS, fip("x")) == f'{start}: none is named "default"; choose one of a and b'
        await made(region, POOLS, pool("192.0.2.3"))
        assert (await made(region, FIPS, fip("x")))["spec"]["pool"] == "default"

    play(scene)


def test_a_name_waits_for_an_address_and_gets_it_through_the_status() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("first"))
        assert (await made(region, FIPS, fip("second")))["status"] == {}
        status = f"{FIPS}/second/status"
        for ip, why in (
            ("192.0.2.4", 'belongs to FloatingIP "first"'),
            ("192.0.2.9", 'is not in pool "default"'),
            ("192.0.2", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ):
            got = await patched(region, status, {"status": {"address": ip}})
            assert told(got) == (
            f'422 FloatingIP.pierhead.dev "second" is invalid: status.address: Invalid value: "{ip}": {why}'
            )  # fmt: skip
        assert (await region.admin("DELETE", f"{FIPS}/first")).status == 200
        got = await patched(region, status, {"status": {"address": "192.0.2.4"}})
        assert (got.status, got.json["status"]) == (200, {"address": "192.0.2.4", "region": "local"})
        assert claims(region.store) == {"claims/floating/192.0.2.4": "floatingips.pierhead.dev/second"}

    floating(scene, "192.0.2.4")


def test_a_pool_that_is_being_deleted_gives_nothing_to_who_waits() -> None:
    async def scene(region: Region) -> None:
        await made(region, POOLS, pool("192.0.2.9", name="going") | {
            "metadata": {"name": "going", "finalizers": ["example.com/x"]}
        })  # fmt: skip
        await made(region, FIPS, fip("first", pool="going"))
        await made(region, FIPS, fip("second", pool="going"))
        await region.admin("DELETE", f"{FIPS}/first")
        await region.admin("DELETE", f"{POOLS}/going")
        got = await patched(region, f"{FIPS}/second/status", {"status": {"address": "192.0.2.9"}})
        assert message(got.body).endswith('status.address: Invalid value: "192.0.2.9": pool "going" is being deleted')
        assert (await patched(region, f"{POOLS}/going", {"metadata": {"finalizers": None}})).status == 200

    floating(scene)


def test_a_dry_run_answers_what_would_be_and_takes_nothing() -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("POST", f"{FIPS}?dryRun=All", fip())
        assert (got.status, got.json["status"]["address"]) == (201, got.json["metadata"]["name"])
        assert claims(region.store) == {}
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, SERVICES, balanced("web", "shop"))
        assert (await region.admin("DELETE", f"{FIPS}/shop?dryRun=All")).status == 409
        assert (await region.admin("DELETE", f"{SERVICES}/web?dryRun=All")).status == 200
        assert len(claims(region.store)) == 2

    floating(scene)


# -- releasing it -------------------------------------------------------------------------------------------


def test_a_used_address_is_not_released_and_its_users_are_named() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        await made(region, SERVICES, balanced("web", "shop", 80, 443))
        await made(region, SERVICES, balanced("api", "192.0.2.4", 8080))
        got = await region.admin("DELETE", f"{FIPS}/shop")
        assert got.json == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "Conflict",
            "message": 'Operation cannot be fulfilled on floatingips.pierhead.dev "shop": '
            "it is in use by Services default/api and default/web",
            "details": {
                "name": "shop", "group": "pierhead.dev", "kind": "floatingips",
                "causes": [
                    {"reason": "InUse", "message": f"default/{name}", "field": "status.services"} for name in ("api", "web")
                ],
            },
        }  # fmt: skip
        assert (await region.admin("DELETE", f"{SERVICES}/api")).status == 200
        got = await region.admin("DELETE", f"{FIPS}/shop")
        assert message(got.body).endswith("it is in use by Service default/web")
        assert (await region.admin("DELETE", f"{SERVICES}/web")).status == 200
        assert (await region.admin("DELETE", f"{FIPS}/shop")).status == 200
        assert claims(region.store) == {}

    floating(scene)


def test_one_that_waits_for_its_finalizers_is_still_owned_and_no_longer_to_be_had() -> None:
    async def scene(region: Region) -> None:
        held = fip("shop", address="192.0.2.4")
        held["metadata"]["finalizers"] = ["example.com/x"]
        await made(region, FIPS, held)
        assert (await region.admin("DELETE", f"{FIPS}/shop")).json["metadata"]["deletionTimestamp"]
        assert 'FloatingIP "shop" is being deleted' in await refused(region, SERVICES, balanced("web", "shop"))
        assert 'belongs to FloatingIP "shop"' in await refused(region, FIPS, fip("x", address="192.0.2.4"))
        assert (await patched(region, f"{FIPS}/shop", {"metadata": {"finalizers": None}})).status == 200
        assert claims(region.store) == {}

    floating(scene)


def test_who_meant_it_before_takes_nothing_of_one_that_is_going() -> None:
    async def scene(region: Region) -> None:
        await made(region, SERVICES, balanced("web", "shop"))
        await made(region, POOLS, pool("192.0.2.4"))
        await made(region, FIPS, fip("shop") | {"metadata": {"name": "shop", "finalizers": ["example.com/x"]}})
        await region.admin("DELETE", f"{FIPS}/shop")
        grown = {"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}]}}
        assert (await patched(region, f"{SERVICES}/web", grown)).status == 200
        assert claims(region.store, "claims/frontend/") == {}
        assert (await patched(region, f"{FIPS}/shop", {"metadata": {"finalizers": None}})).status == 200
        check(region.store)

    play(scene)


# -- pools --------------------------------------------------------------------------------------------------


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

    floating(scene)


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

    floating(scene)


# -- using it -----------------------------------------------------------------------------------------------


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

    floating(scene)


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

    floating(scene)


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


def test_a_node_reads_floating_ips_and_writes_none() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        for path in (FIPS, f"{FIPS}/shop", POOLS):
            assert (await region.node("GET", path)).status == 200
        for method, path in (
            ("POST", FIPS),
            ("POST", POOLS),
            ("DELETE", f"{FIPS}/shop"),
            ("PUT", f"{FIPS}/shop/status"),
        ):
            assert (await region.node(method, path, fip("x"))).status == 403

    floating(scene)


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


def test_services_share_what_they_have_from_elsewhere() -> None:
    async def scene(region: Region) -> None:
        spec: Any = {"ports": [{"port": 80}], "externalIPs": ["203.0.113.1"]}
        for name in ("a", "b"):
            await made(region, SERVICES, {"metadata": {"name": name}, "spec": spec})
        assert len(claims(region.store, "claims/external/")) == 2
        await region.admin("DELETE", f"{SERVICES}/a")
        assert len(claims(region.store, "claims/external/")) == 1

    floating(scene)


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

    floating(scene)


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

    floating(scene)


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

    floating(scene)


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

    floating(scene, "192.0.2.4")


def test_a_service_on_its_way_out_gives_its_ports_back_when_its_status_is_empty() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        held = balanced("web", "shop")
        held["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
        await made(region, SERVICES, held)
        web = f"{SERVICES}/web"
        assert (await patched(region, f"{web}/status", ingress("192.0.2.4"))).status == 200
        await region.admin("DELETE", web)
        assert len(claims(region.store, "claims/frontend/")) == 1, "traffic may still come"
        assert (await patched(region, f"{web}/status", {"status": {"loadBalancer": None}})).status == 200
        assert claims(region.store, "claims/frontend/") == {}
        assert (await region.admin("DELETE", f"{FIPS}/shop")).status == 200
        assert (await patched(region, web, {"metadata": {"finalizers": None}})).status == 200

    floating(scene)


def test_a_service_that_was_never_bound_gives_its_ports_back_when_it_is_told_to_go() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, fip("shop", address="192.0.2.4"))
        held = balanced("web", "shop")
        held["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
        await made(region, SERVICES, held)
        await region.admin("DELETE", f"{SERVICES}/web")
        assert claims(region.store, "claims/frontend/") == {}

    floating(scene)


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

    floating(scene)


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

    floating(scene)
