"""Where the kernel's data plane ends: what has no room is refused and said so, and a lost answer is no lost change."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable

import pytest

from compiled import GROUND
from dataplanes import to
from forwarded import cluster_ip, endpoint, service, slice_of, table_of
from inkernel import answering, in_kernel
from namespaces import Namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.forwarding import nft
from pierhead.forwarding.diff import diff, whole
from pierhead.forwarding.nftlayout import FIRST_TERMS
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName

ROOM = 20
"""Numbers of endpoints, times affinities: of as many as there is room for the kernel takes a quarter of a minute."""


def table(services: Iterable[Backends]) -> ForwardingTable:
    """Services on ports from 1 on of one cluster IP."""
    rules, backends = {}, {}
    for port, found in enumerate(services, 1):
        key = PortKey(ServiceName("default", f"web{port}"), "http", "TCP", "IPv4")
        rules[Frontend("TCP", cluster_ip(), port)] = Rule(key, "cluster", "Cluster")
        backends[key] = found
    return ForwardingTable(rules, backends)


def many(count: int, affinity: int = 0) -> Backends:
    found = tuple(Endpoint(f"127.80.{number // 250}.{number % 250 + 1}", 9476) for number in range(count))
    return Backends(found, (), found, affinity)


def test_a_service_with_a_thousand_endpoints(namespace: Namespace) -> None:
    async def scenario() -> None:
        async with in_kernel(namespace) as world, answering(world.sockets, "0.0.0.0", 9476, "somebody"):
            assert await world.dataplane.commit(whole(table([many(1_000)]))) == []
            assert await world.outcomes(to(cluster_ip(), 1)) == {"somebody"}
        listed = namespace.nft("list", "set", "ip", "pierhead", "traffic")
        assert listed.count("127.80.") > 20, "one after the other has its turn"

    asyncio.run(scenario())


def test_more_kinds_of_choices_than_the_mark_tells_apart(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "TERMS", FIRST_TERMS + ROOM)

    async def scenario() -> None:
        async with in_kernel(namespace) as world, answering(world.sockets, "0.0.0.0", 9476, "somebody"):
            crowded = table(many(1, affinity) for affinity in range(1, ROOM + 3))
            refused = await world.dataplane.commit(whole(crowded))
            assert [found.reason for found in refused] == ["NoRoom", "NoRoom"]
            assert await world.outcomes(to(cluster_ip(), 1)) == {"somebody"}
            assert await world.outcomes(to(cluster_ip(), refused[0].port)) == {"refused"}
            fewer = table(many(1, affinity) for affinity in range(3, ROOM + 3))
            assert await world.dataplane.commit(diff(crowded, fewer)) == []
            assert await world.outcomes(to(cluster_ip(), ROOM)) == {"somebody"}

    asyncio.run(scenario())


def test_a_change_of_thousands_of_endpoints_is_programmed_whatever_the_send_buffer(namespace: Namespace) -> None:
    async def scenario() -> None:
        dataplane = Nftables([GROUND], namespace.open())
        await dataplane.commit(whole(table([])))
        assert await dataplane.commit(diff(table([]), table([many(20_000)]))) == []
        assert namespace.nft("list", "map", "ip", "pierhead", "endpoints").count("127.80.") == 20_000

    asyncio.run(scenario())


class Deaf:
    """A socket that loses an answer when it is told to."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made
        self.losing = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._made, name)

    def recv(self, size: int) -> bytes:
        data = self._made.recv(size)
        if self.losing:
            self.losing = False
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return data


def test_after_a_lost_answer_everything_is_written_again(namespace: Namespace) -> None:
    async def scenario() -> None:
        deaf = Deaf(namespace.socket())
        dataplane = Nftables([GROUND], Netlink(deaf))  # type: ignore[arg-type]
        one, two = (table_of(service(), slice_of("web", endpoint(number))) for number in (11, 12))
        await dataplane.commit(whole(one))
        deaf.losing = True
        with pytest.raises(OSError, match="transaction"):
            await dataplane.commit(diff(one, two))
        assert await dataplane.commit(()) == []
        listed = namespace.nft("list", "map", "ip", "pierhead", "endpoints")
        assert (".11 . 9376" in listed, ".12 . 9376" in listed) == (False, True)
        await dataplane.close()

    asyncio.run(scenario())
