"""FloatingIPs through the API: who owns an address, and what is said to whoever may not have it."""

from __future__ import annotations

import pytest

from floating import (
    FIPS,
    POOLS,
    SERVICES,
    balanced,
    check,
    claims,
    fip,
    kept,
    made,
    message,
    patched,
    pool,
    pooled,
    refused,
    told,
)
from pierhead.api import Tree
from scenes import Region, play


def test_one_is_given_and_named_after_its_address() -> None:
    async def scene(region: Region) -> None:
        got = await made(region, FIPS, fip(displayName="shop"))
        ip = got["metadata"]["name"]
        assert ip in {f"192.0.2.{n}" for n in range(4, 8)}
        assert got["spec"] == {"pool": "default", "displayName": "shop"}
        assert got["status"] == {"address": ip, "region": "local"}
        assert claims(region.store) == {f"claims/floating/{ip}": f"floatingips.pierhead.dev/{ip}"}

    pooled(scene)


def test_a_wished_one_under_a_name_of_its_own() -> None:
    async def scene(region: Region) -> None:
        got = await made(region, FIPS, fip("shop", address="192.0.2.5"))
        assert got["status"]["address"] == "192.0.2.5"
        again = await region.admin("POST", FIPS, fip("shop", address="192.0.2.5"))
        assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
        assert (await made(region, FIPS, fip("192.0.2.6")))["status"]["address"] == "192.0.2.6"
        assert 'belongs to FloatingIP "192.0.2.6"' in await refused(region, FIPS, fip(address="192.0.2.6"))

    pooled(scene)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (fip("x", address="192.0.2"), '"x" is invalid: spec.address: Invalid value: "192.0.2": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        (fip(address="192.0.2"), '"" is invalid: spec.address: Invalid value: "192.0.2": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        (fip("x", address="203.0.113.1"), '"x" is invalid: spec.address: Invalid value: "203.0.113.1": is in no pool of floating IPs'),
        (fip("x", address="192.0.2.4"), '"x" is invalid: spec.address: Invalid value: "192.0.2.4": belongs to FloatingIP "taken"'),
        (fip("x", address="198.51.100.1"), '"x" is invalid: spec.address: Invalid value: "198.51.100.1": pool "far" belongs to region "north": release its addresses (pierhead fip get) and change its spec.region (kubectl edit fippool far), or start with --region north'),
        (fip("x", pool="far"), '"x" is invalid: spec.pool: Invalid value: "far": pool "far" belongs to region "north": release its addresses (pierhead fip get) and change its spec.region (kubectl edit fippool far), or start with --region north'),
        (fip("x", pool="none"), '"x" is invalid: spec.pool: Not found: "none"'),
        (fip("x", pool="small", address="192.0.2.5"), '"x" is invalid: spec.address: Invalid value: "192.0.2.5": is not in pool "small"'),
        (fip("x", pool="going"), '"x" is invalid: spec.pool: Invalid value: "going": pool "going" is being deleted'),
        (fip("x", address="192.0.2.99"), '"x" is invalid: spec.address: Invalid value: "192.0.2.99": pool "going" is being deleted'),
        (fip(pool="full"), '"" is invalid: spec.pool: Invalid value: "full": has no free address, and only a FloatingIP that is given a metadata.name can wait for one'),
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
        await made(region, POOLS, kept(pool("192.0.2.99", name="going")))
        await region.admin("DELETE", f"{POOLS}/going")
        assert await refused(region, FIPS, asked) == f"FloatingIP.pierhead.dev {why}"

    pooled(scene)


def test_who_names_no_pool_where_none_goes_without_saying() -> None:
    async def scene(region: Region) -> None:
        start = 'FloatingIP.pierhead.dev "x" is invalid: spec.pool: Required value'
        lacking = f'{start}: there is no FloatingIPPool in region "local"'
        assert await refused(region, FIPS, fip("x")) == f"{lacking}: create one, as `pierhead up --floating-cidr` does"
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

    pooled(scene, "192.0.2.4")


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

    pooled(scene)


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

    pooled(scene)


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

    pooled(scene)


def test_one_that_waits_for_its_finalizers_is_still_owned_and_no_longer_to_be_had() -> None:
    async def scene(region: Region) -> None:
        await made(region, FIPS, kept(fip("shop", address="192.0.2.4")))
        assert (await region.admin("DELETE", f"{FIPS}/shop")).json["metadata"]["deletionTimestamp"]
        assert 'FloatingIP "shop" is being deleted' in await refused(region, SERVICES, balanced("web", "shop"))
        assert 'belongs to FloatingIP "shop"' in await refused(region, FIPS, fip("x", address="192.0.2.4"))
        assert (await patched(region, f"{FIPS}/shop", {"metadata": {"finalizers": None}})).status == 200
        assert claims(region.store) == {}

    pooled(scene)


def test_who_meant_it_before_takes_nothing_of_one_that_is_going() -> None:
    async def scene(region: Region) -> None:
        await made(region, SERVICES, balanced("web", "shop"))
        await made(region, POOLS, pool("192.0.2.4"))
        await made(region, FIPS, kept(fip("shop")))
        await region.admin("DELETE", f"{FIPS}/shop")
        grown = {"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}]}}
        assert (await patched(region, f"{SERVICES}/web", grown)).status == 200
        assert claims(region.store, "claims/frontend/") == {}
        assert (await patched(region, f"{FIPS}/shop", {"metadata": {"finalizers": None}})).status == 200
        check(region.store)

    play(scene)
