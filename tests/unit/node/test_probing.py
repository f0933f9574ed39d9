"""Probes against real sockets and commands, and their texts (`node.probes`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

import virtual
from pierhead.api.views import Container, Probe
from pierhead.core.probes import Purpose
from pierhead.node.probes import Outcome, Prober, look
from pierhead.node.runtime import StartFailed
from pierhead.node.target import Target

Answer = Callable[[bytes], bytes | None]


async def no_command(command: Sequence[str], timeout: float | None) -> tuple[int, str]:
    raise AssertionError(command)


def target(port: int, run: Callable[[Sequence[str], float | None], Awaitable[tuple[int, str]]] = no_command) -> Target:
    return Target("127.0.0.1", {"http": port}, run)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(probe: dict[str, Any], answer: Answer) -> tuple[Outcome, bytes]:
    """One look at a server that answers a request with bytes; None: it never answers."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        reply = answer(seen[0])
        if reply is not None:
            writer.write(reply)
            writer.close()
        else:
            await reader.read()
            writer.close()

    async def scenario() -> Outcome:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await look(msgspec.convert(probe, Probe), target(server.sockets[0].getsockname()[1]))

    return asyncio.run(scenario()), b"".join(seen)


def replying(line: str) -> Answer:
    return lambda _: f"{line}\r\nContent-Length: 2\r\n\r\nok".encode()


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("HTTP/1.1 200 OK", Outcome(True)),
        ("HTTP/1.0 204 No Content", Outcome(True)),
        ("HTTP/1.1 302 Found", Outcome(True)),
        ("HTTP/1.1 404 Not Found", Outcome(False, "HTTP probe failed with statuscode: 404")),
        ("HTTP/1.1 503 Service Unavailable", Outcome(False, "HTTP probe failed with statuscode: 503")),
    ],
)
def test_two_and_three_hundreds_pass(line: str, outcome: Outcome) -> None:
    assert ask({"httpGet": {"port": "http"}}, replying(line))[0] == outcome


def test_the_request_is_the_kubelet_s() -> None:
    headers = [{"name": "host", "value": "example.com"}, {"name": "X-Own", "value": "1"}]
    _, request = ask({"httpGet": {"port": "http", "path": "/h?a=b", "httpHeaders": headers}}, replying("HTTP/1.1 200"))
    first, *rest = request.decode().strip().split("\r\n")
    assert first == "GET /h?a=b HTTP/1.1"
    assert set(rest) == {
        "Host: example.com",
        "User-Agent: kube-probe/1.36",
        "Accept: */*",
        "X-Own: 1",
        "Connection: close",
    }


def test_a_path_cannot_end_the_request_line() -> None:
    path = "/a b\r\nX-Evil: 1/é?q=%20&x=[1]#part"
    _, request = ask({"httpGet": {"port": "http", "path": path}}, replying("HTTP/1.1 200"))
    assert request.decode().splitlines()[0] == "GET /a%20b%0D%0AX-Evil:%201/%C3%A9?q=%20&x=[1] HTTP/1.1"


def test_a_header_cannot_bring_another_one() -> None:
    headers = [{"name": "X-Own", "value": "1\r\nX-Evil: 1"}]
    found = asyncio.run(look(msgspec.convert({"httpGet": {"port": 80, "httpHeaders": headers}}, Probe), target(80)))
    assert found.text == 'Get "http://127.0.0.1:80/": net/http: invalid header field value for "X-Own"'


def test_a_tls_server_that_does_not_answer_costs_no_more_than_the_timeout() -> None:
    """Neither in the middle of its greeting, nor by not taking leave."""

    async def scenario() -> tuple[Outcome, float]:
        silent = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await silent.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        probe = msgspec.convert({"httpGet": {"port": "http", "scheme": "HTTPS"}}, Probe)
        begun = asyncio.get_running_loop().time()
        found = await look(probe, target(server.sockets[0].getsockname()[1]))
        took = asyncio.get_running_loop().time() - begun
        silent.set()
        server.close()
        await server.wait_closed()
        return found, took

    found, took = virtual.run(scenario(), virtual.HastyLoop)
    assert "context deadline exceeded" in found.text
    assert 1 <= took < 1 + 2 * virtual.HASTE


def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probe = msgspec.structs.replace(msgspec.convert({"httpGet": {"port": port}}, Probe), timeout_seconds=0)
        found = asyncio.run(look(probe, target(port)))
    assert found.text.endswith('/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)')


@pytest.mark.parametrize(
    ("reply", "text"), [(b"", "EOF"), (b"SSH-2.0-x\r\n", "malformed HTTP response"), (b"HTTP/1.1 x\r\n", "malformed")]
)
def test_what_is_no_answer_fails(reply: bytes, text: str) -> None:
    found, _ = ask({"httpGet": {"port": "http"}}, lambda _: reply)
    assert not found.ok
    assert text in found.text


def test_nobody_listens() -> None:
    port = closed_port()
    http = asyncio.run(look(msgspec.convert({"httpGet": {"port": port, "path": "healthz"}}, Probe), target(0)))
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert http == Outcome(False, f'Get "http://127.0.0.1:{port}/healthz": {refused}')
    tcp = asyncio.run(look(msgspec.convert({"tcpSocket": {"port": port}}, Probe), target(0)))
    assert tcp == Outcome(False, refused)


def test_a_tcp_probe_only_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = asyncio.run(look(Probe(tcp_socket=None), target(0)))
        assert found.ok
        probe = msgspec.convert({"tcpSocket": {"port": server.getsockname()[1]}}, Probe)
        assert asyncio.run(look(probe, target(0))).ok


