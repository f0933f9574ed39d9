"""Containers as plain processes (`node.process`, `node.tree`, `node.leftovers`), with real ones."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pierhead.node import leftovers, tree
from pierhead.node.logs import Log
from pierhead.node.process import Process, Processes
from pierhead.node.runtime import Exit, Launch, StartFailed

MARK = "test-" + uuid.uuid4().hex


def launch(place: Path, *argv: str, **more: object) -> Launch:
    environment = {"PATH": os.environ["PATH"]}
    given = {"environment": environment, "log": Log.begun(place / "0.log")} | more
    return Launch(uuid.uuid4().hex, "web", argv, **given)  # type: ignore[arg-type]


def shell(place: Path, script: str, **more: object) -> Launch:
    return launch(place, "sh", "-c", script, **more)


def output(directory: Path) -> str:
    lines = (directory / "0.log").read_text().splitlines()
    return "".join(line.split(" ", 3)[3] + ("\n" if line.split(" ", 3)[2] == "F" else "") for line in lines)


async def until(holds: Callable[[], bool]) -> None:
    """Within five seconds: other processes have a clock of their own."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        container = await Processes(MARK).start(shell(tmp_path, "echo out; echo err >&2; exit 3"))
        assert await container.wait() == Exit(3)

    asyncio.run(scenario())
    text = (tmp_path / "0.log").read_text()
    assert sorted(output(tmp_path).splitlines()) == ["err", "out"]
    assert " stdout F out" in text
    assert " stderr F err" in text


def test_a_container_has_its_environment_and_its_directory_and_nothing_of_ours(tmp_path: Path) -> None:
    async def scenario() -> None:
        given = {"PATH": os.environ["PATH"], "POD_IP": "127.64.0.7"}
        found = shell(tmp_path, "env; pwd", environment=given, directory="/usr")
        await (await Processes(MARK).start(found)).wait()

    asyncio.run(scenario())
    lines = output(tmp_path).splitlines()
    assert "POD_IP=127.64.0.7" in lines
    assert "/usr" in lines
    assert {line.split("=")[0] for line in lines if "=" in line} <= {
        "PATH", "POD_IP", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "PIERHEAD_POD", "PIERHEAD_CONTAINER", "PIERHEAD_REGION"
    }  # fmt: skip


def test_death_by_signal_is_told_as_container_runtimes_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        container = await Processes(MARK).start(shell(tmp_path, "kill -SEGV $$"))
        assert await container.wait() == Exit(139, 11)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["no-such-command"], 'exec: "no-such-command": executable file not found in $PATH'),
        (["/no/such"], 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["/etc"], 'exec: "/etc": is a directory'),
        ([], "no command specified: a process has no image that could name one"),
        (["echo", "a\0b"], "cannot start a process: embedded null byte in its command or environment"),
    ],
)
def test_a_command_that_cannot_run_is_named(tmp_path: Path, argv: list[str], text: str) -> None:
    async def scenario() -> None:
        found = launch(tmp_path, *argv)
        with pytest.raises(StartFailed) as caught:
            await Processes(MARK).start(found)
        assert str(caught.value) == text
        found.log.close()

    asyncio.run(scenario())


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        found = launch(tmp_path, "true", directory="/no/such")
        with pytest.raises(StartFailed, match=r'chdir to cwd \("/no/such"\) set in workingDir failed: no such file'):
            await Processes(MARK).start(found)
        found.log.close()

    asyncio.run(scenario())


