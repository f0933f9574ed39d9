"""The data plane in the real kernel: what lasts while the table changes, who else may have been there, and what ``nft`` shows."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from compiled import GROUND
from dataplanes import Object, names, to
from forwarded import NODE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from inkernel import InKernel, in_kernel
from namespaces import Namespace
from pierhead.dataplane import trial
from pierhead.dataplane.netlink import Connection, Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.ruleset_watch import Commit, RulesetWatch
from pierhead.errors import KernelError
from pierhead.forwarding.diff import SetBackends, whole
from pierhead.forwarding.nftlayout import Ground, Layout
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Family

SIX = Ground(
    Family.IP6, "uid", ("fd00::1",), (ip_network("fd00:10:96::/112"),), (ip_network("fd00:10:244::/64"),), ("up0",)
)

TCP, UDP = to(cluster_ip()), to(cluster_ip(), protocol="UDP")
DNS = [{"name": "dns", "port": 8080, "protocol": "UDP"}]
STICKY = {"sessionAffinity": "ClientIP"}
SIX = Ground(Family.IP6, "uid", ("fd00:100::11",), (ip_network("fd00:10:96::/112"),), (ip_network("fd00:10:244::/48"),))


def web(*numbers: int, **spec: Any) -> tuple[Object, ...]:
    return service(**spec), slice_of("web", *map(endpoint, numbers))


def dns(*numbers: int) -> tuple[Object, ...]:
    ports = [{"name": "dns", "protocol": "UDP", "port": 9376}]
    return service(ports=DNS), slice_of("web", *map(endpoint, numbers), ports=ports)


def play(namespace: Namespace, scenario: Callable[[InKernel], Awaitable[None]]) -> None:
    async def run() -> None:
        async with in_kernel(namespace) as world:
            await scenario(world)

    asyncio.run(run())


def test_an_open_connection_outlives_its_endpoint_and_its_service(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        talk = await world.talk(TCP)
        for objects in (web(12), web(), ()):
            await world.hold(*objects)
            assert await talk.ask() == "11:9376"
        await talk.close()

    play(namespace, scenario)


def test_a_udp_flow_moves_when_its_endpoint_goes_and_ends_with_the_last(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*dns(11))
        talk = await world.talk(UDP)
        assert await talk.ask() == "11:9376"
        await world.hold(*dns(11, 12))
        assert await talk.ask() == "11:9376"
        await world.hold(*dns(12))
        assert await talk.ask() == "12:9376"
        await world.hold(*dns())
        with pytest.raises(PermissionError):
            await talk.ask()
        await talk.close()

    play(namespace, scenario)


def test_a_client_sticks_over_all_frontends_until_its_endpoint_goes(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        ports = [{"name": "http", "port": 8080, "nodePort": 30080}]
        spec = {"type": "NodePort", "ports": ports, "externalIPs": [VIP], **STICKY}
        await world.hold(*web(11, 12, 13, **spec))
        (kept,) = await world.outcomes(TCP)
        assert await world.outcomes(to(NODE, 30080)) == await world.outcomes(to(VIP)) == {kept}
        others = {11, 12, 13} - {int(kept.partition(":")[0])}
        await world.hold(*web(*others, **spec))
        (moved,) = await world.outcomes(TCP)
        assert moved in names(*others)
        await world.hold(*web(11, 12, 13, type="NodePort", ports=ports, externalIPs=[VIP]))
        assert await world.outcomes(TCP) == names(11, 12, 13)

    play(namespace, scenario)


def test_an_open_connection_outlives_that_its_client_is_no_longer_welcome(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        there = {"type": "LoadBalancer", "ingress": [VIP]}
        await world.hold(*web(11, **there))
        talk = await world.talk(to(VIP, source=pod(20)))
        assert await talk.ask() == "11:9376"
        await world.hold(*web(11, loadBalancerSourceRanges=["192.0.2.0/24"], **there))
        assert await world.outcomes(to(VIP, source=pod(20))) == {"dropped"}
        assert await talk.ask() == "11:9376"
        await talk.close()

    play(namespace, scenario)


def test_no_packet_leaves_with_our_mark_on_it(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        hook = "type filter hook postrouting priority 200;"
        namespace.nft(f"table ip foreign {{ chain c {{ {hook} ct status dnat counter; meta mark != 0 counter; }}; }}")
        assert await world.outcomes(TCP) == names(11)
        translated, marked = re.findall(r"counter packets (\d+)", namespace.nft("list", "table", "ip", "foreign"))
        assert int(translated) > 0
        assert int(marked) == 0

    play(namespace, scenario)


def test_no_wildcard_listener_is_reached_through_a_service_address(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        with world.sockets.listening("0.0.0.0", 22):
            await (await world.talk(to(NODE, 22))).close()
            assert await world.outcomes(to(cluster_ip(), 22)) == {"refused"}
            assert await world.outcomes(to(cluster_ip(77), 22)) == {"dropped"}

    play(namespace, scenario)


def test_what_somebody_else_changed_is_written_again(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        namespace.nft("flush", "map", "ip", "pierhead", "frontends")
        assert await world.dataplane.commit(()) == []
        assert await world.outcomes(TCP) == names(11)
        namespace.nft("flush", "chain", "ip", "pierhead", "services")
        await world.hold(*web(12))
        assert await world.outcomes(TCP) == names(12)

    play(namespace, scenario)


def test_a_table_that_somebody_put_to_sleep_is_seen_by_the_next_change_and_wakes(namespace: Namespace) -> None:
    """Also where a chain of its hooks is gone, which a transaction that wakes it could not make."""

    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        for harm in ((), ("flush table ip pierhead; delete chain ip pierhead hide",)):
            for command in (*harm, "add table ip pierhead { flags dormant; }"):
                namespace.nft(command)
            assert "flags dormant" in namespace.nft("list", "table", "ip", "pierhead")
            assert await world.dataplane.commit(()) == []
            assert "flags dormant" not in namespace.nft("list", "table", "ip", "pierhead")
            assert await world.outcomes(TCP) == names(11)

    play(namespace, scenario)


def test_changes_to_other_tables_are_nobodys_business(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        before = namespace.nft("--handle", "list", "chain", "ip", "pierhead", "services")
        namespace.nft("add", "table", "ip", "foreign")
        await world.dataplane.commit(())
        await world.hold(*web(12))
        assert namespace.nft("--handle", "list", "chain", "ip", "pierhead", "services") == before
        assert await world.outcomes(TCP) == names(12)

    play(namespace, scenario)


def test_a_restart_keeps_sticky_clients_and_leaves_nothing_of_before(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        other = service("other", clusterIP=cluster_ip(2)), slice_of("other", endpoint(14))
        await world.hold(*web(11, 12, 13, **STICKY), *other)
        kept = await world.outcomes(TCP)
        again = Nftables([GROUND], namespace.open())
        await again.commit(whole(table_of(*web(11, 12, 13, **STICKY))))
        assert await world.outcomes(TCP) == kept
        assert await world.outcomes(to(cluster_ip(2))) == {"dropped"}

    play(namespace, scenario)


def test_another_regions_table_is_left_alone(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        other = Nftables([replace(GROUND, owner="another")], namespace.open())
        with pytest.raises(OSError, match="table ip pierhead: belongs to 'uid'"):
            await other.commit(whole(table_of()))
        assert await world.outcomes(TCP) == names(11)

    play(namespace, scenario)


@pytest.mark.parametrize("ground", [replace(GROUND, uplinks=("up0",)), SIX], ids=["IPv4", "IPv6"])
def test_a_table_is_founded_after_all_that_it_may_need_was_tried(namespace: Namespace, ground: Ground) -> None:
    with namespace.open() as kernel:
        trial.undergo(kernel, Layout(ground))
        assert namespace.nft("list", "tables") == ""
        Nftables([ground], kernel).found()
    assert "sticky" not in namespace.nft("list", "table", ground.family.name.lower(), "pierhead")


def test_a_set_that_is_full_becomes_a_larger_one(namespace: Namespace) -> None:
    async def scenario() -> None:
        dataplane = Nftables([replace(GROUND, capacity=4)], namespace.open())
        await dataplane.commit(whole(table_of(*web(11))))
        await dataplane.commit(whole(table_of(*web(11, 12, 13))))
        assert "size 8" in namespace.nft("list", "map", "ip", "pierhead", "endpoints")

    asyncio.run(scenario())


KEY_SIX = PortKey(ServiceName("default", "web"), "http", "TCP", "IPv6")


def large() -> ForwardingTable:
    key = KEY_SIX
    endpoints = tuple(Endpoint(f"fd00:10:244::{number:x}", 8080) for number in range(1, 10_001))
    rules = {Frontend("TCP", "fd00:10:96::1", 80): Rule(key, "cluster", "Cluster")}
    return ForwardingTable(rules, {key: Backends(endpoints, (), endpoints)})


def test_a_large_table_is_loaded_whatever_the_send_buffer(namespace: Namespace) -> None:
    """A user namespace has 208 KiB of it, for which this is too much at once."""

    async def scenario() -> None:
        dataplane = Nftables([SIX], namespace.open())
        await dataplane.commit(whole(large()))
        assert namespace.nft("list", "map", "ip6", "pierhead", "endpoints").count("fd00:10:244::") == 10_000

    asyncio.run(scenario())


def test_connections_are_counted_for_each_endpoint(namespace: Namespace) -> None:
    async def scenario(world: InKernel) -> None:
        await world.hold(*web(11))
        for _ in range(3):
            talk = await world.talk(TCP)
            assert await talk.ask() == "11:9376"
            await talk.close()
        listed = namespace.nft("list", "set", "ip", "pierhead", "traffic")
        assert f"{pod(11)} . 9376 counter packets 3 " in listed

    play(namespace, scenario)


class Followed(Netlink):
    """One whose transaction somebody follows at once, before anything can be asked."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.then: list[Callable[[], object]] = []

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        told = super().transact(messages, generation=generation)
        if self.then:
            self.then.pop()()
        return told


