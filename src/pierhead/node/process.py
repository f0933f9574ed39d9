"""Runtime class ``process``: a container is a plain process on the node's own files.

Each is a session of its own, started through ``setpriv --pdeathsig KILL``: it dies with the thread that started it (the one
of the event loop). It is not reaped before its whole tree was ended, so that its number stays the name of its session. Children are
watched through pidfds and pipes by the event loop itself: no thread and no task for each.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import msgspec

from pierhead.api.network import Range
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
_DEATH = 0.5
"""Seconds a killed process may hold us up until it is gone; only one that sits in the kernel takes longer than a moment."""
_FIRST = 512
"""Bytes kept of what a pipe brought first."""
_SETPRIV_FAILED = (126, 127)


class Processes:
    """Starts processes that carry the mark of this agent's data directory."""

    def __init__(self, mark: str, open_files: int = 0) -> None:
        """``open_files``: the soft limit that pods get, because some programs take it for the number of files they have to close; 0:
        this process's own.

        Raises:
            UsageError: there is no ``setpriv`` on this machine.
        """
        self._mark, self._trees, self._open_files = mark, tree.Trees(), open_files
        self._setpriv, self._prlimit = _tool("setpriv"), _tool("prlimit")

    async def start(self, launch: Launch) -> Process:
        """See `Runtime.start`. What runs nowhere on this machine is found before anything is started."""
        marks = self._marks(launch.pod) | {"PIERHEAD_CONTAINER": launch.name}
        environment = marks | dict(launch.environment) | marks
        spawn = _Spawn(self._command(launch), environment, launch.directory)
        with ExitStack() as opened:
            out = opened.enter_context(closing(_Pipe(lambda data: launch.log.write(b"stdout", data))))
            err = opened.enter_context(closing(_Pipe(lambda data: launch.log.write(b"stderr", data))))
            child = spawn.start(launch.argv, out, err)
            opened.pop_all()
        return Process(child, spawn, launch.log, _Tree(self._trees, _entries(marks), child.pid), (out, err))

    async def clear(self, pod: str) -> None:
        await self._trees.end(tree.Marks(_entries(self._marks(pod))))

    async def rivals(self, ports: Collection[tuple[str, int]], pods: Sequence[Range]) -> Sequence[str]:
        return await asyncio.to_thread(listeners.rivals, ports, pods)

    def _marks(self, pod: str) -> dict[str, str]:
        return {leftovers.VARIABLE: self._mark, "PIERHEAD_POD": pod}

    def _command(self, launch: Launch) -> list[str]:
        command = [self._setpriv, "--pdeathsig", "KILL"]
        if launch.user is not None:
            group = launch.user if launch.group is None else launch.group
            command += ["--reuid", str(launch.user), "--regid", str(group), "--clear-groups"]
        if self._open_files not in (0, resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
            soft = "unlimited" if self._open_files == resource.RLIM_INFINITY else self._open_files
            command = [self._prlimit, f"--nofile={soft}:", *command]
        return [*launch.prefix, *command, "--"]


def _tool(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin:" + os.environ.get("PATH", ""))
    if found is None:
        raise UsageError(f"{name} is missing, which starts pods", "install util-linux: apt-get install util-linux")
    return found


def _entries(marks: Mapping[str, str]) -> frozenset[bytes]:
    return frozenset(f"{name}={value}".encode() for name, value in marks.items())


class Process:
    """A container of class ``process``. See `runtime.Running`."""

    def __init__(self, child: _Child, spawn: _Spawn, log: Log, tree: _Tree, pipes: tuple[_Pipe, _Pipe]) -> None:
        self._child, self._spawn, self._log, self._tree, self._pipes = child, spawn, log, tree, pipes
        self._over = False
        self._told: Mapping[int, int] | None = None
        """The processes that were asked to end, once that was asked."""

    @property
    def id(self) -> str:
        return f"process://{self._child.pid}"

    async def wait(self) -> Exit:
        """See `Running.wait`.

        Raises:
            StartFailed: the kernel refused to run the command.
        """
        try:
            await self._child.exited()
            if self._told is None or await self._tree.outlast(self._told):
                await self._tree.kill()
            for pipe in self._pipes:
                await pipe.drained()
        finally:
            self._over = True
            code = self._child.reap()
            for pipe in self._pipes:
                pipe.close()
            self._log.close()
        self._notice_setpriv(code)
        return _exit(code)

    async def terminate(self) -> None:
        if self._told is None and not self._over:
            found = await self._tree.find()
            if self._told is None and not self._over:  # others may have asked, or it may have ended, while we looked
                self._told = found
                tree.send(found, signal.SIGTERM)

    async def kill(self) -> None:
        if not self._over:
            await self._tree.kill()

    async def run(self, command: Sequence[str], timeout: float | None) -> tuple[int, str]:
        kept = bytearray()
        with closing(_Pipe(lambda data: kept.extend(data[: _OUTPUT - len(kept)]))) as pipe:
            child = self._spawn.start(command, pipe, pipe)
            try:
                async with asyncio.timeout(timeout):
                    await child.exited()
            finally:
                try:
                    await child.end()
                finally:
                    code = child.reap()
            await pipe.drained()
        return _exit(code).code, kept.decode(errors="replace")

    async def wildcards(self, udp: Collection[int]) -> list[str]:
        return await asyncio.to_thread(listeners.wildcards, await self._tree.find(), udp)

    def _notice_setpriv(self, code: int) -> None:
        """What only the kernel can tell (a missing interpreter, say) is reported by setpriv, on the container's stderr."""
        if code in _SETPRIV_FAILED and self._pipes[1].first.startswith(b"setpriv: failed to execute "):
            raise StartFailed(f"exec: {self._pipes[1].first.decode(errors='replace').split('execute ', 1)[1].strip()}")


def _exit(code: int) -> Exit:
    """From Python's way of telling a signal to that of container runtimes."""
    return Exit(code) if code >= 0 else Exit(128 - code, -code)


class _Tree(msgspec.Struct, frozen=True):
    """The processes of one container, while its first process is not reaped."""

    trees: tree.Trees
    entries: frozenset[bytes]
    session: int

    async def find(self) -> dict[int, int]:
        return await self.trees.find(self._marks)

    async def outlast(self, told: Collection[int]) -> int:
        """Until those that are there now have ended by themselves, or were killed; how many there were. Who was born while the
        others were told to end is told now. Where there was none there will be none: nobody is left to start one."""
        found = await self.find()
        tree.send({pid: session for pid, session in found.items() if pid not in told}, signal.SIGTERM)
        await tree.gone(found)
        return len(found)

    async def kill(self) -> None:
        """What does not end (it sits in the kernel) is reported and left: its pod must not hang with it."""
        try:
            await self.trees.kill(self._marks)
        except tree.Unkillable:
            log.exception("a container leaves something behind")

    @property
    def _marks(self) -> tree.Marks:
        return tree.Marks(self.entries, self.session)


class _Spawn(msgspec.Struct, frozen=True):
    """How commands of one container are started."""

    prefix: Sequence[str]
    environment: Mapping[str, str]
    directory: str

    def start(self, argv: Sequence[str], out: _Pipe, err: _Pipe) -> _Child:
        """Raises:
        StartFailed: see `Runtime.start`.
        """
        _check(argv, self.environment, self.directory)
        try:
            return _Child(
                subprocess.Popen(
                    [*self.prefix, *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=out.writer,
                    stderr=err.writer,
                    cwd=self.directory,
                    env=self.environment,
                    start_new_session=True,
                )
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


class _Child:
    """A process that was started here, held by a pidfd until it is reaped."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Raises:
        OSError: there is no descriptor left to hold it by; it was ended.
        """
        self._process = process
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exited(self) -> None:
        await tree.exited(self._pidfd)

    async def end(self) -> None:
        """Ends it and all of its process group."""
        self._kill()
        await self.exited()

    def reap(self) -> int:
        """Its exit code. Where it still runs, because whoever waited for it was cancelled, it is ended first."""
        try:
            if self._process.poll() is None:
                self._kill()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_DEATH)
            return self._process.returncode or 0
        finally:
            os.close(self._pidfd)

    def _kill(self) -> None:
        """The number of the group is its own as long as it is not reaped."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class _Pipe:
    """From a process to a callback, a chunk at a time."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        """Raises:
        StartFailed: there is no descriptor left.
        """
        try:
            self._reader, self.writer = os.pipe()
        except OSError as error:
            raise StartFailed(f"cannot start a process: {error.strerror}") from error
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
