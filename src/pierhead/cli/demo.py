"""``pierhead demo``: one Service in front of pods that come and go, told while it happens. Leaves nothing behind."""

from __future__ import annotations

import asyncio
import importlib.resources
import importlib.util
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import yaml

from pierhead.api import Tree
from pierhead.api.kinds import ENDPOINT_SLICE, POD, REPLICA_SET, SERVICE
from pierhead.api.views import Service
from pierhead.cli.narration import Narrator
from pierhead.cli.signals import until_signalled
from pierhead.client.client import Client
from pierhead.client.http import Http
from pierhead.core.programmed import condition_of, is_tentative
from pierhead.errors import UsageError
from pierhead.region import ranges, tenure
from pierhead.region.settings import Settings
from pierhead.region.terrain import Unfit

if TYPE_CHECKING:
    from pierhead.cli.clients import Clients

PATIENCE = 20.0
"""Seconds for anything the story waits for."""
STOP_SECONDS = 10.0
"""For ``pierhead up``, which promises 5."""
NAMESPACE = "default"
VERSION_2_PORT = 9377


def run() -> None:
    """Tells the story.

    Raises:
        UsageError: something it needs is missing, or the story did not go as it should.
    """
    if importlib.util.find_spec("PIL") is None:
        raise UsageError(
            "the demo makes thumbnails with Pillow, which is not installed", "pip install 'pierhead[demo]'"
        )
    with tempfile.TemporaryDirectory(prefix="pierhead-demo-") as directory:
        if asyncio.run(until_signalled(_tell(Path(directory)), again=lambda: None)):
            raise click.Abort


async def _tell(directory: Path) -> None:
    """
    Raises:
        UsageError: as ``run``.
    """
    from pierhead.cli.clients import Clients

    narrator = Narrator()
    narrator.step("A region starts on this machine: pierhead up, in a folder of its own")
    async with _region(directory) as (client, lines):
        for line in lines:
            if line.startswith(("ready", "network")):
                narrator.fact(line)
        service, first = _manifest()
        await client.create(SERVICE, service)
        await client.create(REPLICA_SET, first)
        found = await client.get(SERVICE, "thumbnails", NAMESPACE)
        address, port = found["spec"]["clusterIP"], found["spec"]["ports"][0]["port"]
        narrator.step(f"A Service and three image backends are created; the Service got {address}:{port}")
        await _until(lambda: _programmed(client), "a node that carries the Service")
        await _until(lambda: _ready(client, {9376: 3}), "three ready endpoints")
        clients = Clients(address, port)
        await _warm(clients)
        for number in range(60):
            await clients.send(number)
        narrator.step("60 images sent, each over a connection of its own")
        narrator.spread(clients.served)
        await _under_load(narrator, client, clients, first)
    if failed := len(clients.failures):
        raise UsageError(f"the clients saw {failed} failures; a Service should have hidden every change")


async def _under_load(narrator: Narrator, client: Client, clients: Clients, first: Tree) -> None:
    """Everything changes while the clients go on."""
    stop, before = asyncio.Event(), Counter(clients.served)
    problem: UsageError | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(clients.run(stop, lambda total: narrator.progress(f"{total} thumbnails")))
        try:
            await _lose_a_pod(narrator, client)
            await _next_version(narrator, client, first)
        except UsageError as error:  # carried past the group, which would wrap it
            problem = error
        finally:
            stop.set()
    narrator.settle()
    if problem is not None:
        raise problem
    failed = len(clients.failures)
    served = clients.served - before
    narrator.step(f"What the clients saw: {served.total()} thumbnails, {failed} failures")
    for failure, number in Counter(clients.failures).most_common(3):
        narrator.fact(f"{number} times {failure}")
    narrator.spread(served)
    narrator.end(
        "One name, one address, nobody noticed." if not failed else "That should not have been seen.", good=not failed
    )


async def _lose_a_pod(narrator: Narrator, client: Client) -> None:
    pods = await _pods(client, "v1")
    victim = pods[0]["metadata"]["name"]
    narrator.settle()
    narrator.step(f"Under load: {victim} is deleted")
    await client.delete(POD, victim, NAMESPACE)

    async def replaced() -> bool:
        names = {pod["metadata"]["name"] for pod in await _pods(client, "v1")}
        return victim not in names and await _ready(client, {9376: 3})

    await _until(replaced, "a replacement")
    new = {pod["metadata"]["name"] for pod in await _pods(client, "v1")} - {pod["metadata"]["name"] for pod in pods}
    narrator.settle()
    narrator.fact(f"its ReplicaSet made {', '.join(sorted(new))}")


async def _next_version(narrator: Narrator, client: Client, first: Tree) -> None:
    narrator.step(f"Under load: version 2 comes, and its port named http is {VERSION_2_PORT} instead of 9376")
    await client.create(REPLICA_SET, _next(first))
    await _until(lambda: _ready(client, {9376: 3, VERSION_2_PORT: 3}), "version 2 beside version 1")
    await client.patch(REPLICA_SET, "thumbnails-v1", {"spec": {"replicas": 0}}, NAMESPACE)
    await _until(lambda: _ready(client, {VERSION_2_PORT: 3}), "version 2 alone")

    async def gone() -> bool:
        return not await _pods(client, "v1")

    await _until(gone, "version 1 gone")
    narrator.settle()
    narrator.fact("version 1 is gone; the Service's targetPort, a name, was never touched")


