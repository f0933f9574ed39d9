"""Pods of class ``external`` under a real agent: the things they stand for are sockets of the test's own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from agents import PATIENT, Region, eventually, play, ready, state
from pierhead.api import Tree
from pierhead.api.external import ADDRESS, RENEWED, TTL
from pierhead.api.kinds import NAMESPACE, POD
from pierhead.api.views import Pod
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.core.lifecycle_status import rfc3339
from pierhead.errors import ApiError

HOST, OTHER = "127.71.0.1", "127.71.0.2"
"""In the machine's loopback range, and no pod range."""


async def serve(host: str, port: int = 0) -> tuple[asyncio.Server, int]:
    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, host, port)
    return server, server.sockets[0].getsockname()[1]


def probed(port: int) -> Tree:
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1} | PATIENT
    return {"name": "c", "image": "external", "readinessProbe": probe}


PLAIN: Tree = {"name": "c", "image": "external"}


async def register(region: Region, name: str, notes: dict[str, str], container: Tree = PLAIN, **spec: Any) -> Tree:
    body = {"containers": [container], "nodeName": "n1", "runtimeClassName": "external", **spec}
    meta = {"name": name, "namespace": "default", "annotations": notes}
    return await region.admin.create(POD, {"metadata": meta, "spec": body})


async def annotate(region: Region, name: str, **notes: str | None) -> None:
    await region.admin.patch(POD, name, {"metadata": {"annotations": notes}}, "default")


def address(pod: Tree) -> list[str]:
    found = pod.get("status", {})
    listed = [each["ip"] for each in found.get("podIPs") or []]
    assert listed == ([found["podIP"]] if "podIP" in found else [])
    return listed


def condition(pod: Tree) -> Tree:
    found: Tree = next((each for each in pod["status"].get("conditions") or [] if each["type"] == "Ready"), {})
    return found


def test_without_a_probe_it_is_ready_where_it_says(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await register(region, "db", {ADDRESS: HOST})
        found = await region.until("db", ready)
        assert (found["status"]["phase"], address(found)) == ("Running", [HOST])
        assert state(found).keys() == {"running"}
        told = await region.events("db", "Addressed")
        assert told == {"Addressed": f"The pod is reached at {HOST}, as annotation {ADDRESS} says"}

    play(tmp_path, scene)


def test_its_probe_decides_and_nothing_is_restarted(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        server, port = await serve(HOST)
        await register(region, "db", {ADDRESS: HOST}, probed(port))
        await region.until("db", ready)
        server.close()
        found = await region.until("db", lambda pod: not ready(pod))
        assert (found["status"]["phase"], address(found)) == ("Running", [HOST])
        assert found["status"]["containerStatuses"][0]["restartCount"] == 0
        told = await region.events("db", "Unhealthy")
        assert told["Unhealthy"] == f"Readiness probe failed: dial tcp {HOST}:{port}: connect: connection refused"
        server, _ = await serve(HOST, port)
        await region.until("db", ready)
        server.close()

    play(tmp_path, scene, hasty=True)


def test_liveness_and_startup_probes_hooks_and_init_containers_are_left_out(tmp_path: Path) -> None:
    never = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1}
    hooks = {"postStart": {"exec": {"command": ["false"]}}}
    container = PLAIN | {"livenessProbe": never, "startupProbe": never, "lifecycle": hooks}

    async def scene(region: Region) -> None:
        await register(region, "db", {ADDRESS: HOST}, container, initContainers=[{"name": "i", "image": "external"}])
        await region.until("db", ready)

    play(tmp_path, scene)


def test_a_command_cannot_be_run_there(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
        await register(region, "db", {ADDRESS: HOST}, PLAIN | {"readinessProbe": probe})
        told = await region.events("db", "Unhealthy")
        assert told["Unhealthy"].endswith("command failed: the pod runs elsewhere: use httpGet or tcpSocket")
        assert not ready(await region.pod("db"))

    play(tmp_path, scene, hasty=True)


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ({}, f"annotation {ADDRESS} is missing: it says at which address the pod answers"),
        ({ADDRESS: "db.example.com"}, f'annotation {ADDRESS}: "db.example.com" is not an IP address'),
        (
            {ADDRESS: "169.254.169.254"},
            f"annotation {ADDRESS}: 169.254.169.254 is a link-local, multicast or unspecified address",
        ),
        ({ADDRESS: "192.0.2.9"}, f"annotation {ADDRESS}: 192.0.2.9 lies outside the pod ranges and --endpoint-cidrs"),
        ({ADDRESS: "::ffff:192.0.2.9"}, f"annotation {ADDRESS}: 192.0.2.9 lies outside"),
        ({ADDRESS: "127.96.0.1"}, f"annotation {ADDRESS}: 127.96.0.1:9 is served by this proxy itself"),
        ({ADDRESS: "127.0.0.1"}, f"annotation {ADDRESS}: 127.0.0.1:9 is the API server"),
    ],
)
def test_where_no_endpoint_may_lie_it_waits_and_says_so(tmp_path: Path, notes: dict[str, str], why: str) -> None:
    async def scene(region: Region) -> None:
        await register(region, "db", notes, PLAIN | {"ports": [{"containerPort": 9}]})
        found = await region.until("db", lambda pod: condition(pod).get("reason") == "InvalidAddress")
        assert (found["status"]["phase"], address(found)) == ("Pending", [])
        assert state(found)["waiting"]["message"].startswith(why)
        assert (await region.events("db", "InvalidAddress"))["InvalidAddress"].startswith(why)
        await annotate(region, "db", **{ADDRESS: HOST})
        assert address(await region.until("db", ready)) == [HOST]

    play(tmp_path, scene, api=frozenset({("127.0.0.1", 9)}))


