"""How containers and pods end, and what they asked for around that: hooks, grace periods, deadlines (`node.attendance`, `node.pod`)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from agents import PATIENT, Region, alive, open_to_all, play, process, ready, shell, state
from pierhead.api import Tree
from pierhead.api.kinds import POD
from pierhead.node.tree import Trees
from virtual import HASTE

LASTS = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.01; done"
SLACK = 2 * HASTE
"""What a busy machine may take besides, where time is hasty; far from the thirty seconds that a pod has where nobody says otherwise."""


def now() -> float:
    """Seconds of the scene's clock."""
    return asyncio.get_running_loop().time()


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


def test_a_pod_that_is_told_to_end_becomes_unready_and_is_not_called_unhealthy(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    ending, leave = shared / "ending", shared / "leave"
    look = {"exec": {"command": ["test", "!", "-e", str(ending)]}, "periodSeconds": 1, "failureThreshold": 1}
    end = f"touch {ending}; while [ ! -e {leave} ]; do sleep 0.01; done; exit"

    async def scene(region: Region) -> None:
        container = shell(f"trap '{end}' TERM; echo up; while :; do sleep 0.01; done", readinessProbe=look | PATIENT)
        await region.create("web", container)
        await region.until("web", ready)
        await region.until_said("web")
        await region.admin.delete(POD, "web", "default", grace=300)
        await region.until("web", lambda pod: not ready(pod))
        leave.touch()
        await region.until_gone("web")
        assert "Unhealthy" not in await region.events("web", "Killing")

    shared.mkdir()
    shared.chmod(0o777)
    open_to_all(tmp_path)
    play(tmp_path, scene, hasty=True)


def test_a_pod_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("trap '' TERM; echo up; while :; do sleep 0.01; done"))
        await region.until("web", ready)
        await region.until_said("web")
        begun = now()
        await region.admin.delete(POD, "web", "default", grace=1)
        await region.until_gone("web")
        assert 1 <= now() - begun < 1 + SLACK

    play(tmp_path, scene, hasty=True)


