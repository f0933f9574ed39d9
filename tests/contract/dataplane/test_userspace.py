"""What is the userspace proxy's own: sockets, their ends, limits and refusals."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from msgspec.structs import replace

from dataplanes import Object, Sockets, SocketTalk, connect, names, sockets, to
from forwarded import HERE, NETWORK, NODE, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.dataplane import userspace
from pierhead.dataplane.relay import abort
from pierhead.dataplane.udp import UdpListener
from pierhead.dataplane.userspace import Userspace
from pierhead.forwarding.diff import whole

CLUSTER = to(cluster_ip())
SERVER = 21
"""The number of a pod whose socket belongs to the test."""
WEB = (service(), slice_of("web", endpoint(SERVER)))


def play(scenario: Callable[[Sockets], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with sockets(**options) as world:
            await scenario(world)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    """Lets the loop turn until something holds."""
    async with asyncio.timeout(5):
        for turn in itertools.count():
            if holds():
                return
            await asyncio.sleep(0.001 if turn > 1000 else 0)


@asynccontextmanager
async def pair(world: Sockets) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and the pod's, with the proxy between them."""
    loop = asyncio.get_running_loop()
    with listening(SERVER) as server:
        await world.hold(*WEB)
        client = (await connect(CLUSTER)).socket
        pods_end, _ = await loop.sock_accept(server)
        with client, pods_end:
            yield client, pods_end


def listening(number: int) -> socket.socket:
    server = socket.create_server((pod(number), 9376))
    server.setblocking(False)
    return server