def test_another_address_is_looked_at_anew(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        server, port = await serve(OTHER)
        await register(region, "db", {ADDRESS: HOST}, probed(port))
        await region.until("db", address)
        await annotate(region, "db", **{ADDRESS: OTHER})
        assert address(await region.until("db", ready)) == [OTHER]
        await annotate(region, "db", **{ADDRESS: None})
        found = await region.until("db", lambda pod: not address(pod))
        assert not ready(found)
        server.close()

    play(tmp_path, scene)


def test_two_on_one_address(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        for name in ("one", "two"):
            await register(region, name, {ADDRESS: HOST})
        for name in ("one", "two"):
            assert address(await region.until(name, ready)) == [HOST]
        await region.admin.delete(POD, "one", "default")
        await region.until_gone("one")
        assert ready(await region.pod("two"))

    play(tmp_path, scene)


def test_an_address_of_the_pod_range_stays_its_pod_s(tmp_path: Path) -> None:
    sleeper = {"name": "c", "image": "host", "command": ["sleep", "60"]}

    async def scene(region: Region) -> None:
        await region.create("other", sleeper)
        await region.create("only", sleeper)
        taken = (await region.until("only", ready))["status"]["podIP"]
        await register(region, "db", {ADDRESS: taken})
        await region.until("db", ready)
        await region.admin.delete(POD, "db", "default")
        await region.until_gone("db")
        await region.create("late", sleeper)
        assert "are in use" in (await region.events("late", "FailedCreatePodSandBox"))["FailedCreatePodSandBox"]

    play(tmp_path, scene, pods="127.64.9.0/30")


def test_it_ends_at_once_and_is_not_ready_before(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await register(region, "db", {ADDRESS: HOST})
        await region.until("db", ready)
        seen: list[bool] = []
        pods = region.informers.of(POD)
        unsubscribe = pods.subscribe(lambda change: seen.append(change.latest.ready))
        begun = time.monotonic()
        await region.admin.delete(POD, "db", "default")
        await region.until_gone("db")
        assert time.monotonic() - begun < 5
        await eventually(lambda: _settled(seen))
        assert seen[-1] is False
        unsubscribe()

    play(tmp_path, scene)


async def _settled(seen: list[bool]) -> bool:
    return bool(seen) and not seen[-1]


def test_one_that_goes_before_it_was_looked_at_goes_without_a_word(tmp_path: Path) -> None:
    told: list[int] = []

    async def main() -> None:
        region = Region(tmp_path)
        for name in ("default", "kube-node-lease"):
            await region.admin.create(NAMESPACE, {"metadata": {"name": name}})
        await register(region, "db", {ADDRESS: HOST})
        await region.admin.delete(POD, "db", "default")
        informers = Informers(region.admin)
        pods: Informer[Pod] = informers.of(POD)
        pods.subscribe(lambda change: told.append(len(change.latest.status.conditions)))
        watching = asyncio.ensure_future(informers.run())
        await pods.synced.wait()
        node = asyncio.ensure_future(region.node())
        await pods.until(lambda: not pods.list())
        for task in (node, watching):
            task.cancel()
            await asyncio.wait([task])
        region.app.close()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert set(told) == {0}


def test_a_registration_that_runs_out_and_is_renewed(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await register(region, "db", {ADDRESS: HOST, TTL: "1"})
        found = await region.until("db", lambda pod: condition(pod).get("reason") == "RegistrationExpired")
        assert not ready(found)
        assert found["status"]["containerStatuses"][0]["ready"] is False
        assert address(found) == [HOST]
        told = await region.events("db", "RegistrationExpired")
        assert told["RegistrationExpired"].endswith("and pierhead.dev/ttl is 1 s: register it again")
        await annotate(region, "db", **{RENEWED: rfc3339(time.time()), TTL: "3600"})
        await region.until("db", ready)
        assert (await region.events("db", "Renewed"))["Renewed"] == "The registration is good again"
        await annotate(region, "db", **{TTL: "soon"})
        await region.until("db", lambda pod: condition(pod).get("reason") == "InvalidTTL")

    play(tmp_path, scene, hasty=True)


def test_it_has_no_log_here(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await register(region, "db", {ADDRESS: HOST})
        await region.until("db", ready)
        with pytest.raises(ApiError) as caught:
            await region.logs("db")
        assert caught.value.code == 400
        assert caught.value.message == 'pod "db" runs elsewhere (runtime class external): no node has its log'

    play(tmp_path, scene)


def test_an_agent_that_starts_again_takes_no_endpoint_away(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        server, port = await serve(HOST)
        await register(region, "db", {ADDRESS: HOST}, probed(port))
        await region.until("db", ready)
        verdicts: list[str] = []
        informers = Informers(region.admin)
        informers.of(POD).subscribe(lambda change: verdicts.append(condition_of(change.latest)))
        watching = asyncio.ensure_future(informers.run())
        await informers.of(POD).synced.wait()
        again = asyncio.ensure_future(region.node())
        await eventually(lambda: _knows(region, "db"))
        await annotate(region, "db", **{TTL: "soon"})  # seen by the first loop of the new agent, after its probes
        await region.until("db", lambda pod: condition(pod)["status"] == "False")
        await eventually(lambda: _settled([verdict == "" for verdict in verdicts]))
        assert set(verdicts) == {"", "InvalidTTL"}
        for task in (again, watching):
            task.cancel()
            await asyncio.wait([task])
        server.close()

    play(tmp_path, scene)


def condition_of(pod: Pod) -> str:
    """Why it is not ready; empty when it is."""
    return next(each.reason for each in pod.status.conditions if each.type == "Ready")


async def _knows(region: Region, name: str) -> bool:
    try:
        await region.logs(name)
    except ApiError as error:
        return error.code == 400
    return False