HARM = {
    "rules": "flush chain ip pierhead services",
    "elements": "flush map ip pierhead frontends",
    "a policy": "add chain ip pierhead guard-out { policy drop; }",
    "a chain": "add chain ip pierhead his { type filter hook output priority -300; policy drop; }",
}
NEXT = {
    "a load": (),
    "another endpoint": web(12),
    "a rule more": web(11, 12),
    "fewer sticky clients": web(11, **STICKY),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("after", NEXT)
def test_a_stranger_who_comes_right_after_a_commit_is_seen(namespace: Namespace, harm: str, after: str) -> None:
    async def scenario(world: InKernel) -> None:
        kernel = Followed(namespace.socket())
        world.dataplane = Nftables([GROUND], kernel)
        if NEXT[after]:
            await world.hold(*web(11, 12, **STICKY) if "sticky" in after else web(11))
            await world.once(TCP)
        kernel.then.append(partial(namespace.nft, HARM[harm]))
        await world.hold(*NEXT[after] or web(11))
        assert kernel.then == []
        await world.dataplane.commit(())
        assert await world.once(TCP) in names(11, 12)
        await world.dataplane.close()

    play(namespace, scenario)


def test_a_table_of_our_name_in_a_family_where_we_have_none_is_nobodys_business(namespace: Namespace) -> None:
    async def scene() -> None:
        dataplane = Nftables([GROUND], namespace.open())
        await dataplane.commit(whole(table_of(*web(11))))
        namespace.nft("add", "table", "inet", "pierhead", "{ flags dormant; }")
        before = namespace.nft("-a", "list", "table", "ip", "pierhead")
        await dataplane.commit(())
        assert namespace.nft("-a", "list", "table", "ip", "pierhead") == before
        await dataplane.close()

    asyncio.run(scene())


def test_a_stranger_who_comes_between_two_pieces_of_a_load_is_seen(namespace: Namespace) -> None:
    """Where the send buffer is small; elsewhere he comes after all of it."""

    async def scene() -> None:
        kernel = Followed(namespace.socket())
        dataplane = Nftables([SIX], kernel)
        kernel.then.append(partial(namespace.nft, "flush chain ip6 pierhead services"))
        with suppress(OSError):
            await dataplane.commit(whole(large()))
        await dataplane.commit(())
        seen = namespace.nft("list", "chain", "ip6", "pierhead", "services")
        await dataplane.commit(whole(large()))
        assert seen == namespace.nft("list", "chain", "ip6", "pierhead", "services")
        await dataplane.close()

    asyncio.run(scene())


def test_a_stranger_who_came_before_anybody_listened_is_told_of(namespace: Namespace) -> None:
    async def scene() -> None:
        kernel = Followed(namespace.socket())
        dataplane = Nftables([GROUND], kernel, RulesetWatch(namespace.socket()))
        kernel.then.append(partial(namespace.nft, HARM["rules"]))
        await dataplane.commit(whole(table_of(*web(11))))
        async with asyncio.timeout(5):
            found = await dataplane.disturbed()
        assert (found.program, found.where) == ("", "table ip pierhead")
        await dataplane.close()

    asyncio.run(scene())


class Awaited(RulesetWatch):
    """Says when it hears and all has been looked at: who acts before that is not heard by his name."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.waiting = asyncio.Event()

    async def wait(self) -> None:
        self.waiting.set()
        await super().wait()


class Stumbling(Awaited):
    """Loses once what it has heard."""

    stumbled = False

    def read(self) -> list[Commit]:
        found = super().read()
        if not self.stumbled:
            self.stumbled = True
            raise KernelError(errno.EIO, "the ruleset's notices", "no more of them")
        return found


def test_what_was_done_while_nothing_could_be_heard_is_told_to_who_asks_again(namespace: Namespace) -> None:
    async def scene() -> None:
        watch = Stumbling(namespace.socket())
        dataplane = Nftables([GROUND], namespace.open(), watch)
        await dataplane.commit(whole(table_of(*web(11))))
        disturbed = asyncio.create_task(dataplane.disturbed())
        await watch.waiting.wait()
        namespace.nft(HARM["rules"])
        with pytest.raises(OSError, match="no more of them"):
            await disturbed
        async with asyncio.timeout(5):
            assert (await dataplane.disturbed()).where == "table ip pierhead"
        await dataplane.close()

    asyncio.run(scene())


class Losing(Awaited):
    """Of what it heard it knows only that it was something."""

    def read(self) -> list[Commit]:
        return [Commit(complete=False)] if super().read() else []


def everything() -> ForwardingTable:
    """Something in every set, in both families."""
    ports = [{"name": "http", "port": 8080, "nodePort": 30080}]
    spec = {"type": "LoadBalancer", "ports": ports, "ingress": [VIP], "externalTrafficPolicy": "Local", **STICKY}
    four = table_of(
        *web(11, 12, loadBalancerSourceRanges=["192.0.2.0/24"], **spec),
        service("other", clusterIP=cluster_ip(2)),
        slice_of("other", endpoint(13)),
    )
    six = large()
    return ForwardingTable({**four.rules, **six.rules}, {**four.backends, **six.backends})


EXCHANGED = {
    "endpoints": (" . 9376$", " . 9377"),
    "frontends": ("0x00(.)", r"0x01\1"),
    "strangers": ("0x00(.)", r"0x01\1"),
    "guarded": ("jump guard1", "jump verdicts"),
    "terms": ("goto .*", "goto n1"),
    "learning": ("jump .*", "jump guard1"),
    "cluster-ips": (".*", "192.0.2.1"),
    "hairpin": (".*", "192.0.2.1 . 192.0.2.1"),
    "nodes": (".*", "192.0.2.1"),
}


def exchanged(namespace: Namespace, name: str) -> str:
    """The command that puts another element in the place of one."""
    kind = "set" if EXCHANGED[name][1].startswith("192") else "map"
    listed = namespace.nft("list", kind, "ip", "pierhead", name)
    (elements,) = re.findall(r"elements = \{(.*?)\}", listed, re.DOTALL)
    every = [one.strip() for one in elements.split(",")]
    other = {one: re.sub(*EXCHANGED[name], one, count=1) for one in every}
    before = next(one for one, after in other.items() if one != after)
    where = f"element ip pierhead {name}"
    return f"delete {where} {{ {before.partition(' : ')[0]} }}; add {where} {{ {other[before]} }}"


@pytest.mark.parametrize("name", EXCHANGED)
def test_one_element_for_another_is_seen_although_the_notice_of_it_was_lost(namespace: Namespace, name: str) -> None:
    async def scene() -> None:
        watch = Losing(namespace.socket())
        dataplane = Nftables([GROUND, SIX], namespace.open(), watch)
        await dataplane.commit(whole(everything()))
        disturbed = asyncio.create_task(dataplane.disturbed())
        await watch.waiting.wait()
        namespace.nft(exchanged(namespace, name))
        await dataplane.commit(())  # which sees that there are as many as before
        async with asyncio.timeout(20):
            assert (await disturbed).where == "table ip pierhead, table ip6 pierhead"
        await dataplane.close()

    asyncio.run(scene())


def test_where_notices_were_lost_and_nothing_is_another_nobody_is_accused(namespace: Namespace) -> None:
    async def scene() -> None:
        watch = Losing(namespace.socket())
        dataplane = Nftables([GROUND, SIX], namespace.open(), watch)
        await dataplane.commit(whole(everything()))
        disturbed = asyncio.create_task(dataplane.disturbed())
        some = large().backends[KEY_SIX].cluster[:77]
        fewer = SetBackends(KEY_SIX, Backends(some, (), some))
        for changes in ((), (fewer,)):
            await watch.waiting.wait()
            watch.waiting.clear()
            namespace.nft("add table ip foreign; delete table ip foreign")
            await dataplane.commit(changes)
        async with asyncio.timeout(20):
            await watch.waiting.wait()
        assert not disturbed.done()
        disturbed.cancel()
        await dataplane.close()

    asyncio.run(scene())


def test_of_the_tables_of_both_families_those_that_somebody_changed_are_named(namespace: Namespace) -> None:
    async def scene() -> None:
        watch = Awaited(namespace.socket())
        dataplane = Nftables([GROUND, SIX], namespace.open(), watch)
        await dataplane.commit(whole(ForwardingTable()))
        disturbed = asyncio.create_task(dataplane.disturbed())
        await watch.waiting.wait()
        namespace.nft("flush chain ip6 pierhead services")
        async with asyncio.timeout(5):
            found = await disturbed
        assert (found.program, found.where) == ("nft", "table ip6 pierhead")
        await dataplane.close()

    asyncio.run(scene())
