"""Runtime class ``process``: a container is a plain process on the node's own files.

Each is a session of its own, started through ``setpriv --pdeathsig KILL``: it dies with the thread that started it (the one
of the event loop). It is not reaped before its whole tree was ended, so that its number stays the name of its session. Children are watched through pidfds and
pipes by the event loop itself: no thread and no task for each.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pierhead.errors import UsageError
from pierhead.node import leftovers, listeners, tree
from pierhead.node.logs import Log
from pierhead.node.runtime import Exit, Launch, StartFailed

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024
"""Bytes taken from a pipe at a time: a container that never stops writing takes turns with everybody else."""
_OUTPUT = 10 * 1024
"""Bytes kept of a command's output."""
_DRAIN = 0.5
"""Seconds for a pipe to end after its container did; only what escaped can hold it open longer."""
_FIRST = 512
"""Bytes kept of what a pipe brought first."""
_SETPRIV_FAILED = (126, 127)


class Processes:
    """Starts processes that carry the mark of this agent's data directory."""

    def __init__(self, mark: str) -> None:
        """Raises:
        UsageError: there is no ``setpriv`` on this machine.
        """
        self._mark, self._trees = mark, tree.Trees()
        self._setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/local/bin:" + os.environ.get("PATH", ""))
        if self._setpriv is None:
            raise UsageError("setpriv is missing, which starts pods", "install util-linux: apt-get install util-linux")

    async def start(self, launch: Launch) -> Process:
        """See `Runtime.start`. What runs nowhere on this machine is found before anything is started."""
        marks = {leftovers.VARIABLE: self._mark, "PIERHEAD_POD": launch.pod, "PIERHEAD_CONTAINER": launch.name}
        environment = marks | dict(launch.environment) | marks
        _check(launch.argv, environment, launch.directory)
        spawn = _Spawn(self._command(launch), environment, launch.directory)
        out = _Pipe(lambda data: launch.log.write(b"stdout", data))
        err = _Pipe(lambda data: launch.log.write(b"stderr", data))
        try:
            child = spawn.start(launch.argv, out, err)
        except StartFailed:
            out.close()
            err.close()
            raise
        entries = frozenset(f"{name}={value}".encode() for name, value in marks.items())
        return Process(child, spawn, launch.log, _Tree(self._trees, tree.Marks(entries, child.pid)), (out, err))

    def _command(self, launch: Launch) -> list[str]:
        assert self._setpriv is not None
        command = [self._setpriv, "--pdeathsig", "KILL"]
        if launch.user is not None:
            group = launch.user if launch.group is None else launch.group
            command += ["--reuid", str(launch.user), "--regid", str(group), "--clear-groups"]
        return [*command, "--"]


