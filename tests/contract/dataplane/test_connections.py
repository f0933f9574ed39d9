"""What becomes of open connections, flows and sticky clients while the table changes under them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from dataplanes import WORLDS, Object, World, names, to
from forwarded import NODE, VIP, cluster_ip, endpoint, pod, service, slice_of

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[World]]

DNS = [{"name": "dns", "port": 8080, "protocol": "UDP"}]
TCP, UDP = to(cluster_ip()), to(cluster_ip(), protocol="UDP")


@pytest.fixture(params=["memory", "userspace"])
def opened(request: pytest.FixtureRequest) -> Opened:
    return WORLDS[request.param]


def play(opened: Opened, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened() as world:
            await scenario(world)

    asyncio.run(run())


def web(*endpoints: dict[str, Any], **spec: Any) -> tuple[Object, ...]:
    return service(**spec), slice_of("web", *endpoints)


def dns(*endpoints: dict[str, Any], port: int = 9376, **spec: Any) -> tuple[Object, ...]:
    return service(ports=DNS, **spec), slice_of(
        "web", *endpoints, ports=[{"name": "dns", "protocol": "UDP", "port": port}]
    )


def test_an_open_tcp_connection_outlives_its_endpoint_its_port_and_its_service(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(endpoint(11)))
        talk = await world.talk(TCP)
        for objects in (web(endpoint(12)), web(), (service(ports=[{"name": "http", "port": 8081}]),), ()):
            await world.hold(*objects)
            assert await talk.ask() == "11:9376"
        await talk.close()
        assert "11:9376" not in await world.outcomes(TCP)

    play(opened, scenario)


def test_the_last_endpoint_goes_and_another_one_comes(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(endpoint(11)))
        await world.hold(*web())
        assert await world.outcomes(TCP) == {"refused"}
        await world.hold(*web(endpoint(12)))
        assert await world.outcomes(TCP) == names(12)

    play(opened, scenario)


def test_the_target_port_changes_without_the_clients_noticing(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(endpoint(11)))
        await world.hold(service(), slice_of("web", endpoint(11), ports=[{"name": "http", "port": 9377}]))
        assert await world.outcomes(TCP) == names(11, port=9377)

    play(opened, scenario)


def test_the_cluster_ip_goes_to_another_service(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        api = (service("api", clusterIP=cluster_ip(2)), slice_of("api", endpoint(13)))
        await world.hold(*web(endpoint(11)), *api)
        await world.hold(service("api"), *api[1:])
        assert await world.outcomes(TCP) == names(13)

    play(opened, scenario)


def test_a_frontend_that_two_services_claim_stays_with_the_older_until_that_one_goes(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        def claiming(name: str, number: int) -> tuple[Object, ...]:
            """The younger, the higher its number."""
            made = service(
                name, clusterIP=cluster_ip(number), externalIPs=[VIP], created=f"2026-01-0{number}T00:00:00Z"
            )
            return made, slice_of(name, endpoint(10 + number))

        one, two = claiming("one", 1), claiming("two", 2)
        await world.hold(*two, *one)
        assert await world.outcomes(to(VIP)) == names(11)
        await world.hold(*two)
        assert await world.outcomes(to(VIP)) == names(12)

    play(opened, scenario)


def test_a_udp_flow_stays_with_its_endpoint(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*dns(endpoint(11), endpoint(12), endpoint(13)))
        talk = await world.talk(UDP)
        assert len({await talk.ask() for _ in range(20)}) == 1
        await talk.close()

    play(opened, scenario)


@pytest.mark.parametrize(
    ("change", "answered"),
    [
        (dns(endpoint(12)), "12:9376"),
        (dns(endpoint(11, ready=False), endpoint(12)), "12:9376"),
        (dns(endpoint(11), port=9377), "11:9377"),
        (dns(endpoint(11, terminating=True), endpoint(12)), "11:9376"),
        (dns(endpoint(11), endpoint(12)), "11:9376"),
        (dns(), "refused"),
    ],
    ids=["gone", "not ready", "another port", "terminating but serving", "joined by another", "none left"],
)
def test_a_udp_flow_moves_when_its_endpoint_no_longer_serves(
    opened: Opened, change: tuple[Object, ...], answered: str
) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*dns(endpoint(11)))
        talk = await world.talk(UDP)
        assert await talk.ask() == "11:9376"
        await world.hold(*change)
        assert await talk.ask() == answered
        await talk.close()

    play(opened, scenario)


STICKY = {"sessionAffinity": "ClientIP"}
THREE = (endpoint(11), endpoint(12), endpoint(13))


def test_a_client_sticks_to_one_endpoint_over_all_frontends_of_a_port(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        ports = [{"name": "http", "port": 8080, "nodePort": 30080}]
        await world.hold(*web(*THREE, type="NodePort", ports=ports, **STICKY))
        first = await world.outcomes(TCP)
        assert len(first) == 1
        assert await world.outcomes(to(NODE, 30080)) == first

    play(opened, scenario)


def test_many_sticky_clients_spread(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(*THREE, **STICKY))
        met = [await world.outcomes(to(cluster_ip(), source=pod(100 + number))) for number in range(20)]
        assert all(len(found) == 1 for found in met)
        assert set().union(*met) == names(11, 12, 13)

    play(opened, scenario)


def test_an_endpoint_that_was_away_and_returns_has_forgotten_its_clients(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(*THREE, **STICKY))
        (first,) = await world.outcomes(TCP)
        others = [found for found in THREE if not first.startswith(found["addresses"][0].rpartition(".")[2])]
        await world.hold(*web(*others, **STICKY))
        (second,) = await world.outcomes(TCP)
        assert second != first
        await world.hold(*web(*THREE, **STICKY))
        assert await world.outcomes(TCP) == {second}

    play(opened, scenario)


def test_affinity_is_switched_off_live(opened: Opened) -> None:
    async def scenario(world: World) -> None:
        await world.hold(*web(*THREE, **STICKY))
        await world.hold(*web(*THREE))
        assert await world.outcomes(TCP) == names(11, 12, 13)

    play(opened, scenario)
