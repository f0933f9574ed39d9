"""A node agent under test: a real API server in this process, and real processes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.kinds import EVENT, NAMESPACE, POD
from pierhead.api.logs import LogQuery
from pierhead.api.network import Network
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.auth import ADMIN, node_identity
from pierhead.client.client import Client
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.errors import ApiError
from pierhead.node.agent import NodeAgent
from pierhead.node.podnetwork import PodNetwork
from pierhead.store.memory import MemoryStore
from virtual import HASTE, HastyLoop

LOOPBACK = Network(
    "loopback",
    (ip_network("127.96.0.0/16"),),
    (ip_network("127.64.0.0/16"),),
    endpoint_ranges=(ip_network("127.0.0.0/8"),),
)
PATIENT = {"timeoutSeconds": int(HASTE)}
"""In a probe, where time is hasty: the second that it has by default."""


class NoLogs:
    """The agent is asked for logs directly here."""

    def logs(self, node: str, query: object) -> Any:
        raise AssertionError(query)


async def eventually(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What ``holds`` answers, as soon as that is true; within ten seconds of the world's, whose clock processes have."""
    until = time.monotonic() + 10
    while not (found := await holds()):
        if time.monotonic() > until:
            raise TimeoutError
        await asyncio.sleep(0.005)
    return found


class Region:
    """An API server and a node, ``n1``."""

    def __init__(
        self,
        directory: Path,
        pods: str = "127.64.0.0/16",
        api: frozenset[tuple[str, int]] = frozenset(),
        network: PodNetwork | None = None,
    ) -> None:
        self.api, self.network = api, network
        self.directory, self.pods = directory, ip_network(pods)
        self.app = ApiServer(MemoryStore(stamp), LOOPBACK, {"admin": ADMIN, "node": node_identity("n1")}, NoLogs())
        self.admin = Client(InProcess(self.app, "admin"))
        self.agent: NodeAgent
        self.informers: Informers

    async def node(self) -> None:
        """Runs the node until cancelled; a second call is a new agent on the same directory."""
        client = Client(InProcess(self.app, "node"), "kubelet")
        self.informers = informers = Informers(client)
        self.agent = NodeAgent(
            client,
            informers,
            LOOPBACK,
            name="n1",
            zone="z1",
            region="r1",
            directory=self.directory / "n1",
            pod_ranges=(self.pods,),
            api=self.api,
            pods=self.network,
        )
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(informers.run())
            try:
                await self.agent.run()
            finally:
                watching.cancel()

    async def create(self, name: str, *containers: Tree, **spec: Any) -> Tree:
        body = {"containers": list(containers), "nodeName": "n1", **spec}
        return await self.admin.create(POD, {"metadata": {"name": name, "namespace": "default"}, "spec": body})

    async def pod(self, name: str) -> Tree:
        return await self.admin.get(POD, name, "default")

    async def until(self, name: str, holds: Callable[[Tree], Any]) -> Tree:
        """The pod, as soon as something holds."""
        found: Tree = {}

        async def look() -> bool:
            found.clear()
            found.update(await self.pod(name))
            return bool(holds(found))

        try:
            await eventually(look)
        except TimeoutError:
            raise AssertionError(found.get("status")) from None
        return found

    async def until_gone(self, name: str) -> None:
        async def gone() -> bool:
            return all(each["metadata"]["name"] != name for each in (await self.admin.list(POD, "default")).items)

        await eventually(gone)

    async def until_dead(self, pid: int) -> None:
        async def dead() -> bool:
            return not alive(pid)

        await eventually(dead)

    async def until_said(self, name: str, container: str = "c") -> str:
        """The output of a container, as soon as there is any."""

        async def said() -> str:
            try:
                return await self.logs(name, container)
            except ApiError:  # not started yet
                return ""

        return str(await eventually(said))

    async def events(self, name: str, *reasons: str) -> dict[str, str]:
        """Reason → text, as soon as there is one of each of these reasons."""

        async def told() -> dict[str, str] | None:
            events = (await self.admin.list(EVENT, "default")).items
            found = {each["reason"]: each["message"] for each in events if each["involvedObject"]["name"] == name}
            return found if found.keys() >= set(reasons) else None

        found: dict[str, str] = await eventually(told)
        return found

    async def logs(self, name: str, container: str = "c", **query: Any) -> str:
        chunks = self.agent.logs(LogQuery("default", name, container, **query))
        return b"".join([chunk async for chunk in chunks]).decode()


def play(directory: Path, scene: Callable[[Region], Awaitable[None]], *, hasty: bool = False, **more: Any) -> None:
    """``hasty``: for scenes that wait for seconds to pass; see `HastyLoop`."""

    async def main() -> None:
        region = Region(directory, **more)
        for name in ("default", "kube-node-lease"):
            await region.admin.create(NAMESPACE, {"metadata": {"name": name}})
        node = asyncio.ensure_future(region.node())
        scenes = asyncio.ensure_future(scene(region))
        await asyncio.wait([node, scenes], return_when=asyncio.FIRST_COMPLETED)
        for task in (scenes, node):
            task.cancel()
            await asyncio.wait([task])
        for task in (scenes, node):
            if not task.cancelled():
                task.result()
        region.app.close()

    with asyncio.Runner(loop_factory=HastyLoop if hasty else None) as runner:
        runner.run(asyncio.wait_for(main(), 30 * HASTE if hasty else 30))


def shell(script: str, **more: Any) -> Tree:
    return {"name": "c", "image": "host", "command": ["sh", "-c", script], **more}


def python(program: str, **more: Any) -> Tree:
    return {"name": "c", "image": "host", "command": [sys.executable, "-c", program], **more}


def state(pod: Tree) -> Tree:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    found: Tree = statuses[0].get("state", {})
    return found


def reason(pod: Tree) -> str:
    """Why a container waits, or how it ended."""
    found: list[Tree] = list(state(pod).values())
    return str(found[0].get("reason", "")) if found else ""


def ready(pod: Tree) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def process(pod: Tree) -> int:
    """The first process of the first container; 0 while it does not run."""
    found = pod.get("status", {}).get("containerStatuses") or [{}]
    return int(found[0].get("containerID", "process://0").removeprefix("process://")) if "running" in state(pod) else 0


def open_to_all(place: Path) -> None:
    """Pods of root run as nobody; they may enter a test's folder then."""
    for folder in (place, *place.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
