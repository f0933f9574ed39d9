"""Who follows the pools of floating IPs: what he is told, and when again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

import virtual
from inside import server
from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP_POOL
from pierhead.api.network import Range
from pierhead.client.client import Client
from pierhead.client.informers import Informers
from pierhead.region.poolroutes import PAUSE, follow

MANY = PAUSE * 100


class Follower:
    """Keeps what he was told, and when."""

    def __init__(self, *, failures: int = 0) -> None:
        self.told: list[tuple[float, tuple[Range, ...]]] = []
        self._failures = failures

    def lay(self, found: tuple[Range, ...]) -> bool:
        self.told.append((asyncio.get_running_loop().time(), found))
        return len(self.told) > self._failures


def play(follower: Follower, scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with server() as api, asyncio.TaskGroup() as group:
            informers = Informers(api.client)
            roles = [group.create_task(role) for role in (informers.run(), follow(informers, follower.lay))]
            await scenario(api.client)
            for role in roles:
                role.cancel()

    virtual.run(run())


def pool(name: str, *ranges: str) -> Tree:
    return {"metadata": {"name": name}, "spec": {"ranges": list(ranges)}}


def test_pools_are_told_as_networks_whenever_one_changes() -> None:
    follower = Follower()

    async def scenario(client: Client) -> None:
        await asyncio.sleep(1)
        await client.create(FLOATING_IP_POOL, pool("one", "10.98.0.1-10.98.0.6"))
        await asyncio.sleep(1)
        await client.create(FLOATING_IP_POOL, pool("two", "10.99.0.0/28"))
        await asyncio.sleep(MANY)

    play(follower, scenario)
    one = ["10.98.0.1/32", "10.98.0.2/31", "10.98.0.4/31", "10.98.0.6/32"]
    assert [[str(each) for each in found] for _, found in follower.told] == [[], one, [*one, "10.99.0.0/28"]]


def test_what_could_not_be_laid_is_told_again_after_a_pause_until_it_is() -> None:
    follower = Follower(failures=3)

    async def scenario(client: Client) -> None:
        await client.create(FLOATING_IP_POOL, pool("one", "10.98.0.0/28"))
        await asyncio.sleep(MANY)

    play(follower, scenario)
    times, told = zip(*follower.told, strict=True)
    assert told[-1] == (ip_network("10.98.0.0/28"),)
    assert times[-1] <= 3 * PAUSE < MANY


def test_who_has_nothing_left_to_lay_is_left_alone() -> None:
    follower = Follower()

    async def scenario(_: Client) -> None:
        await asyncio.sleep(MANY)

    play(follower, scenario)
    assert len(follower.told) == 1