class Process:
    """A container of class ``process``. See `runtime.Running`."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        spawn: _Spawn,
        log: Log,
        tree: _Tree,
        pipes: tuple[_Pipe, _Pipe],
    ) -> None:
        self._child, self._spawn, self._log, self._tree, self._pipes = child, spawn, log, tree, pipes
        self._over = asyncio.Event()
        self._until = 0.0
        """Until when what is left of the tree may still end by itself, by the loop's clock."""
        self._told = False

    @property
    def id(self) -> str:
        return f"process://{self._child.pid}"

    async def wait(self) -> Exit:
        """See `Running.wait`.

        Raises:
            StartFailed: the kernel refused to run the command.
        """
        try:
            await _exited(self._child.pid)
            await self._sweep()
            code = self._child.wait()
        finally:
            self._log.close()
            self._over.set()
        self._notice_setpriv(code)
        return Exit(code) if code >= 0 else Exit(128 - code, -code)

    async def stop(self, grace: float) -> None:
        self._until = asyncio.get_running_loop().time() + grace
        if grace > 0 and not self._told:
            self._told = True
            await self._tree.tell(signal.SIGTERM, 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._over.wait()
        if not self._over.is_set():
            self._until = 0.0
            await self._tree.kill()
            await self._over.wait()

    async def run(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        kept = bytearray()
        pipe = _Pipe(lambda data: kept.extend(data[: _OUTPUT - len(kept)]))
        try:
            _check(command, self._spawn.environment, self._spawn.directory)
            child = self._spawn.start(command, pipe, pipe)
        except StartFailed:
            pipe.close()
            raise
        try:
            async with asyncio.timeout(timeout):
                await _exited(child.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
            await pipe.drained()
        return code if code >= 0 else 128 - code, kept.decode(errors="replace")

    async def wildcards(self, udp: Collection[int]) -> list[str]:
        return await asyncio.to_thread(listeners.wildcards, await self._tree.find(), udp)

    async def _sweep(self) -> None:
        """Ends what the first process left; what was told to stop may use the rest of its grace period."""
        remaining = self._until - asyncio.get_running_loop().time()
        if remaining > 0:
            await self._tree.tell(0, remaining)
        await self._tree.kill()
        for pipe in self._pipes:
            await pipe.drained()

    def _notice_setpriv(self, code: int) -> None:
        """What only the kernel can tell (a missing interpreter, say) is reported by setpriv, on the container's stderr."""
        if code in _SETPRIV_FAILED and self._pipes[1].first.startswith(b"setpriv: failed to execute "):
            raise StartFailed(f"exec: {self._pipes[1].first.decode(errors='replace').split('execute ', 1)[1].strip()}")


@dataclass(frozen=True, slots=True)
class _Tree:
    """The processes of one container."""

    trees: tree.Trees
    marks: tree.Marks

    async def find(self) -> Collection[int]:
        return await self.trees.find(self.marks)

    async def tell(self, number: int, patience: float) -> None:
        await self.trees.tell(self.marks, number, patience)

    async def kill(self) -> None:
        """What does not end (it sits in the kernel) is reported and left: its pod must not hang with it."""
        try:
            await self.trees.kill(self.marks)
        except tree.Unkillable:
            log.exception("a container leaves something behind")


@dataclass(frozen=True, slots=True)
class _Spawn:
    """How commands of one container are started."""

    prefix: Sequence[str]
    environment: Mapping[str, str]
    directory: str

    def start(self, argv: Sequence[str], out: _Pipe, err: _Pipe) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [*self.prefix, *argv],
                stdin=subprocess.DEVNULL,
                stdout=out.writer,
                stderr=err.writer,
                cwd=self.directory,
                env=self.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(
                f"cannot start a process: {error.strerror}: {error.filename or self.directory}"
            ) from error
        except ValueError as error:
            raise StartFailed(f"cannot start a process: {error} in its command or environment") from error
        finally:
            out.started()
            err.started()


class _Pipe:
    """From a process to a callback, a chunk at a time."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._loop.add_reader(self._reader, self._read)
        self.first = b""
        """The first bytes that came: what setpriv has to say."""

    def started(self) -> None:
        """The process has its copy of the writing end; ours would keep the pipe open."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def drained(self) -> None:
        """Until everything was read, and the pipe is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                await self._ended.wait()
        self.close()

    def close(self) -> None:
        self.started()
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
            self._ended.set()

    def _read(self) -> None:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self.first += data[: _FIRST - len(self.first)]
        self._take(data)


async def _exited(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        await tree.exited(pidfd)
    finally:
        os.close(pidfd)


def _check(argv: Sequence[str], environment: Mapping[str, str], directory: str) -> None:
    """Raises:
    StartFailed: in the words of the container runtimes.
    """
    if not argv:
        raise StartFailed("no command specified: a process has no image that could name one")
    place = Path(directory)
    if not place.is_dir():
        why = "not a directory" if place.exists() else "no such file or directory"
        raise StartFailed(f'chdir to cwd ("{directory}") set in workingDir failed: {why}')
    command = argv[0]
    if "/" not in command:
        if shutil.which(command, path=environment.get("PATH", os.defpath)) is None:
            raise StartFailed(f'exec: "{command}": executable file not found in $PATH')
        return
    path = place / command
    if not path.exists():
        raise StartFailed(f'exec: "{command}": stat {command}: no such file or directory')
    if path.is_dir():
        raise StartFailed(f'exec: "{command}": is a directory')
    if not os.access(path, os.X_OK):
        raise StartFailed(f'exec: "{command}": permission denied')