def test_deletion_without_grace_ends_it_at_once(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("web", shell("trap '' TERM; while :; do sleep 0.01; done"))
        pod = await region.until("web", ready)
        pid = process(pod)
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
            pids.append(process(pod))

    begun = time.monotonic()
    play(tmp_path, scene)
    assert time.monotonic() - begun < 6
    assert not any(map(alive, pids))


def test_a_pod_that_ends_its_sidecars_may_be_deleted_meanwhile(tmp_path: Path) -> None:
    """Its work is done, the sidecar has thirty seconds and does not want to go."""
    proxy = {**shell("trap '' TERM; echo up; while :; do sleep 0.01; done"), "name": "proxy", "restartPolicy": "Always"}

    async def scene(region: Region) -> None:
        await region.create("job", shell("sleep 0.1"), initContainers=[proxy], restartPolicy="Never")
        await region.until("job", lambda pod: "terminated" in state(pod))
        begun = time.monotonic()
        await region.admin.delete(POD, "job", "default", grace=0)
        await region.until_gone("job")
        assert time.monotonic() - begun < 5

    play(tmp_path, scene)


# -- hooks ---------------------------------------------------------------------------------------------------------


def hooks(post_start: str = "", pre_stop: str = "") -> Tree:
    """Commands of the shell."""
    given = {"postStart": post_start, "preStop": pre_stop}
    return {name: {"exec": {"command": ["sh", "-c", script]}} for name, script in given.items() if script}


def test_a_container_runs_when_its_post_start_hook_has_ended(tmp_path: Path) -> None:
    """And only then the next one is started."""
    gate = tmp_path / "gate"

    async def scene(region: Region) -> None:
        first = shell("exec sleep 1000", lifecycle=hooks(post_start=f"until [ -e {gate} ]; do sleep 0.01; done"))
        await region.create("web", first, {**shell("exec sleep 1000"), "name": "d"})
        pod = await region.until("web", lambda pod: pod["status"].get("containerStatuses"))
        assert [each["state"] for each in pod["status"]["containerStatuses"]] == [
            {"waiting": {"reason": "ContainerCreating"}}
        ] * 2
        assert pod["status"]["phase"] == "Pending"
        gate.touch()
        pod = await region.until("web", ready)
        assert all("running" in each["state"] for each in pod["status"]["containerStatuses"])

    open_to_all(tmp_path)
    play(tmp_path, scene)


def test_a_failed_post_start_hook_kills_the_container(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create(
            "web", shell(LASTS, lifecycle=hooks(post_start="echo secret >&2; exit 3")), restartPolicy="Never"
        )
        await region.until("web", lambda pod: pod["status"].get("phase") in ("Failed", "Succeeded"))
        events = await region.events("web", "FailedPostStartHook", "Killing")
        assert events["FailedPostStartHook"] == "PostStartHook failed"
        assert events["Killing"] == "FailedPostStartHook"

    play(tmp_path, scene)


def test_a_pre_stop_hook_comes_before_sigterm(tmp_path: Path) -> None:
    said = tmp_path / "said"

    async def scene(region: Region) -> None:
        script = f"trap 'echo told >> {said}; exit 0' TERM; echo up; while :; do sleep 0.01; done"
        await region.create("web", shell(script, lifecycle=hooks(pre_stop=f"sleep 0.1; echo hook >> {said}")))
        await region.until_said("web")
        await region.admin.delete(POD, "web", "default")
        await region.until_gone("web")
        assert said.read_text() == "hook\ntold\n"

    said.touch()
    said.chmod(0o666)
    open_to_all(tmp_path)
    play(tmp_path, scene)


def test_a_pre_stop_hook_that_fails_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        hook = {"preStop": {"httpGet": {"port": "none"}}}
        await region.create("web", shell(LASTS, lifecycle=hook))
        await region.until_said("web")
        await region.admin.delete(POD, "web", "default")
        await region.until_gone("web")
        assert (await region.events("web", "FailedPreStopHook"))["FailedPreStopHook"] == "PreStopHook failed"

    play(tmp_path, scene)


def test_a_pre_stop_hook_counts_against_the_grace_period(tmp_path: Path) -> None:
    """A second, of which nothing is left for SIGTERM but what every container has: as much as there was."""

    async def scene(region: Region) -> None:
        await region.create("web", shell(LASTS, lifecycle=hooks(pre_stop="sleep 1000")))
        await region.until_said("web")
        begun = now()
        await region.admin.delete(POD, "web", "default", grace=1)
        await region.until_gone("web")
        assert 1 <= now() - begun < 1 + SLACK
        assert "FailedPreStopHook" not in await region.events("web", "Killing")

    play(tmp_path, scene, hasty=True)


# -- deadlines -------------------------------------------------------------------------------------------------------


def test_a_pod_that_is_active_for_too_long_fails(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        await region.create("job", shell(LASTS), activeDeadlineSeconds=5)
        pod = await region.until("job", lambda pod: pod["status"].get("phase") == "Failed")
        assert pod["status"]["reason"] == "DeadlineExceeded"
        assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
        assert state(pod)["terminated"]["exitCode"] == 0
        events = await region.events("job", "DeadlineExceeded", "Killing")
        assert events["DeadlineExceeded"] == "Pod was active on the node longer than the specified deadline"
        assert events["Killing"] == "Stopping container c"

    play(tmp_path, scene, hasty=True)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_pod_without_an_address_can_be_deleted(tmp_path: Path) -> None:
    async def scene(region: Region) -> None:
        for name in ("a", "b", "c"):
            await region.create(name, shell("exec sleep 1000"))
        await region.until("b", ready)
        await region.admin.delete(POD, "c", "default")
        await region.until_gone("c")

    play(tmp_path, scene, pods="127.64.9.0/30")


def test_a_pod_whose_runner_fails_is_never_there_twice(tmp_path: Path, monkeypatch: Any) -> None:
    """The machine has no descriptor left at the moment when one of its two containers has ended."""
    look, failures, gate = Trees.find, [OSError(24, "Too many open files")], tmp_path / "gate"

    async def find(self: Trees, marks: Any) -> Any:
        if failures and marks.session is not None:
            raise failures.pop()
        return await look(self, marks)

    async def scene(region: Region) -> None:
        ends = {**shell(f"until [ -e {gate} ]; do sleep 0.01; done"), "name": "d"}
        await region.create("web", shell("setsid sleep 1000 & exec sleep 1000"), ends)
        pod = await region.until("web", lambda pod: pod["status"].get("phase") == "Running")
        before = process(pod)
        monkeypatch.setattr(Trees, "find", find)
        gate.touch()
        await region.until("web", lambda pod: process(pod) not in (0, before))
        assert not alive(before)

    open_to_all(tmp_path)
    play(tmp_path, scene, hasty=True)
