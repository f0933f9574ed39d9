"""Many writers, one address: what exactly one of them may have, one of them has, on every store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import TypeAlias

import pytest

from asgi import Direct, Reply
from floating import FIPS, MERGE, POOLS, SERVICES, balanced, check, claims, fip, ingress, message, pool
from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.network import Network
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.auth import ADMIN
from pierhead.store import Store
from pierhead.store.memory import MemoryStore
from pierhead.store.sqlite import SqliteStore
from scenes import Logs

Call: TypeAlias = tuple[str, str, Tree | None]
Race: TypeAlias = Callable[[Direct, Store, random.Random], Awaitable[None]]
ROUNDS = range(20)


@pytest.fixture(params=["memory", "sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Race, int], None]:
    """Runs a race against an API server on a store; afterwards no claim may be off."""

    def run(race: Race, seed: int) -> None:
        async def main() -> None:
            store: Store = MemoryStore(stamp) if request.param == "memory" else await SqliteStore.open(tmp_path, stamp)
            app = ApiServer(store, Network("none", (ip_network("10.96.0.0/16"),)), {"admin": ADMIN}, Logs())
            admin = Direct(app)
            await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
            await race(admin, store, random.Random(seed))
            check(store)
            app.close()
            await store.close()

        asyncio.run(asyncio.wait_for(main(), 60))

    return run


async def settled(admin: Direct, *calls: Call) -> None:
    for call in calls:
        assert (await admin(*call)).status in (200, 201)


async def at_once(admin: Direct, calls: Sequence[Call], chance: random.Random) -> list[Reply]:
    """The answers, in the order of the calls; the calls begin in any."""
    order = list(range(len(calls)))
    chance.shuffle(order)
    replies = await asyncio.gather(*(admin(*calls[n], MERGE if calls[n][0] == "PATCH" else None) for n in order))
    return [reply for _, reply in sorted(zip(order, replies, strict=True), key=lambda pair: pair[0])]


@pytest.mark.parametrize("seed", ROUNDS)
def test_one_of_fifty_writers_has_the_port(play: Callable[[Race, int], None], seed: int) -> None:
    """Half of them are new, half wished for nothing before; they name the address, or the FloatingIP."""

    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        old = [f"old-{n}" for n in range(25)]
        await settled(
            admin,
            ("POST", POOLS, pool("192.0.2.0/28")),
            ("POST", FIPS, fip("shop", address="192.0.2.7")),
            *(("POST", SERVICES, balanced(name)) for name in old),
        )
        calls: list[Call] = [
            ("PATCH", f"{SERVICES}/{name}", {"spec": {"loadBalancerIP": chance.choice(["shop", "192.0.2.7"])}})
            for name in old
        ]
        calls += [("POST", SERVICES, balanced(f"new-{n}", chance.choice(["shop", "192.0.2.7"]))) for n in range(25)]
        names = [*old, *(f"new-{n}" for n in range(25))]
        replies = await at_once(admin, calls, chance)
        [winner] = [name for name, reply in zip(names, replies, strict=True) if reply.status in (200, 201)]
        why = f"spec.ports[0]: Invalid value: 80: TCP port 80 of 192.0.2.7 is in use by Service default/{winner}"
        told = {
            (reply.status, message(reply.body).partition("is invalid: ")[2]) for reply in replies if reply.status > 201
        }
        assert told == {(422, why)}
        assert claims(store, "claims/frontend/") == {"claims/frontend/192.0.2.7/TCP/80": f"services/default/{winner}"}

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
def test_who_is_first_has_the_last_addresses(play: Callable[[Race, int], None], seed: int) -> None:
    """Twenty without a name of their own for fourteen addresses: as many as there are, each once."""

    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        await settled(admin, ("POST", POOLS, pool("192.0.2.0/28")))
        replies = await at_once(admin, [("POST", FIPS, fip()) for _ in range(20)], chance)
        given = [reply.json["status"]["address"] for reply in replies if reply.status == 201]
        assert (len(given), len(set(given))) == (14, 14)
        assert {reply.status for reply in replies} == {201, 422}

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
@pytest.mark.parametrize("finalizers", [[], ["example.com/x"]], ids=["at once", "when its finalizers are gone"])
def test_release_and_use_exclude_each_other(
    play: Callable[[Race, int], None], finalizers: list[str], seed: int
) -> None:
    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        shop = fip("shop", address="192.0.2.7")
        shop["metadata"]["finalizers"] = finalizers
        await settled(admin, ("POST", POOLS, pool("192.0.2.0/28")), ("POST", FIPS, shop))
        calls: list[Call] = [("DELETE", f"{FIPS}/shop", None), ("POST", SERVICES, balanced("web", "shop"))]
        released, used = await at_once(admin, calls, chance)
        assert (released.status, used.status) in ((200, 422), (409, 201))

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_service_that_is_made_again_has_its_port_again(play: Callable[[Race, int], None], seed: int) -> None:
    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        web: Call = ("POST", SERVICES, balanced("web", "192.0.2.7"))
        shop = fip("shop", address="192.0.2.7")
        await settled(admin, ("POST", POOLS, pool("192.0.2.0/28")), ("POST", FIPS, shop), web)
        _, made = await at_once(admin, [("DELETE", f"{SERVICES}/web", None), web], chance)
        assert made.status in (201, 409)
        assert len(claims(store, "claims/frontend/")) == (made.status == 201)

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_pool_does_not_lose_an_address_that_is_being_given(play: Callable[[Race, int], None], seed: int) -> None:
    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        await settled(admin, ("POST", POOLS, pool("192.0.2.4-192.0.2.7")))
        shrink: Call = ("PATCH", f"{POOLS}/default", {"spec": {"ranges": ["192.0.2.4-192.0.2.5"]}})
        calls: list[Call] = [("POST", FIPS, fip(f"f{n}", address=f"192.0.2.{4 + n}")) for n in range(4)]
        shrunk, *given = await at_once(admin, [shrink, *calls], chance)
        assert [reply.status for reply in given[:2]] == [201, 201]
        outside = {reply.status for reply in given[2:]}
        assert outside == {422} if shrunk.status == 200 else 201 in outside

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
def test_pools_that_come_at_once_do_not_overlap(play: Callable[[Race, int], None], seed: int) -> None:
    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        calls: list[Call] = [("POST", POOLS, pool(f"192.0.2.{n}-192.0.2.{n + 3}", name=f"p{n}")) for n in range(4)]
        replies = await at_once(admin, calls, chance)
        assert sorted(reply.status for reply in replies) == [201, 422, 422, 422]

    play(race, seed)


@pytest.mark.parametrize("seed", ROUNDS)
@pytest.mark.parametrize("how", ["spec.externalIPs", "status"])
def test_a_pool_and_an_address_from_elsewhere_exclude_each_other(
    play: Callable[[Race, int], None], how: str, seed: int
) -> None:
    async def race(admin: Direct, store: Store, chance: random.Random) -> None:
        await settled(admin, ("POST", POOLS, pool("192.0.2.4")), ("POST", SERVICES, balanced("web")))
        grown: Call = ("PATCH", f"{POOLS}/default", {"spec": {"ranges": ["192.0.2.4-192.0.2.7"]}})
        made: Call = ("POST", POOLS, pool("192.0.2.7", name="mine"))
        used: Call = ("PATCH", f"{SERVICES}/web/status", ingress("192.0.2.7"))
        if how == "spec.externalIPs":
            used = ("PATCH", f"{SERVICES}/web", {"spec": {"externalIPs": ["192.0.2.7"]}})
        replies = await at_once(admin, [grown, made, used], chance)
        assert sorted(reply.status for reply in replies)[1:] == [422, 422]

    play(race, seed)