async def receive(found: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    received = b""
    while part := await asyncio.get_running_loop().sock_recv(found, 1 << 20):
        received += part
    return received


@pytest.mark.parametrize("first", ["client", "server"])
def test_one_side_may_end_while_the_other_goes_on(first: str) -> None:
    async def scenario(world: Sockets) -> None:
        loop = asyncio.get_running_loop()
        async with pair(world) as (client, server):
            ending, going = (client, server) if first == "client" else (server, client)
            await loop.sock_sendall(ending, b"question")
            ending.shutdown(socket.SHUT_WR)
            assert await receive(going) == b"question"
            await loop.sock_sendall(going, b"answer")
            going.shutdown(socket.SHUT_WR)
            assert await receive(ending) == b"answer"

    play(scenario)


def test_a_slow_reader_slows_the_writer_and_loses_nothing() -> None:
    async def scenario(world: Sockets) -> None:
        loop = asyncio.get_running_loop()
        async with pair(world) as (client, server):
            sent = bytes(range(256)) * (1 << 17)
            sending = asyncio.ensure_future(loop.sock_sendall(client, sent))
            stalled = await until_stalled(world)
            assert stalled < 1 << 20
            assert not sending.done()
            reading = asyncio.ensure_future(receive(server))
            await sending
            client.shutdown(socket.SHUT_WR)
            assert await reading == sent

    play(scenario)


async def until_stalled(world: Sockets) -> int:
    """Bytes that the proxy itself holds once it reads no more."""
    (connection,) = world.dataplane._tcp.connections
    assert connection._relay is not None
    client, upstream = connection._relay.ends
    await until(lambda: bool(upstream._pending) and not client._interest)
    return len(upstream._pending)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(first: str) -> None:
    async def scenario(world: Sockets) -> None:
        async with pair(world) as (client, server):
            breaking, other = (client, server) if first == "client" else (server, client)
            abort(breaking)
            with pytest.raises(ConnectionResetError):
                await receive(other)

    play(scenario)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_after_an_end_of_stream_still_reaches_the_other_side(first: str) -> None:
    async def scenario(world: Sockets) -> None:
        async with pair(world) as (client, server):
            breaking, other = (client, server) if first == "client" else (server, client)
            breaking.shutdown(socket.SHUT_WR)
            assert await receive(other) == b""
            abort(breaking)
            await until(lambda: bool(other.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
            await until(lambda: not world.dataplane._tcp.connections)

    play(scenario)


def test_a_client_that_breaks_while_its_server_reads_nothing_is_noticed() -> None:
    async def scenario(world: Sockets) -> None:
        async with pair(world) as (client, server):
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(client, bytes(1 << 25)))
            await until_stalled(world)
            sending.cancel()
            abort(client)
            await until(lambda: not world.dataplane._tcp.connections)
            with pytest.raises(ConnectionResetError):
                await receive(server)

    play(scenario)


def test_what_is_gone_is_forgotten() -> None:
    async def scenario(world: Sockets) -> None:
        await world.hold(service(), slice_of("web", endpoint(11)))
        await world.hold()
        held = world.dataplane
        assert [*held._balancers, *held._served, *held._frontends, *held._listeners, *held._refused] == []

    play(scenario)


def test_an_endpoint_that_refuses_is_replaced_by_another_one() -> None:
    async def scenario(world: Sockets) -> None:
        await world.hold(service(), slice_of("web", endpoint(31), endpoint(32), endpoint(11)))
        assert await world.outcomes(CLUSTER) == names(11)

    play(scenario)


def test_a_client_is_reset_when_every_endpoint_refuses() -> None:
    async def scenario(world: Sockets) -> None:
        await world.hold(service(), slice_of("web", endpoint(31), endpoint(32)))
        assert await world.outcomes(CLUSTER) == {"refused"}

    play(scenario)


def test_an_endpoint_that_says_nothing_is_given_up_for_another_one() -> None:
    async def scenario(world: Sockets) -> None:
        world.dataplane._tcp.connect_seconds = 0.05
        with socket.create_server((pod(SERVER), 9376), backlog=0) as full, socket.socket() as filling:
            filling.connect(full.getsockname())  # a backlog of 0 holds one: what comes now gets no answer
            await world.hold(service(), slice_of("web", endpoint(SERVER), endpoint(11)))
            assert await world.outcomes(CLUSTER) == names(11)

    play(scenario)


def test_a_datagram_to_a_pod_that_does_not_listen_goes_to_another_one() -> None:
    async def scenario(world: Sockets) -> None:
        dns = service(ports=[{"name": "dns", "port": 8080, "protocol": "UDP"}])
        ports = [{"name": "dns", "port": 9376, "protocol": "UDP"}]
        await world.hold(dns, slice_of("web", endpoint(31), ports=ports))
        talk = await connect(to(cluster_ip(), protocol="UDP"))
        await asyncio.get_running_loop().sock_sendall(talk.socket, b"lost")
        await world.hold(dns, slice_of("web", endpoint(31), endpoint(11), ports=ports))
        while (answer := await asked(talk)) is None:
            pass
        assert answer == "11:9376"
        await talk.close()

    play(scenario)


async def asked(talk: SocketTalk) -> str | None:
    """None: the datagram went to a pod that does not listen."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(talk.socket, b"who?")
    try:
        async with asyncio.timeout(0.1):
            return (await loop.sock_recv(talk.socket, 100)).decode()
    except TimeoutError:
        return None


def udp_web() -> tuple[Object, ...]:
    ports = [{"name": "dns", "port": 9376, "protocol": "UDP"}]
    return (
        service(ports=[{"name": "dns", "port": 8080, "protocol": "UDP"}]),
        slice_of("web", endpoint(11), ports=ports),
    )


def test_a_quiet_flow_is_forgotten_and_begins_anew() -> None:
    async def scenario(world: Sockets) -> None:
        await world.hold(*udp_web())
        talk = await connect(to(cluster_ip(), protocol="UDP"))
        assert await talk.ask() == "11:9376"
        (listener,) = world.dataplane._listeners.values()
        assert isinstance(listener, UdpListener)
        flows = listener.flows
        await until(lambda: not flows)
        assert await talk.ask() == "11:9376"
        await talk.close()

    play(scenario, udp_idle=0.02)


def test_at_the_limit_of_flows_the_quietest_one_makes_room() -> None:
    async def scenario(world: Sockets) -> None:
        world.dataplane._udp.limit = 2
        await world.hold(*udp_web())
        talks = [await connect(to(cluster_ip(), protocol="UDP")) for _ in range(3)]
        for talk in talks:
            assert await talk.ask() == "11:9376"
        (listener,) = world.dataplane._listeners.values()
        assert isinstance(listener, UdpListener)
        held = [peer[1] for peer in listener.flows]
        assert held == [talk.socket.getsockname()[1] for talk in talks[1:]]
        for talk in talks:
            await talk.close()

    play(scenario)


def test_at_the_limit_of_all_flows_the_busiest_frontend_makes_room() -> None:
    async def scenario(world: Sockets) -> None:
        world.dataplane._udp.total = 3
        dns = [{"name": "dns", "port": 8080, "protocol": "UDP"}]
        ports = [{"name": "dns", "port": 9376, "protocol": "UDP"}]
        other = service("other", ports=dns, clusterIP=cluster_ip(2)), slice_of("other", endpoint(12), ports=ports)
        await world.hold(*udp_web(), *other)
        quiet = await connect(to(cluster_ip(2), protocol="UDP"))
        busy = [await connect(to(cluster_ip(), protocol="UDP")) for _ in range(4)]
        for talk in (quiet, *busy):
            assert await talk.ask() == ("12:9376" if talk is quiet else "11:9376")
        held = {peer[1] for listener in world.dataplane._udp.listeners for peer in listener.flows}
        assert held == {talk.socket.getsockname()[1] for talk in (quiet, *busy[-2:])}
        for talk in (quiet, *busy):
            await talk.close()
        await world.hold()
        assert world.dataplane._udp.flows == 0

    play(scenario)


def test_at_the_limit_of_connections_clients_wait_for_others_to_leave() -> None:
    async def scenario(world: Sockets) -> None:
        world.dataplane._tcp.limit = 1
        await world.hold(service(), slice_of("web", endpoint(11)))
        first, second = await connect(CLUSTER), await connect(CLUSTER)
        assert await first.ask() == "11:9376"
        asking = asyncio.ensure_future(second.ask())
        assert await first.ask() == "11:9376"
        assert not asking.done()
        await first.close()
        assert await asking == "11:9376"
        await second.close()

    play(scenario)


def test_at_the_limit_of_listeners_a_frontend_is_refused_until_others_leave() -> None:
    async def scenario(world: Sockets) -> None:
        world.dataplane._most_listeners = 1
        first = service(), slice_of("web", endpoint(11))
        second = service("later", clusterIP=cluster_ip(2)), slice_of("later", endpoint(12))
        (refusal,) = await world.dataplane.commit(whole(table_of(*first, *second)))
        assert (refusal.service.name, refusal.reason) == ("later", "NoRoom")
        assert "ulimit -n " in refusal.message
        assert await world.outcomes(CLUSTER) == names(11)
        assert await world.dataplane.commit(whole(table_of(*second))) == []
        assert await world.outcomes(to(cluster_ip(2))) == names(12)

    play(scenario)


@pytest.mark.parametrize(("limit", "spared"), [(128, 64), (4096, 1024)])
def test_all_that_it_holds_at_its_limits_leaves_some_for_others(
    monkeypatch: pytest.MonkeyPatch, limit: int, spared: int
) -> None:
    async def scenario(world: Sockets) -> None:
        held = world.dataplane
        assert held._most_listeners > 0
        assert limit - (2 * held._tcp.limit + held._udp.total + held._most_listeners) >= spared

    monkeypatch.setattr(userspace, "raise_descriptor_limit", lambda: limit)
    play(scenario)


def test_connections_that_end_leave_nothing_behind() -> None:
    async def scenario(world: Sockets) -> None:
        await world.hold(service(), slice_of("web", endpoint(11)))
        await world.outcomes(CLUSTER)
        await until(lambda: not world.dataplane._tcp.connections)
        assert len(world.dataplane._poller._handlers) == 1

    play(scenario)


def test_a_port_that_is_taken_is_refused_and_tried_again_with_each_commit() -> None:
    async def scenario(world: Sockets) -> None:
        objects = service(), slice_of("web", endpoint(11))
        with socket.create_server((cluster_ip(), 8080)):
            (refusal,) = await world.dataplane.commit(whole(table_of(*objects)))
            assert refusal.reason == "AddressInUse"
            where = f"{cluster_ip()}:8080"
            assert refusal.message.startswith(f"process {os.getpid()} (")
            assert refusal.message.endswith(
                f") listens at {where}, and answers at TCP {where} in place of this Service until it ends or binds another address"
            )
            assert await world.dataplane.commit(()) == [refusal]
        assert await world.dataplane.commit(()) == []
        assert await world.outcomes(CLUSTER) == names(11)

    play(scenario)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_port_that_is_taken_is_refused_before_there_is_an_endpoint(protocol: str) -> None:
    async def scenario(world: Sockets) -> None:
        alone = service(ports=[{"name": "http", "port": 8080, "protocol": protocol}])
        assert await world.dataplane.commit(whole(table_of(alone))) == []
        with socket.socket(type=socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM) as holder:
            if protocol == "TCP":
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((cluster_ip(), 8080))
            if protocol == "TCP":
                holder.listen()
            (refusal,) = await world.dataplane.commit(whole(table_of(alone)))
            assert refusal.reason == "AddressInUse"
        assert await world.dataplane.commit(()) == []
        assert await world.outcomes(to(cluster_ip(), protocol=protocol)) == {"refused"}

    play(scenario)


def test_whoever_holds_all_addresses_is_said_to_answer_there() -> None:
    async def scenario(world: Sockets) -> None:
        with socket.create_server(("0.0.0.0", 0)) as holder:
            number = holder.getsockname()[1]
            port = [{"name": "http", "port": number}]
            objects = service(ports=port), slice_of("web", endpoint(11))
            (refusal,) = await world.dataplane.commit(whole(table_of(*objects)))
        assert f") listens at 0.0.0.0:{number}, and answers at TCP {cluster_ip()}:{number} in place" in refusal.message

    play(scenario)


def test_a_refused_frontend_takes_nothing_from_the_others() -> None:
    async def scenario(world: Sockets) -> None:
        ports = [{"name": "http", "port": 8080}, {"name": "alt", "port": 8081}]
        slices = slice_of("web", endpoint(11), ports=[{"name": "http", "port": 9376}, {"name": "alt", "port": 9377}])
        with socket.create_server((cluster_ip(), 8080)):
            await world.dataplane.commit(whole(table_of(service(ports=ports), slices)))
            assert await world.outcomes(to(cluster_ip(), 8081)) == names(11, port=9377)

    play(scenario)


def test_a_privileged_port_says_the_line_that_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: Sockets) -> None:
        objects = service(ports=[{"name": "http", "port": 80}]), slice_of("web", endpoint(11))
        (refusal,) = await world.dataplane.commit(whole(table_of(*objects)))
        assert refusal.reason == "PortNotPermitted"
        assert refusal.message.endswith("needs root, or: sysctl net.ipv4.ip_unprivileged_port_start=80")

    def bind(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pierhead.dataplane.tcp.listen_tcp", bind)
    play(scenario)


def test_an_address_of_somebody_else_is_refused() -> None:
    async def scenario(world: Sockets) -> None:
        objects = service(externalIPs=["192.0.2.1"]), slice_of("web", endpoint(11))
        (refusal,) = await world.dataplane.commit(whole(table_of(*objects)))
        assert (refusal.reason, refusal.address) == ("AddressNotLocal", "192.0.2.1")
        assert refusal.message == (
            "this machine does not have the address 192.0.2.1; to give it one: ip address add 192.0.2.1 dev INTERFACE"
        )

    play(scenario)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_services_that_lead_to_each_other_answer_nobody_and_cost_nothing(protocol: str) -> None:
    """An address of an interface may be a floating IP, and somebody's hand-written endpoint as well."""
    here, there = 31, 32
    ports = [{"name": "p", "port": 8080, "protocol": protocol}]

    async def scenario(world: Sockets) -> None:
        await world.hold(
            service("web", externalIPs=[pod(here)], ports=ports),
            slice_of("web", endpoint(there), ports=ports),
            service("api", clusterIP=cluster_ip(2), externalIPs=[pod(there)], ports=ports),
            slice_of("api", endpoint(here), ports=ports),
        )
        packet = to(pod(here), protocol=protocol)
        if protocol == "TCP":
            assert await world.outcomes(packet) == {"refused"}
        else:
            with closing((await connect(packet)).socket) as client:
                client.send(b"hi")
                for _ in range(10):
                    await asyncio.sleep(0)
        assert not world.dataplane._tcp.connections
        assert world.dataplane._udp.flows == 0

    play(scenario)


def test_sctp_is_refused() -> None:
    async def scenario(world: Sockets) -> None:
        port = [{"name": "sig", "port": 8080, "protocol": "SCTP"}]
        objects = service(ports=port), slice_of("web", endpoint(11), ports=port)
        (refusal,) = await world.dataplane.commit(whole(table_of(*objects)))
        assert refusal.reason == "ProtocolNotSupported"

    play(scenario)


def test_a_whole_table_replaces_the_old_one_without_breaking_what_is_in_both() -> None:
    async def scenario(world: Sockets) -> None:
        sticky = service(sessionAffinity="ClientIP"), slice_of("web", endpoint(11), endpoint(12), endpoint(13))
        other = service("other", clusterIP=cluster_ip(2)), slice_of("other", endpoint(14))
        await world.hold(*sticky, *other)
        first = await world.outcomes(CLUSTER)
        listener = world.dataplane._listeners[next(f for f in world.dataplane._listeners if f.address == cluster_ip())]
        await world.dataplane.commit(whole(table_of(*sticky)))
        assert listener in world.dataplane._listeners.values()
        assert await world.outcomes(CLUSTER) == first
        assert await world.outcomes(to(cluster_ip(2))) == {"refused"}

    play(scenario)


def test_closing_resets_open_connections_and_refuses_new_ones() -> None:
    async def scenario() -> None:
        async with sockets() as world:
            await world.hold(service(), slice_of("web", endpoint(11)))
            talk = await connect(CLUSTER)
            assert await talk.ask() == "11:9376"
            await world.dataplane.close()
            assert await talk.ask() == "refused"
            assert await world.outcomes(CLUSTER) == {"refused"}
            await talk.close()

    asyncio.run(scenario())


def test_node_ports_listen_on_the_nodes_address_alone() -> None:
    async def scenario(world: Sockets) -> None:
        port = [{"name": "http", "port": 8080, "nodePort": 30080}]
        await world.hold(service(type="NodePort", ports=port), slice_of("web", endpoint(11)))
        assert await world.outcomes(to(NODE, 30080)) == names(11)
        assert await world.outcomes(to(pod(77), 30080)) == {"refused"}

    play(scenario)


def test_an_outside_client_is_served_by_this_nodes_endpoints_under_policy_local() -> None:
    """The network is told to take none of 127/8 for its own, which makes every client here an outside one."""
    place = replace(HERE, network=replace(NETWORK, mode="host"))

    async def scenario() -> None:
        async with sockets() as world:
            port = [{"name": "http", "port": 8080, "nodePort": 30080}]
            objects = (
                service(type="NodePort", ports=port, externalTrafficPolicy="Local"),
                slice_of("web", endpoint(11), endpoint(12, node="node-b")),
            )
            dataplane = Userspace(place)
            await dataplane.commit(whole(table_of(*objects)))
            assert await world.outcomes(to(NODE, 30080, source="127.0.0.9")) == names(11)
            assert await world.outcomes(to(NODE, 30080, source=pod(99))) == names(11, 12)
            await dataplane.close()

    asyncio.run(scenario())
