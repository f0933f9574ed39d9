"""The node agent against a real API server in this process, with real processes (`node.agent`, `node.pod`)."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.kinds import CONFIG_MAP, EVENT, LEASE, NAMESPACE, NODE, POD, SECRET, SERVICE
from pierhead.api.logs import LogQuery
from pierhead.api.network import Network
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.auth import ADMIN, node_identity
from pierhead.client.client import Client
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.errors import ApiError
from pierhead.node.agent import NodeAgent
from pierhead.store.memory import MemoryStore

LOOPBACK = Network("loopback", (ip_network("127.96.0.0/16"),), (ip_network("127.64.0.0/16"),))
SERVE = (
    "import http.server, os; "
    "http.server.HTTPServer((os.environ['POD_IP'], 18080), http.server.SimpleHTTPRequestHandler).serve_forever()"
)


class NoLogs:
    """The agent is asked for logs directly here."""

    def logs(self, node: str, query: object) -> Any:
        raise AssertionError(query)


async def eventually(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What ``holds`` answers, as soon as that is true; within ten seconds, for processes have a clock of their own."""
    async with asyncio.timeout(10):
        while not (found := await holds()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return found


class Region:
    """An API server and a node, ``n1``."""

    def __init__(self, directory: Path, pods: str = "127.64.0.0/16") -> None:
        self.directory, self.pods = directory, ip_network(pods)
        self.app = ApiServer(MemoryStore(stamp), LOOPBACK, {"admin": ADMIN, "node": node_identity("n1")}, NoLogs())
        self.admin = Client(InProcess(self.app, "admin"))
        self.agent: NodeAgent

    async def node(self) -> None:
        """Runs the node until cancelled; a second call is a new agent on the same directory."""
        client = Client(InProcess(self.app, "node"), "kubelet")
        informers = Informers(client)
        self.agent = NodeAgent(
            client,
            informers,
            LOOPBACK,
            name="n1",
            zone="z1",
            region="r1",
            directory=self.directory / "n1",
            pod_range=self.pods,
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
        return str(await eventually(lambda: self.logs(name, container)))

    async def events(self, name: str) -> dict[str, str]:
        """Reason → text, once the recorder had its turn."""
        await asyncio.sleep(0.05)
        found = (await self.admin.list(EVENT, "default")).items
        return {each["reason"]: each["message"] for each in found if each["involvedObject"]["name"] == name}

    async def logs(self, name: str, container: str = "c", **query: Any) -> str:
        chunks = self.agent.logs(LogQuery("default", name, container, **query))
        return b"".join([chunk async for chunk in chunks]).decode()


def play(directory: Path, scene: Callable[[Region], Awaitable[None]], **more: str) -> None:
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

    asyncio.run(asyncio.wait_for(main(), 30))


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


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_registers_itself_and_says_that_it_lives(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        async def leased() -> bool:
            return bool((await region.admin.list(LEASE, "kube-node-lease")).items)

        await eventually(leased)
        node = await region.admin.get(NODE, "n1")
        labels = node["metadata"]["labels"]
        assert labels["topology.kubernetes.io/zone"] == "z1"
        assert labels["topology.kubernetes.io/region"] == "r1"
        assert labels["kubernetes.io/hostname"] == "n1"
        assert {"type": "InternalIP", "address": "127.0.0.1"} in node["status"]["addresses"]
        assert [each["status"] for each in node["status"]["conditions"] if each["type"] == "Ready"] == ["True"]
        assert node["status"]["capacity"]["pods"]
        lease = await region.admin.get(LEASE, "n1", "kube-node-lease")
        assert lease["spec"]["holderIdentity"] == "n1"

    play(tmp_path, scene)


def test_a_pod_runs_until_it_is_deleted(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("echo $POD_IP $$$$ $HOSTNAME; while :; do sleep 0.01; done"))
        pod = await region.until("web", ready)
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == "127.64.0.1"
        pid = int(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
        assert alive(pid)
        said = await region.until_said("web")
        assert said == f"127.64.0.1 {pid} web\n"
        events = await region.events("web")
        assert events["Created"] == "Created container: c"
        assert events["Started"] == "Started container c"
        assert events["Pulled"] == 'Container image "host" already present on machine'
        await region.admin.delete(POD, "web", "default")
        await region.until_gone("web")
        assert not alive(pid)
        assert (await region.events("web"))["Killing"] == "Stopping container c"
        assert not list((region.directory / "n1" / "pods").iterdir())

    play(tmp_path, scene)


def test_a_deleted_pod_has_its_grace_period(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("trap 'sleep 0.3; exit' TERM; echo up; while :; do sleep 0.01; done"))
        await region.until("web", ready)
        await region.until_said("web")
        begun = time.monotonic()
        await region.admin.delete(POD, "web", "default", grace=5)
        await region.until_gone("web")
        assert 0.3 <= time.monotonic() - begun < 3

    play(tmp_path, scene)


def test_a_pod_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("trap '' TERM; echo up; while :; do sleep 0.01; done"))
        await region.until("web", ready)
        await region.until_said("web")
        begun = time.monotonic()
        await region.admin.delete(POD, "web", "default", grace=1)
        await region.until_gone("web")
        assert 1 <= time.monotonic() - begun < 3

    play(tmp_path, scene)


def test_deletion_without_grace_ends_it_at_once(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("trap '' TERM; while :; do sleep 0.01; done"))
        pod = await region.until("web", ready)
        pid = int(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
        await region.admin.delete(POD, "web", "default", grace=60)
        await region.until("web", lambda pod: pod["metadata"].get("deletionTimestamp"))
        await region.admin.delete(POD, "web", "default", grace=0)
        await region.until_dead(pid)

    play(tmp_path, scene)


def test_what_the_agent_ran_ends_with_it(tmp_path: Path) -> None:
    pids: list[int] = []

    async def scene(region: Region) -> None:
        for name in ("one", "two"):
            await region.create(name, shell("setsid sleep 1000 & env -i sleep 1000 & wait"))
            pod = await region.until(name, ready)
            pids.append(int(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("process://")))

    begun = time.monotonic()
    play(tmp_path, scene)
    assert time.monotonic() - begun < 6
    assert not any(map(alive, pids))


# -- readiness ------------------------------------------------------------------------------------------------------


def test_a_pod_is_ready_within_milliseconds_of_listening(tmp_path: Path) -> None:
    probe = {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 60}
    container = python(SERVE, ports=[{"name": "http", "containerPort": 18080}], readinessProbe=probe, workingDir="/usr")

    async def scene(region: Region) -> None:
        await region.create("web", container)
        before = await region.until("web", lambda pod: "running" in state(pod))
        assert not ready(before)
        pod = await region.until("web", ready)
        assert pod["status"]["containerStatuses"][0]["ready"]

    play(tmp_path, scene)


def test_a_failed_liveness_probe_restarts(tmp_path: Path) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo sick; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000", livenessProbe=probe))
        pod = await region.until(
            "web", lambda pod: (pod["status"].get("containerStatuses") or [{}])[0].get("restartCount")
        )
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (143, "Error")
        events = await region.events("web")
        assert events["Unhealthy"] == "Liveness probe failed: sick"
        assert events["Killing"] == "Container c failed liveness probe, will be restarted"

    play(tmp_path, scene)


def test_readiness_flips_without_a_restart(tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    healthy.touch()
    for place in (tmp_path, *tmp_path.parents):  # the probe runs as nobody
        if not place.stat().st_mode & 0o001:
            place.chmod(0o755)
    probe = {"exec": {"command": ["test", "-e", str(healthy)]}, "periodSeconds": 1, "failureThreshold": 1}

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000", readinessProbe=probe))
        await region.until("web", ready)
        healthy.unlink()
        pod = await region.until("web", lambda pod: not ready(pod))
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        condition = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
        assert condition["message"] == "containers with unready status: [c]"

    play(tmp_path, scene)


def test_a_verdict_of_somebody_else_is_corrected(tmp_path: Path) -> None:
    """The node controller declares pods not ready when their node is not heard; when it is heard again they are."""

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000"))
        await region.until("web", ready)
        lost = {"type": "Ready", "status": "False", "reason": "NodeNotReady"}
        patch = {"status": {"conditions": [lost]}}
        changed = await region.admin.patch(POD, "web", patch, "default", subresource="status", how="strategic")
        assert not ready(changed)
        await region.until("web", ready)

    play(tmp_path, scene)


# -- what cannot run ----------------------------------------------------------------------------------------------------


def test_a_command_that_does_not_exist_is_a_crash_loop_that_says_why(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("bad", {"name": "c", "image": "host", "command": ["no-such-command"]})
        pod = await region.until("bad", lambda pod: reason(pod) == "CrashLoopBackOff")
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (128, "StartError")
        assert 'exec: "no-such-command": executable file not found in $PATH' in last["message"]
        events = await region.events("bad")
        assert events["Failed"] == (
            'Error: failed to start container "c": exec: "no-such-command": executable file not found in $PATH'
        )
        assert events["BackOff"].startswith("Back-off restarting failed container c in pod bad_default(")

    play(tmp_path, scene)


def test_a_command_that_ends_at_once_is_a_crash_loop(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("bad", shell("echo oh no; exit 7"))
        pod = await region.until("bad", lambda pod: reason(pod) == "CrashLoopBackOff")
        status = pod["status"]["containerStatuses"][0]
        assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 7)
        assert pod["status"]["phase"] == "Running"
        assert await region.logs("bad") == "oh no\n"
        assert await region.logs("bad", previous=True) == "oh no\n"

    play(tmp_path, scene)


def test_a_real_image_waits(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("bad", {"name": "c", "image": "nginx:1.27"})
        pod = await region.until("bad", lambda pod: reason(pod) == "ErrImageNeverPull")
        assert "process run the node's own files" in state(pod)["waiting"]["message"]
        assert pod["status"]["phase"] == "Pending"
        events = await region.events("bad")
        assert events["Failed"] == "Error: ErrImageNeverPull"
        assert 'Container image "nginx:1.27" is not present' in events["ErrImageNeverPull"]
        with pytest.raises(ApiError, match='container "c" in pod "bad" is waiting to start: ErrImageNeverPull'):
            await region.logs("bad")
        await region.admin.delete(POD, "bad", "default")
        await region.until_gone("bad")

    play(tmp_path, scene)


def test_another_runtime_class_waits(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("bad", shell("true"), runtimeClassName="podman")
        pod = await region.until("bad", lambda pod: reason(pod) == "CreateContainerError")
        assert state(pod)["waiting"]["message"] == 'no runtime for "podman" is configured on this node'

    play(tmp_path, scene)


def test_volumes_are_not_left_out_silently(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        mounts = [{"name": "data", "mountPath": "/data"}]
        await region.create("bad", shell("true", volumeMounts=mounts), volumes=[{"name": "data", "emptyDir": {}}])
        pod = await region.until("bad", lambda pod: reason(pod) == "CreateContainerError")
        assert state(pod)["waiting"]["message"].startswith("volumeMounts (/data): pods of runtime class process see")

    play(tmp_path, scene)


def test_a_pod_that_listens_on_every_address_is_told_so(tmp_path: Path) -> None:
    program = "import socket, time; s = socket.create_server(('0.0.0.0', 18081)); time.sleep(1000)"
    probe = {"tcpSocket": {"port": 18081}}

    async def scene(region: Region) -> None:
        await region.create("bad", python(program, readinessProbe=probe))

        def told(pod: Tree) -> bool:
            conditions = pod["status"].get("conditions") or []
            return any(
                each["type"] == "pierhead.dev/BindsItsAddress" and each["status"] == "False" for each in conditions
            )

        await region.until("bad", told)
        text = (await region.events("bad"))["ListensOnAllAddresses"]
        assert "0.0.0.0:18081" in text
        assert "$(POD_IP)" in text

    play(tmp_path, scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another account")
def test_root_s_pods_run_as_nobody_and_may_not_choose(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("who", shell("id -u"), restartPolicy="Never")
        await region.until("who", lambda pod: pod["status"]["phase"] == "Succeeded")
        assert await region.logs("who") == "65534\n"
        await region.create("root", shell("id -u", securityContext={"runAsUser": 0}))
        pod = await region.until("root", lambda pod: reason(pod) == "CreateContainerConfigError")
        assert state(pod)["waiting"]["message"] == "runAsUser 0: this node runs pods as nobody (65534) only"

    play(tmp_path, scene)


# -- environment -----------------------------------------------------------------------------------------------------------


def test_the_environment_is_that_of_its_namespace(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        meta = {"name": "settings", "namespace": "default"}
        await region.admin.create(CONFIG_MAP, {"metadata": meta, "data": {"COLOUR": "red"}})
        secret = {"password": base64.b64encode(b"s3cret").decode()}
        await region.admin.create(SECRET, {"metadata": {**meta, "name": "login"}, "data": secret})
        service = {"metadata": {**meta, "name": "db"}, "spec": {"ports": [{"port": 5432}], "clusterIP": "127.96.0.9"}}
        await region.admin.create(SERVICE, service)
        env = [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            {"name": "DB", "value": "$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ]
        script = "echo $COLOUR $PASSWORD $DB $NODE $(DB)"
        await asyncio.sleep(0.05)
        await region.create(
            "c", shell(script, env=env, envFrom=[{"configMapRef": {"name": "settings"}}]), restartPolicy="Never"
        )
        await region.until("c", lambda pod: pod["status"]["phase"] == "Succeeded")
        assert await region.logs("c") == "red s3cret 127.96.0.9:5432 n1 127.96.0.9:5432\n"

    play(tmp_path, scene)


def test_a_missing_secret_is_named_and_waited_for(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("c", shell("true", envFrom=[{"secretRef": {"name": "login"}}]))
        pod = await region.until("c", lambda pod: reason(pod) == "CreateContainerConfigError")
        assert state(pod)["waiting"]["message"] == 'secret "login" not found'
        assert (await region.events("c"))["Failed"] == 'Error: secret "login" not found'

    play(tmp_path, scene)


def test_a_pod_waits_for_an_address(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        for name in ("a", "b", "c"):
            await region.create(name, shell("exec sleep 1000"))
        await region.until("b", ready)
        assert (await region.events("c"))["FailedCreatePodSandBox"] == (
            "Failed to create pod sandbox: all 2 addresses of 127.64.9.0/30 are in use"
        )
        await region.admin.delete(POD, "a", "default")
        assert (await region.until("c", ready))["status"]["podIP"] == "127.64.9.1"

    play(tmp_path, scene, pods="127.64.9.0/30")


# -- several containers ----------------------------------------------------------------------------------------------------


def test_init_containers_come_first_and_all_share_one_address(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        init = [{"name": "i", "image": "host", "command": ["sh", "-c", "echo $POD_IP"]}]
        one, two = shell("echo $POD_IP; exec sleep 1000"), {**shell("echo $POD_IP; exec sleep 1000"), "name": "d"}
        await region.create("web", one, two, initContainers=init)
        pod = await region.until("web", ready)
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
        assert {await region.until_said("web", name) for name in "icd"} == {"127.64.0.1\n"}

    play(tmp_path, scene)


# -- the agent itself ------------------------------------------------------------------------------------------------------


def test_a_new_agent_starts_its_pods_again_on_their_addresses(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("gone", shell("exec sleep 1000"))
        await region.create("web", shell("echo first; exec sleep 1000"))
        await region.create("done", shell("echo bye"), restartPolicy="Never")
        await region.until("web", ready)
        await region.until_said("web")
        await region.until("done", lambda pod: pod["status"]["phase"] == "Succeeded")

    async def second(region: Region) -> None:
        node = asyncio.ensure_future(region.node())
        address = (await region.pod("web"))["status"]["podIP"]
        pod = await region.until("web", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert pod["status"]["podIP"] == address
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (137, "ContainerStatusUnknown")
        assert (await region.pod("done"))["status"]["phase"] == "Succeeded"
        assert await region.logs("done") == "bye\n"
        assert await region.logs("web", previous=True) == "first\n"
        node.cancel()
        await asyncio.wait([node])

    async def main() -> None:
        region = Region(tmp_path)
        for name in ("default", "kube-node-lease"):
            await region.admin.create(NAMESPACE, {"metadata": {"name": name}})
        node = asyncio.ensure_future(region.node())
        await scene(region)
        node.cancel()
        await asyncio.wait([node])
        await second(region)
        region.app.close()

    asyncio.run(asyncio.wait_for(main(), 30))
