"""The node agent against a real API server in this process, with real processes (`node.agent`, `node.pod`)."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import socket
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from agents import PATIENT, Region, alive, eventually, open_to_all, play, process, python, ready, reason, shell, state
from pierhead.api import Tree
from pierhead.api.kinds import CONFIG_MAP, LEASE, NAMESPACE, NODE, POD, SECRET, SERVICE
from pierhead.errors import ApiError
from pierhead.node import registration
from pierhead.node.podnetwork import Shared

ZONE = "topology.kubernetes.io/zone"
SERVE = (
    "import http.server, os; "
    "http.server.HTTPServer((os.environ['POD_IP'], 18080), http.server.SimpleHTTPRequestHandler).serve_forever()"
)


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


def test_a_node_that_somebody_deletes_is_back_at_once(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        async def ready_again() -> bool:
            found = await region.admin.list(NODE)
            return any(each["metadata"]["uid"] != uid and each["status"].get("conditions") for each in found.items)

        async def leased() -> bool:
            return bool((await region.admin.list(LEASE, "kube-node-lease")).items)

        await eventually(leased)
        uid = (await region.admin.get(NODE, "n1"))["metadata"]["uid"]
        await region.admin.delete(NODE, "n1")
        async with asyncio.timeout(registration.RENEW / 2):
            await eventually(ready_again)

    play(tmp_path, scene)


def test_a_node_with_other_pod_ranges_than_before_says_them_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    async def main() -> None:
        region = Region(tmp_path)
        await region.admin.create(NAMESPACE, {"metadata": {"name": "kube-node-lease"}})
        spec = {"podCIDR": "127.70.0.0/16", "podCIDRs": ["127.70.0.0/16"]}
        meta = {"name": "n1", "labels": {"disk": "nvme", ZONE: "elsewhere"}, "annotations": {"owner": "us"}}
        await region.admin.create(NODE, {"metadata": meta, "spec": spec | {"unschedulable": True}})
        node = asyncio.ensure_future(region.node())

        async def is_ready() -> bool:
            return any(each["status"].get("conditions") for each in (await region.admin.list(NODE)).items)

        await eventually(is_ready)
        found = await region.admin.get(NODE, "n1")
        assert (found["spec"]["podCIDR"], found["spec"]["unschedulable"]) == ("127.64.0.0/16", True)
        assert (found["metadata"]["labels"]["disk"], found["metadata"]["annotations"]) == ("nvme", {"owner": "us"})
        assert found["metadata"]["labels"][ZONE] == "z1"
        node.cancel()
        await asyncio.wait([node])
        region.app.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_logs_of_pods_that_went_while_no_agent_ran_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "n1" / "pods" / "default_web_4711" / "c"
    left.mkdir(parents=True)
    (left / "0.log").touch()

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000"))
        await region.until("web", ready)
        assert len(list(left.parent.parent.iterdir())) == 1

    play(tmp_path, scene)


class Stuck(Shared):
    """Lets no pod go."""

    def detach(self, pod: str) -> None:
        raise OSError(errno.EBUSY, "in use")


def test_a_pod_whose_network_cannot_be_undone_ends_all_the_same_and_leaves_no_log_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("echo here; exec sleep 1000"))
        assert await region.until_said("web") == "here\n"
        assert written(tmp_path)

    play(tmp_path, scene, network=Stuck())
    assert not written(tmp_path)
    assert "web_default" in caplog.text
    assert "is not undone: [Errno 16] in use" in caplog.text


def written(directory: Path) -> list[Path]:
    """Files below it that this process has open."""
    found = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return [path for path in found if path.is_relative_to(directory)]


def test_a_pod_runs_until_it_is_deleted(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("echo $POD_IP $$$$ $HOSTNAME; while :; do sleep 0.01; done"))
        pod = await region.until("web", ready)
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == "127.64.0.1"
        pid = process(pod)
        assert alive(pid)
        said = await region.until_said("web")
        assert said == f"127.64.0.1 {pid} web\n"
        events = await region.events("web", "Created", "Started", "Pulled")
        assert events["Created"] == "Created container: c"
        assert events["Started"] == "Started container c"
        assert events["Pulled"] == 'Container image "host" already present on machine'
        await region.admin.delete(POD, "web", "default")
        await region.until_gone("web")
        assert not alive(pid)
        assert (await region.events("web", "Killing"))["Killing"] == "Stopping container c"

        async def removed() -> bool:
            return not list((region.directory / "n1" / "pods").iterdir())

        await eventually(removed)

    play(tmp_path, scene)


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
        assert not [each for each in pod["status"]["conditions"] if "reason" in each or "message" in each]

    play(tmp_path, scene)


def test_a_failed_liveness_probe_restarts(tmp_path: Path) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo sick; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000", livenessProbe=probe | PATIENT))
        pod = await region.until(
            "web", lambda pod: (pod["status"].get("containerStatuses") or [{}])[0].get("restartCount")
        )
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (143, "Error")
        events = await region.events("web", "Unhealthy", "Killing")
        assert events["Unhealthy"] == "Liveness probe failed: sick"
        assert events["Killing"] == "Container c failed liveness probe, will be restarted"

    play(tmp_path, scene, hasty=True)


def test_readiness_flips_without_a_restart(tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    healthy.touch()
    open_to_all(tmp_path)
    probe = {"exec": {"command": ["test", "-e", str(healthy)]}, "periodSeconds": 1, "failureThreshold": 1}

    async def scene(region: Region) -> None:
        await region.create("web", shell("exec sleep 1000", readinessProbe=probe | PATIENT))
        await region.until("web", ready)
        healthy.unlink()
        pod = await region.until("web", lambda pod: not ready(pod))
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        condition = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
        assert condition["message"] == "containers with unready status: [c]"

    play(tmp_path, scene, hasty=True)


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

    play(tmp_path, scene, hasty=True)


# -- what cannot run ----------------------------------------------------------------------------------------------------


def test_a_command_that_does_not_exist_is_a_crash_loop_that_says_why(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("bad", {"name": "c", "image": "host", "command": ["no-such-command"]})
        pod = await region.until("bad", lambda pod: reason(pod) == "CrashLoopBackOff")
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (128, "StartError")
        assert 'exec: "no-such-command": executable file not found in $PATH' in last["message"]
        events = await region.events("bad", "Failed", "BackOff")
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
        events = await region.events("bad", "Failed", "ErrImageNeverPull")
        assert events["Failed"] == "Error: ErrImageNeverPull"
        assert 'Container image "nginx:1.27" is not present' in events["ErrImageNeverPull"]
        with pytest.raises(ApiError, match='container "c" in pod "bad" is waiting to start: ErrImageNeverPull'):
            await region.logs("bad")
        await region.admin.delete(POD, "bad", "default")
        await region.until_gone("bad")

    play(tmp_path, scene)


@pytest.mark.parametrize("policy", ["Always", "Never"])
def test_another_image_is_another_container(tmp_path: Path, policy: str) -> None:
    async def scene(region: Region) -> None:
        async def change(image: str) -> None:
            await region.admin.patch(
                POD, "web", {"spec": {"containers": [{"name": "c", "image": image}]}}, "default", how="strategic"
            )

        await region.create("web", shell("exec sleep 1000"), restartPolicy=policy)
        first = process(await region.until("web", ready))
        await change("nginx")
        waiting = await region.until("web", lambda pod: reason(pod) == "ErrImageNeverPull")
        assert not alive(first)
        assert waiting["status"]["containerStatuses"][0]["restartCount"] == 0
        told = await region.events("web", "Killing")
        assert told["Killing"] == "Container c definition changed, will be restarted"
        await change("host")
        again = await region.until("web", ready)
        assert again["status"]["containerStatuses"][0]["restartCount"] == 1
        assert process(again) != first

    play(tmp_path, scene)


def test_what_has_done_its_work_does_not_do_it_again_in_another_image(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        first = shell("echo once") | {"name": "first"}
        await region.create("web", shell("exec sleep 1000"), initContainers=[first])
        await region.until("web", ready)
        change = {"spec": {"initContainers": [{"name": "first", "image": "other"}]}}
        changed = await region.admin.patch(POD, "web", change, "default", how="strategic")
        generation = changed["metadata"]["generation"]
        pod = await region.until("web", lambda pod: pod["status"].get("observedGeneration") == generation)
        assert ready(pod)
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        assert await region.logs("web", "first") == "once\n"

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
        text = (await region.events("bad", "ListensOnAllAddresses"))["ListensOnAllAddresses"]
        assert "0.0.0.0:18081" in text
        assert "$(POD_IP)" in text

    play(tmp_path, scene)


def test_a_pod_whose_port_somebody_has_is_told_who_and_what_to_bind(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        with socket.create_server(("127.99.7.7", 0)) as holder:
            number = holder.getsockname()[1]
            program = f"import socket; socket.create_server(('0.0.0.0', {number}))"
            await region.create("bad", python(program, ports=[{"containerPort": number}]), restartPolicy="Never")
            pod = await region.until("bad", lambda pod: pod["status"]["phase"] == "Failed")
            text = (await region.events("bad", "PortInUse"))["PortInUse"]
            assert text.startswith(f"Container c failed while process {os.getpid()} (")
            where, address = f"127.99.7.7:{number}", pod["status"]["podIP"]
            assert text.endswith(
                f") listens at {where}; if that was in its way, have it bind $(POD_IP), {address} here, and not 0.0.0.0"
            )

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
        created = await region.admin.create(SERVICE, service)
        await region.informers.of(SERVICE).reached(created["metadata"]["resourceVersion"])
        env = [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            {"name": "DB", "value": "$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ]
        script = "echo $COLOUR $PASSWORD $DB $NODE $(DB) $POD_IP=$(POD_IP)"
        await region.create(
            "c", shell(script, env=env, envFrom=[{"configMapRef": {"name": "settings"}}]), restartPolicy="Never"
        )
        await region.until("c", lambda pod: pod["status"]["phase"] == "Succeeded")
        assert await region.logs("c") == "red s3cret 127.96.0.9:5432 n1 127.96.0.9:5432 127.64.0.1=127.64.0.1\n"

    play(tmp_path, scene)


def test_a_missing_secret_is_named_and_waited_for(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("c", shell("true", envFrom=[{"secretRef": {"name": "login"}}]))
        pod = await region.until("c", lambda pod: reason(pod) == "CreateContainerConfigError")
        assert state(pod)["waiting"]["message"] == 'secret "login" not found'
        assert (await region.events("c", "Failed"))["Failed"] == 'Error: secret "login" not found'

    play(tmp_path, scene)


def test_a_pod_waits_for_an_address(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        for name in ("a", "b", "c"):
            await region.create(name, shell("exec sleep 1000"))
        await region.until("b", ready)
        assert (await region.events("c", "FailedCreatePodSandBox"))["FailedCreatePodSandBox"] == (
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


def test_an_agent_with_another_range_gives_its_pods_addresses_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        region = Region(tmp_path)
        for name in ("default", "kube-node-lease"):
            await region.admin.create(NAMESPACE, {"metadata": {"name": name}})
        for pods in ("127.64.0.0/16", "127.65.0.0/16"):
            region.pods = ip_network(pods)
            node = asyncio.ensure_future(region.node())
            if pods == "127.64.0.0/16":
                await region.create("web", shell("exec sleep 1000"))

            def moved(pod: Tree) -> bool:
                return ready(pod) and ip_address(pod["status"]["podIP"]) in region.pods

            found = (await region.until("web", moved))["status"]
            assert found["podIPs"] == [{"ip": found["podIP"]}]
            node.cancel()
            await asyncio.wait([node])
        region.app.close()

    asyncio.run(asyncio.wait_for(main(), 30))


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
