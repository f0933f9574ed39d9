"""UDP flows in the kernel's connection tracking: when a commit has returned none is left on a server that is nobody's any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dataplanes import Object, to
from forwarded import NODE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from inkernel import InKernel, in_kernel
from namespaces import Namespace
from pierhead.forwarding.diff import whole
from pierhead.forwarding.nftlayout import packed
from pierhead.wire import conntrack
from pierhead.wire.nftables import Family

UDP = 17
DNS = [{"name": "dns", "port": 8080, "protocol": "UDP", "nodePort": 30053}]
MANY = 1_200
"""More than is deleted at once."""


def dns(name: str, *numbers: int, port: int = 9376, **spec: Any) -> tuple[Object, ...]:
    """A Service with a cluster IP, a node port and what else is given."""
    targets = [{"name": "dns", "protocol": "UDP", "port": port}]
    spec = {"ports": DNS, "type": "NodePort"} | spec
    return service(name, **spec), slice_of(name, *map(endpoint, numbers), ports=targets)


def play(namespace: Namespace, scenario: Callable[[InKernel], Awaitable[None]]) -> None:
    async def run() -> None:
        async with in_kernel(namespace) as world:
            await scenario(world)

    asyncio.run(run())


def flows(namespace: Namespace, address: str) -> list[tuple[bytes, int]]:
    """From where the answers come of each flow to an address."""
    found = map(conntrack.read, namespace.open().request(conntrack.dump(Family.IP, UDP)))
    return [
        (flow.reply.source, flow.reply.source_port) for flow in found if flow.original.destination == packed(address)
    ]


FRONTENDS = [(cluster_ip(), 8080), (NODE, 30053), (VIP, 8080)]


@pytest.mark.parametrize(("address", "port"), FRONTENDS, ids=["cluster IP", "node port", "external IP"])
def test_a_flow_follows_its_endpoint_and_ends_with_the_last(namespace: Namespace, address: str, port: int) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*dns("web", 11, externalIPs=[VIP]))
        talk = await world.talk(to(address, port, protocol="UDP", source=pod(20)))
        assert await talk.ask() == "11:9376"
        await world.hold(*dns("web", 12, externalIPs=[VIP]))
        assert flows(namespace, address) == []
        assert await talk.ask() == "12:9376"
        await world.hold(*dns("web", 12, port=9377, externalIPs=[VIP]))
        assert await talk.ask() == "12:9377"
        await world.hold(*dns("web", externalIPs=[VIP]))
        assert flows(namespace, address) == []
        await talk.close()

    play(namespace, scenario)


def test_an_address_that_goes_to_another_service_takes_its_flows_along(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        other = dns("other", 13, clusterIP=cluster_ip(2), ports=[DNS[0] | {"nodePort": 30054}])
        await world.hold(*dns("web", 11), *other)
        talk = await world.talk(to(cluster_ip(), protocol="UDP"))
        assert await talk.ask() == "11:9376"
        await world.hold(*dns("other", 13))
        assert await talk.ask() == "13:9376"
        await talk.close()

    play(namespace, scenario)


def test_nothing_is_left_of_a_service_that_is_gone(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*dns("web", 11), *dns("other", 12, clusterIP=cluster_ip(2), type="ClusterIP"))
        for address in (cluster_ip(), cluster_ip(2)):
            talk = await world.talk(to(address, protocol="UDP"))
            await talk.ask()
            await talk.close()
        await world.hold(*dns("other", 12, clusterIP=cluster_ip(2), type="ClusterIP"))
        assert flows(namespace, cluster_ip()) == []
        assert len(flows(namespace, cluster_ip(2))) == 1, "nobody else's flow is touched"

    play(namespace, scenario)


def test_nothing_is_left_of_a_service_that_went_while_nobody_looked(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        other = dns("other", 12, clusterIP=cluster_ip(2), type="ClusterIP")
        await world.hold(*dns("web", 11), *other)
        past = await world.talk(to(pod(13), 9376, protocol="UDP"))
        for talk in (
            past,
            *[await world.talk(to(address, protocol="UDP")) for address in (cluster_ip(), cluster_ip(2))],
        ):
            await talk.ask()
            await talk.close()
        await world.dataplane.commit(whole(table_of(*other)))
        found = [len(flows(namespace, address)) for address in (cluster_ip(), cluster_ip(2), pod(13))]
        assert found == [0, 1, 1], "who still serves, and who was asked himself, is not touched"

    play(namespace, scenario)


def test_a_thousand_flows_have_moved_when_the_commit_returns(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*dns("web", 11, 12))
        for _ in range(MANY):
            talk = await world.talk(to(cluster_ip(), protocol="UDP"))
            talk.socket.send(b"?")
            await talk.close()
        assert len(flows(namespace, cluster_ip())) > MANY * 0.9, "some had the same port by chance"
        await world.hold(*dns("web", 12, 13))
        assert set(flows(namespace, cluster_ip())) == {(packed(pod(12)), 9376)}

    play(namespace, scenario)