def test_what_the_kernel_refuses_to_run_is_a_failed_start(tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)

    async def scenario() -> None:
        container = await Processes(MARK).start(launch(tmp_path, str(script)))
        with pytest.raises(StartFailed, match="No such file or directory"):
            await container.wait()

    asyncio.run(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another account")
def test_root_runs_it_as_somebody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        await (await Processes(MARK).start(launch(tmp_path, "id", "-u", user=65534))).wait()

    asyncio.run(scenario())
    assert output(tmp_path) == "65534\n"


def end(directory: Path, script: str, *steps: str) -> Exit:
    """Starts a script that prints ``up``, then does with it what the steps say; how it ended."""

    async def scenario() -> Exit:
        container = await Processes(MARK).start(shell(directory, script))
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(container.wait())
            await until(lambda: "up" in output(directory))
            for step in steps:
                await getattr(container, step)()
        return ended.result()

    return asyncio.run(scenario())


def test_it_is_asked_to_end(tmp_path: Path) -> None:
    assert end(tmp_path, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done", "terminate") == Exit(0)
    assert output(tmp_path).endswith("bye\n")


def test_it_is_asked_once_however_many_ask(tmp_path: Path) -> None:
    script = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done"

    async def scenario() -> None:
        container = await Processes(MARK).start(shell(tmp_path, script))
        ended = asyncio.ensure_future(container.wait())
        await until(lambda: "up" in output(tmp_path))
        given_up = asyncio.ensure_future(container.terminate())
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(container.terminate(), container.terminate())
        await until(lambda: "asked" in output(tmp_path))
        await container.terminate()
        await container.kill()
        await ended

    asyncio.run(scenario())
    assert output(tmp_path).count("asked") == 1


def test_it_is_killed_whether_it_was_asked_or_not(tmp_path: Path) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.01; done"
    assert end(tmp_path / "a", script, "terminate", "kill") == Exit(137, 9)
    assert end(tmp_path / "b", script, "kill") == Exit(137, 9)


def test_children_of_a_shell_may_go_on_after_the_shell_has_ended(tmp_path: Path) -> None:
    child = "trap 'sleep 0.2; echo served; exit' TERM; echo up; while :; do sleep 0.01; done"
    end(tmp_path, f'sh -c "{child}" & wait', "terminate")
    assert output(tmp_path).endswith("served\n")


def test_a_child_born_while_the_others_were_told_is_told_after_them(tmp_path: Path) -> None:
    """The shell has its child from the trap: nobody could have seen that before."""
    script = "trap 'sleep 1000 & sleep 0.2; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    assert end(tmp_path, script, "terminate").signal == 0


def test_once_it_is_over_nobody_is_signalled_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        container = await Processes(MARK).start(shell(tmp_path, "exit 0"))
        await container.wait()
        await container.terminate()
        await container.kill()

    asyncio.run(scenario())


def test_where_nobody_waits_any_more_nothing_runs_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        processes, found = Processes(MARK), shell(tmp_path, f"{GRANDCHILDREN} while :; do sleep 0.01; done")
        container = await processes.start(found)
        waiting = asyncio.ensure_future(container.wait())
        await until(lambda: len(output(tmp_path).split()) == 4)
        waiting.cancel()
        await asyncio.wait([waiting])
        await processes.clear(found.pod)
        assert found.log.closed
        assert not [word for word in output(tmp_path).split() if alive(int(word))]
        assert not alive(int(container.id.removeprefix("process://")))

    asyncio.run(scenario())


def test_a_pod_has_the_user_s_limit_of_open_files_and_not_ours(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario() -> None:
        for given in (256, 0):
            await (await Processes(MARK, given).start(shell(tmp_path, "ulimit -Sn; ulimit -Hn"))).wait()

    asyncio.run(scenario())
    assert output(tmp_path).split() == ["256", str(hard), str(soft), str(hard)]


def test_no_descriptor_of_ours_is_a_pod_s(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("wb") as secret:
        os.set_inheritable(secret.fileno(), True)

        async def scenario() -> None:
            await (await Processes(MARK).start(shell(tmp_path, "exec ls -l /proc/self/fd"))).wait()

        asyncio.run(scenario())
    assert "secret" not in output(tmp_path)


GRANDCHILDREN = """
sleep 1000 & echo $!
setsid sleep 1000 & echo $!
env -i sleep 1000 & echo $!
(setsid sh -c 'sleep 1000 & echo $!; wait' &)
"""


def test_nothing_of_a_tree_is_left_however_it_ends(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        container = await Processes(MARK).start(shell(tmp_path, f"{GRANDCHILDREN} while :; do sleep 0.01; done"))
        ended = asyncio.ensure_future(container.wait())
        await until(lambda: len(output(tmp_path).split()) == 4)
        pids = [int(word) for word in output(tmp_path).split()]
        assert all(map(alive, pids))
        os.kill(int(container.id.removeprefix("process://")), signal.SIGKILL)
        await ended
        return pids

    assert not [pid for pid in asyncio.run(scenario()) if alive(pid)]


def test_containers_of_one_pod_are_trees_of_their_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        processes = Processes(MARK)
        first = shell(tmp_path / "a", "sleep 1000")
        second = Launch(first.pod, "sidecar", ["sleep", "1000"], first.environment, Log.begun(tmp_path / "b" / "0.log"))
        one, two = await processes.start(first), await processes.start(second)
        other = asyncio.ensure_future(two.wait())
        await asyncio.gather(one.wait(), one.terminate())
        assert alive(int(two.id.removeprefix("process://")))
        await two.kill()
        await other

    asyncio.run(scenario())


def with_container(directory: Path, script: str, use: Callable[[Process], Awaitable[None]]) -> None:
    async def scenario() -> None:
        container = await Processes(MARK).start(shell(directory, script))
        ended = asyncio.ensure_future(container.wait())
        await until(lambda: "up" in output(directory))
        await use(container)
        await container.kill()
        await ended

    asyncio.run(scenario())


def test_a_command_beside_it_has_its_environment(tmp_path: Path) -> None:
    async def use(container: Process) -> None:
        code, text = await container.run(["sh", "-c", "echo $PIERHEAD_CONTAINER; echo oh >&2; exit 4"], 5)
        assert code == 4
        assert sorted(text.split()) == ["oh", "web"]

    with_container(tmp_path, "echo up; sleep 1000", use)


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def use(container: Process) -> None:
        with pytest.raises(TimeoutError):
            await container.run(["sleep", "1000"], 0.05)

    with_container(tmp_path, "echo up; sleep 1000", use)


def test_the_output_of_a_command_is_bounded(tmp_path: Path) -> None:
    async def use(container: Process) -> None:
        _, text = await container.run(["sh", "-c", "yes | head -c 300000"], 5)
        assert len(text) == 10 * 1024

    with_container(tmp_path, "echo up; sleep 1000", use)


def test_who_listens_on_every_address_is_found(tmp_path: Path) -> None:
    script = "import socket; s = socket.create_server(('{}', 0)); print('up', s.getsockname()[1], flush=True); input()"

    def listening(address: str) -> tuple[int, list[str]]:
        found: list[str] = []
        directory = tmp_path / address

        async def use(container: Process) -> None:
            found.extend(await container.wildcards([]))

        program = script.format(address).replace("input()", "import time; time.sleep(1000)")
        with_container(directory, f'exec {sys.executable} -c "{program}"', use)
        return int(output(directory).split()[1]), found

    port, found = listening("0.0.0.0")
    assert found == [f"0.0.0.0:{port}"]
    assert listening("127.0.0.1")[1] == []


def test_what_a_killed_agent_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    """The agent is another process here; its pod's children outlive it."""
    program = f"""
import asyncio, os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from pierhead.node import leftovers
from pierhead.node.logs import Log
from pierhead.node.process import Processes
from pierhead.node.runtime import Launch
async def main():
    for place in ("ours", "theirs"):
        mark = leftovers.mark(Path(r"{tmp_path}") / place)
        script = "sleep 1000 & echo $!; env -i sleep 1000 & echo $!; setsid sleep 1000 & echo $!; wait"
        log = Log.begun(Path(r"{tmp_path}") / place / "0.log")
        await Processes(mark).start(Launch("uid", "web", ["sh", "-c", script], {{"PATH": os.environ["PATH"]}}, log))
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    def pids(place: Path) -> list[int]:
        return [int(word) for word in output(place).split()] if (place / "0.log").exists() else []

    async def scenario() -> None:
        agent = subprocess.Popen([sys.executable, "-c", program])  # noqa: ASYNC220
        await until(lambda: len(pids(ours)) == 3 and len(pids(theirs)) == 3)
        agent.kill()
        agent.wait()
        assert all(map(alive, pids(ours)))
        assert await leftovers.end(leftovers.mark(ours)) >= 3
        assert not any(map(alive, pids(ours)))
        assert all(map(alive, pids(theirs)))
        await leftovers.end(leftovers.mark(theirs))
        assert not any(map(alive, pids(theirs)))

    asyncio.run(scenario())


def test_a_mark_is_made_once(tmp_path: Path) -> None:
    assert leftovers.mark(tmp_path / "a") == leftovers.mark(tmp_path / "a") != leftovers.mark(tmp_path / "b")


def test_we_ourselves_are_never_found(tmp_path: Path) -> None:
    """Nor those who started us, although they carry the same mark: an agent may itself run in a pod."""
    program = f"""
import asyncio, os, sys
sys.path[:0] = {sys.path!r}
from pierhead.node import leftovers
assert os.getsid(0) == os.getpid()
print(asyncio.run(leftovers.end("{MARK}")))
"""
    environment = {**os.environ, leftovers.VARIABLE: MARK}
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )
    assert found.stdout == "0\n"


def test_looks_are_shared_but_never_older_than_the_question() -> None:
    async def scenario() -> int:
        trees, marks = tree.Trees(), tree.Marks(frozenset({b"PIERHEAD_POD=nobody"}))
        await asyncio.gather(*(trees.find(marks) for _ in range(50)))
        first = trees._begun
        await trees.find(marks)
        assert trees._begun == first + 1
        return first

    assert asyncio.run(scenario()) <= 2


def test_many_processes_start_quickly(tmp_path: Path) -> None:
    """~2 ms each; the bound only notices when a thread or a second process is started for each."""

    async def scenario() -> float:
        processes = Processes(MARK)
        begun = time.monotonic()
        containers = [await processes.start(launch(tmp_path / str(i), "sleep", "1000")) for i in range(20)]
        took = time.monotonic() - begun
        waits = [asyncio.ensure_future(container.wait()) for container in containers]
        await asyncio.gather(*(container.kill() for container in containers))
        await asyncio.gather(*waits)
        return took

    assert asyncio.run(scenario()) < 1.0


def test_a_container_that_never_stops_writing_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """It begins when it is told to: what it says first would soon be in no log any more."""
    go, log = tmp_path / "go", tmp_path / "0.log"

    async def use(container: Process) -> None:
        go.touch()
        await until(lambda: log.stat().st_size > 4096)
        for _ in range(50):
            async with asyncio.timeout(0.5):
                await asyncio.sleep(0)

    with_container(tmp_path, f"echo up; until [ -e {go} ]; do sleep 0.01; done; yes", use)