def test_a_named_port_that_does_not_exist_is_named() -> None:
    found = asyncio.run(look(msgspec.convert({"tcpSocket": {"port": "admin"}}, Probe), target(80)))
    assert found == Outcome(False, "couldn't find port: named port admin not found")


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ({"port": "99999"}, "invalid port number: 99999"),
        ({"port": 80, "host": "no-such-host.invalid"}, "dial tcp: lookup no-such-host.invalid: no such host"),
        ({"port": 80, "host": "x" * 64 + ".y"}, f"dial tcp: lookup {'x' * 64}.y: no such host"),
    ],
)
def test_what_nobody_can_connect_to_is_named(action: dict[str, Any], text: str) -> None:
    found = asyncio.run(look(msgspec.convert({"tcpSocket": action, "timeoutSeconds": 5}, Probe), target(80)))
    assert found == Outcome(False, text)


def test_grpc_says_that_it_is_not_supported() -> None:
    found = asyncio.run(look(msgspec.convert({"grpc": {"port": 1}}, Probe), target(80)))
    assert found.text == "grpc probes are not supported; use httpGet, tcpSocket or exec"


def command(result: tuple[int, str] | Exception) -> Outcome:
    async def run(command: Sequence[str], timeout: float | None) -> tuple[int, str]:
        assert (command, timeout) == (("cat", "/tmp/healthy"), 1)
        if isinstance(result, Exception):
            raise result
        return result

    return asyncio.run(look(msgspec.convert({"exec": {"command": ["cat", "/tmp/healthy"]}}, Probe), target(0, run)))


def test_commands() -> None:
    assert command((0, "fine")).ok
    assert command((1, "cat: /tmp/healthy: No such file\n")) == Outcome(False, "cat: /tmp/healthy: No such file")
    assert command(TimeoutError()).text == 'command timed out: "cat /tmp/healthy" timed out after 1s'
    assert command(StartFailed("no")).text == "command failed: no"


# -- a container's probes together -------------------------------------------------------------------------------


class Heard:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.verdicts: list[tuple[Purpose, bool]] = []
        self.failures: list[Purpose] = []

    def verdict(self, purpose: Purpose, passing: bool) -> None:
        self.verdicts.append((purpose, passing))

    def failure(self, purpose: Purpose, text: str) -> None:
        self.failures.append(purpose)


EXEC = {"exec": {"command": ["x"]}}


def watch(container: dict[str, Any], results: Callable[[int], bool], looks: int) -> tuple[Heard, Purpose | None]:
    """Watches until condemned, or until it looked so often. Time is real, so periods are 0: as fast as it goes."""
    heard, seen = Heard(), 0

    async def scenario() -> Purpose | None:
        enough = asyncio.Event()

        async def run(command: Sequence[str], timeout: float | None) -> tuple[int, str]:
            nonlocal seen
            seen += 1
            if seen > looks:
                enough.set()
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0)
            return (0 if results(seen) else 1), ""

        parsed = msgspec.convert({"name": "c", **container}, Container)
        watching = asyncio.ensure_future(Prober(chance=lambda: 0.0).watch(parsed, target(0, run), heard))
        waiting = asyncio.ensure_future(enough.wait())
        await asyncio.wait([watching, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if watching.done():
            return watching.result()
        watching.cancel()
        await asyncio.wait([watching])
        return None

    return heard, asyncio.run(scenario())


def test_a_startup_probe_gates_the_others() -> None:
    probes = {"startupProbe": {**EXEC, "periodSeconds": 0, "failureThreshold": 9}, "readinessProbe": EXEC}
    heard, condemned = watch(probes, lambda number: number == 3, looks=3)
    assert heard.verdicts == [("startup", True)]
    assert condemned is None


def test_a_startup_probe_that_fails_condemns() -> None:
    heard, condemned = watch({"startupProbe": {**EXEC, "periodSeconds": 0}}, lambda _: False, looks=99)
    assert condemned == "startup"
    assert len(heard.failures) == 3


def test_a_liveness_probe_condemns_after_its_threshold() -> None:
    probes = {"livenessProbe": {**EXEC, "periodSeconds": 0, "failureThreshold": 2}}
    heard, condemned = watch(probes, lambda number: number < 4, looks=99)
    assert condemned == "liveness"
    assert heard.failures == ["liveness", "liveness"]


def test_a_readiness_probe_never_condemns() -> None:
    probes = {"readinessProbe": {**EXEC, "periodSeconds": 0, "failureThreshold": 1}}
    heard, condemned = watch(probes, lambda number: number in (1, 2, 5), looks=6)
    assert condemned is None
    assert heard.verdicts == [("readiness", True), ("readiness", False), ("readiness", True), ("readiness", False)]


def test_no_more_looks_at_once_than_slots() -> None:
    async def scenario() -> int:
        running = most = looks = 0
        enough = asyncio.Event()

        async def run(command: Sequence[str], timeout: float | None) -> tuple[int, str]:
            nonlocal running, most, looks
            running, looks = running + 1, looks + 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            if looks == 10:
                enough.set()
            return 0, ""

        prober = Prober(at_once=2, chance=lambda: 0.0)
        container = msgspec.convert({"name": "c", "readinessProbe": EXEC}, Container)
        watching = [asyncio.ensure_future(prober.watch(container, target(0, run), Heard())) for _ in range(10)]
        await enough.wait()
        for each in watching:
            each.cancel()
        await asyncio.wait(watching)
        return most

    assert asyncio.run(scenario()) == 2
