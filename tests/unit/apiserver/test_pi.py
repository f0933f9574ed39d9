"""The paths of Pi: the same addresses, the same rights, the older words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from asgi import Reply
from floating import FIPS, POOLS, SERVICES, balanced, check, claims, fip, pool
from pierhead.api.kinds import FLOATING_IP
from pierhead.store import Event
from scenes import Region, play

PI = "/api/v1/hyper/fips"


async def prepared(region: Region, *ranges: str) -> None:
    assert (await region.admin("POST", POOLS, pool(*ranges or ("192.0.2.4-192.0.2.7",)))).status == 201


def test_allocate_show_name_and_release() -> None:
    async def scene(region: Region) -> None:
        await prepared(region, "192.0.2.4")
        got = await region.admin("POST", PI)
        assert got.status == 201
        [one] = got.json
        assert one == {"fip": "192.0.2.4", "name": "", "createdAt": one["createdAt"], "services": []}
        assert (await region.admin("POST", f"{PI}/192.0.2.4", {"name": "shop"})).status == 204
        assert (await region.admin("GET", f"{PI}/192.0.2.4")).json == one | {"name": "shop"}
        assert (await region.admin("GET", f"{FIPS}/192.0.2.4")).json["spec"]["displayName"] == "shop"
        gone = await region.admin("DELETE", f"{PI}/192.0.2.4")
        assert (gone.status, gone.body) == (204, b"")
        assert (await region.admin("GET", PI)).json == []
        check(region.store)

    play(scene)


def test_several_at_once_or_none() -> None:
    async def scene(region: Region) -> None:
        await prepared(region)
        got = await region.admin("POST", f"{PI}?count=3")
        assert (got.status, len({one["fip"] for one in got.json})) == (201, 3)
        refused = await region.admin("POST", f"{PI}?count=2")
        assert (refused.status, refused.json["reason"]) == (422, "Invalid")
        assert len(claims(region.store)) == 3

    play(scene)


def test_of_those_that_were_one_too_many_only_a_used_one_stays() -> None:
    async def scene(region: Region) -> None:
        await prepared(region, "192.0.2.4-192.0.2.5")
        uses: list[asyncio.Task[Reply]] = []

        def use(events: Sequence[Event]) -> None:
            if not uses:
                name = events[0].key.partition("/")[2]
                uses.append(asyncio.create_task(region.admin("POST", SERVICES, balanced("web", name))))

        region.store.watch(f"{FLOATING_IP.resource}/", region.store.revision, use)
        refused = await region.admin("POST", f"{PI}?count=3")
        assert (refused.status, refused.json["reason"]) == (422, "Invalid")
        assert (await uses[0]).status == 201
        assert [one["services"] for one in (await region.admin("GET", PI)).json] == [["web"]]
        check(region.store)

    play(scene)


@pytest.mark.parametrize("count", ["0", "-1", "257", "x"])
def test_a_count_is_a_small_number(count: str) -> None:
    async def scene(region: Region) -> None:
        await prepared(region)
        assert (await region.admin("POST", f"{PI}?count={count}")).status == 400
        assert claims(region.store) == {}

    play(scene)


def test_a_used_one_stays_and_its_services_are_shown() -> None:
    async def scene(region: Region) -> None:
        await prepared(region)
        await region.admin("POST", FIPS, fip("shop", address="192.0.2.4"))
        await region.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
        await region.admin("POST", SERVICES, balanced("web", "192.0.2.4", 80, 443))
        elsewhere = balanced("dns", "192.0.2.4", 53)
        elsewhere["metadata"]["namespace"] = "other"
        await region.admin("POST", "/api/v1/namespaces/other/services", elsewhere)
        assert (await region.admin("GET", f"{PI}/192.0.2.4")).json["services"] == ["other/dns", "web"]
        refused = await region.admin("DELETE", f"{PI}/192.0.2.4")
        assert (refused.status, refused.json["reason"]) == (409, "Conflict")
        assert "it is in use by Services default/web and other/dns" in refused.json["message"]

    play(scene)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", f"{PI}/192.0.2.9", None, 404),
        ("DELETE", f"{PI}/192.0.2.9", None, 404),
        ("POST", f"{PI}/192.0.2.9", {"name": "x"}, 404),
        ("GET", f"{PI}/shop", None, 404),
        ("POST", f"{PI}/192.0.2.4", {}, 400),
        ("POST", f"{PI}/192.0.2.4", {"name": 5}, 400),
        ("POST", f"{PI}/192.0.2.4", b"{", 400),
        ("PUT", PI, None, 405),
        ("GET", f"{PI}/192.0.2.4/x", None, 404),
        ("GET", "/api/v1/hyper/others", None, 404),
    ],
)
def test_what_is_not_there_or_makes_no_sense(method: str, path: str, body: object, code: int) -> None:
    async def scene(region: Region) -> None:
        await prepared(region)
        await region.admin("POST", FIPS, fip("shop", address="192.0.2.4"))
        got = await region.admin(method, path, body)
        assert (got.status, got.json["kind"]) == (code, "Status")

    play(scene)


def test_a_node_reads_and_nobody_else_is_let_in() -> None:
    async def scene(region: Region) -> None:
        await prepared(region)
        assert (await region.node("GET", PI)).status == 200
        assert (await region.node("POST", PI)).status == 403
        assert (await region.anonymous("GET", PI)).status == 403

    play(scene)
