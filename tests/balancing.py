"""Services of type LoadBalancer in a test: the real API server and all controllers, and short words for what is done and seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from msgspec.structs import replace

from inside import Inside, at_work, controlled, eventually, network, server, serving
from pierhead.api import Tree
from pierhead.api.kinds import EVENT, FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import FloatingIP, FloatingIPPool, Object, Service
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.core.defaultpool import Standing
from pierhead.core.loadbalancer import FINALIZER

ONE = "192.0.2.1/32"
"""A pool of one address."""


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


def owners(scene: Scene) -> dict[str, str]:
    return {fip.metadata.name: fip.status.address for fip in scene.fips.list()}


@asynccontextmanager
async def life(found: Inside, network: Network) -> AsyncIterator[tuple[Scene, Standing]]:
    """The controllers from one start to its end; and what the start came to."""
    async with at_work(found.client, network) as (controllers, informers):
        yield Scene(found.client, informers), await controllers.floating()


def called(region: str) -> Network:
    return replace(ground("192.0.2.0/30"), region=region)


def anew(scenario: Callable[[Inside], Awaitable[None]]) -> None:
    """Plays a scenario over an API server for which no controllers work yet."""

    async def run() -> None:
        async with server() as found, asyncio.timeout(20):
            await scenario(found)

    asyncio.run(run())


def renamed(scenario: Callable[[Inside, Inside], Awaitable[None]]) -> None:
    """The same over two of one store: of a region called north, and of what is called south after that."""

    async def run() -> None:
        async with (
            server(called("north")) as north,
            serving(north.store, called("south")) as south,
            asyncio.timeout(20),
        ):
            await scenario(north, south)

    asyncio.run(run())