# -- what the story is made of --------------------------------------------------------------------------------


def _manifest() -> tuple[Tree, Tree]:
    """The Service and the ReplicaSet of examples/thumbnails, for this interpreter and this account."""
    folder = importlib.resources.files("pierhead") / "examples" / "thumbnails"
    service, replicas = yaml.safe_load_all((folder / "thumbnails.yaml").read_text())
    container = replicas["spec"]["template"]["spec"]["containers"][0]
    container["command"] = [sys.executable, str(folder / "backend.py"), "9376"]
    if os.geteuid() == 0:  # nobody may not enter a home of root's, where interpreter and package may lie
        replicas["spec"]["template"]["spec"]["securityContext"] = {"runAsUser": 0}
    for found in (service, replicas):
        found["metadata"]["namespace"] = NAMESPACE
    return service, replicas


def _next(first: Tree) -> Tree:
    """Version 2: the same backend on another port."""
    found = deepcopy(first)
    found["metadata"]["name"] = "thumbnails-v2"
    for labels in (found["spec"]["selector"]["matchLabels"], found["spec"]["template"]["metadata"]["labels"]):
        labels["version"] = "v2"
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["command"][-1] = str(VERSION_2_PORT)
    container["ports"][0]["containerPort"] = VERSION_2_PORT
    return found


async def _pods(client: Client, version: str) -> list[Tree]:
    listing = await client.list(POD, NAMESPACE, labels=f"app=thumbnails,version={version}")
    return list(listing.items)


async def _ready(client: Client, wanted: dict[int, int]) -> bool:
    """Whether the Service's slices hold just so many ready endpoints on each port."""
    found: Counter[int] = Counter()
    for item in (await client.list(ENDPOINT_SLICE, NAMESPACE, labels="kubernetes.io/service-name=thumbnails")).items:
        ready = sum(1 for endpoint in item.get("endpoints") or [] if endpoint["conditions"].get("ready"))
        for port in item.get("ports") or []:
            found[port["port"]] += ready
    return +found == Counter(wanted)


async def _programmed(client: Client) -> bool:
    """
    Raises:
        UsageError: its port cannot be had.
    """
    condition = condition_of(msgspec.convert(await client.get(SERVICE, "thumbnails", NAMESPACE), Service))
    if condition is not None and condition.status == "False" and not is_tentative(condition):
        raise UsageError(f"the Service cannot be carried: {condition.message}")
    return condition is not None and condition.status == "True"


async def _warm(clients: Clients) -> None:
    """The first image that comes back tells that the proxy has the Service."""

    async def answered() -> bool:
        await clients.send(0)
        return bool(clients.served)

    await _until(answered, "a first thumbnail")
    clients.served.clear()
    clients.failures.clear()


async def _until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """
    Raises:
        UsageError: it did not come true in time.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while not await check():  # noqa: ASYNC110 - what is awaited lies in another process
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise UsageError(f"waited {PATIENCE:.0f} s for {what}", "see what the region says: pierhead up") from error


@asynccontextmanager
async def _region(directory: Path) -> AsyncIterator[tuple[Client, list[str]]]:
    """``pierhead up`` in a process of its own, and a client of it."""
    options = ["--data-dir", str(directory), "--listen", "127.0.0.1:0", *_network()]
    if os.geteuid() == 0:
        options.append("--allow-root-pods")
    command = [sys.executable, "-m", "pierhead", "up", *options]
    # In a process group of its own: Ctrl-C is for the story, which then ends the region once and waits for it.
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, process_group=0)
    try:
        lines = await _greeting(process)
        kubeconfig = yaml.safe_load((directory / "kubeconfig").read_text())
        url, token = kubeconfig["clusters"][0]["cluster"]["server"], kubeconfig["users"][0]["user"]["token"]
        client = Client(Http(url, token, str(directory / "pki" / "ca.crt")), "pierhead-demo")
        try:
            yield client, lines
        finally:
            await client.close()
    finally:
        await _end(process)


def _network() -> list[str]:
    """Network namespaces where they work: it is tried. Else a part of 127.0.0.0/8 that no other region here has."""
    from pierhead.region.namespaced import namespaced

    with tempfile.TemporaryDirectory(prefix="pierhead-trial-") as trial:
        settings = Settings(Path(trial), "127.0.0.1", 0, ranges.choose("namespace"))
        with suppress(Unfit), namespaced(settings, "trial"):
            return ["--network", "namespace"]
    with tenure.spare() as part:
        return ["--network", "loopback", *part.options]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stops it, and at once when it takes too long or somebody insists."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise


async def _greeting(process: asyncio.subprocess.Process) -> list[str]:
    """What ``up`` says until it is ready. It says nothing more there: what goes wrong goes to stderr, which is ours.

    Raises:
        UsageError: it ended instead.
    """
    assert process.stdout
    lines: list[str] = []
    async for line in process.stdout:
        lines.append(line.decode().rstrip())
        if lines[-1].startswith("export KUBECONFIG="):
            return lines
    raise UsageError("`pierhead up` did not start", "it said why in the line above")
