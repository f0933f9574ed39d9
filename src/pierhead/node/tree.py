"""Trees of processes: found in ``/proc`` by what stands in their environment and by their session, and ended whole.

A child that daemonised itself into a session of its own still carries the environment it was given; one that cleared its
environment is still in the session. Only a process that does both is lost: class ``process`` is no security boundary.

A process is held by a pidfd *before* it is looked at for the second time and signalled, so a number the kernel gave away again is
never hit. Neither are we ourselves, nor those who started us.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from pierhead.errors import PierheadError

_PREFIX = b"PIERHEAD_"
_TURN = 50
"""Processes looked at (~30 µs each) before others have their turn."""
_PATIENCE = 5.0
"""Seconds to go on killing what forks faster than it dies, or sits in the kernel."""


class Unkillable(PierheadError):
    """Processes are left although they were killed."""


class Marks(msgspec.Struct, frozen=True):
    """What a tree is known by."""

    entries: frozenset[bytes]
    """All of these (``PIERHEAD_NAME=value``) stand in the environment of each of its processes."""
    session: int | None = None
    """A session that is certainly the tree's: its leader is ours and not reaped yet."""


class Processes(NamedTuple):
    """All living processes of the machine at one time, but for ourselves."""

    sessions: dict[int, int]
    """Process → session."""
    marked: dict[int, frozenset[bytes]]
    """Process → what of ours stands in its environment, of those where something does."""

    def of(self, marks: Marks) -> dict[int, int]:
        """Those of one tree, each with its session; a session that holds one of them belongs to the tree as a whole."""
        carriers = {pid for pid, entries in self.marked.items() if marks.entries <= entries}
        sessions = {self.sessions[pid] for pid in carriers} | {marks.session}
        sessions -= {0, os.getsid(0), None}
        return {pid: session for pid, session in self.sessions.items() if pid in carriers or session in sessions}


class Trees:
    """Finds trees and ends them. Whoever asks while somebody else looks shares the next look, so a hundred containers that
    end together cost a few looks at ``/proc``, not hundreds."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._begun = 0
        self._seen = (0, Processes({}, {}))

    async def find(self, marks: Marks) -> dict[int, int]:
        """The processes of a tree now, each with its session."""
        wanted = self._begun + 1
        async with self._lock:
            if self._seen[0] < wanted:
                self._begun = number = self._begun + 1
                self._seen = number, await _look()
        return self._seen[1].of(marks)

    async def end(self, marks: Marks, grace: float = 0.0) -> int:
        """Ends a tree: SIGTERM, ``grace`` seconds, SIGKILL until nothing is left. Returns how many processes there were.

        Raises:
            Unkillable: something is left after five seconds of killing.
        """
        told = await self.tell(marks, signal.SIGTERM, grace) if grace > 0 else 0
        return max(told, await self.kill(marks))

    async def kill(self, marks: Marks) -> int:
        """SIGKILL until nothing is left: what was forked meanwhile is found by the next look.

        Raises:
            Unkillable: something is left after five seconds.
        """
        deadline, killed = time.monotonic() + _PATIENCE, 0
        while found := await self.tell(marks, signal.SIGKILL, 1.0):
            killed += found
            if time.monotonic() > deadline:
                raise Unkillable(f"processes do not end: {sorted(await self.find(marks))}")
        return killed

    async def tell(self, marks: Marks, number: int, patience: float) -> int:
        """Sends a signal (0: none) to every process of a tree, and waits up to ``patience`` seconds until all of them have
        ended. Returns how many there were."""
        with _held(await self.find(marks)) as held:
            _send(held, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    for pidfd in held:
                        await exited(pidfd)
            return len(held)


def send(found: Mapping[int, int], number: int) -> None:
    """Sends a signal to processes that were found."""
    with _held(found) as held:
        _send(held, number)


def _send(held: list[int], number: int) -> None:
    for pidfd in held:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)


async def gone(found: Mapping[int, int]) -> None:
    """Until processes that were found have ended."""
    with _held(found) as held:
        for pidfd in held:
            await exited(pidfd)


async def exited(pidfd: int) -> None:
    """Until the process has ended (it need not be reaped)."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _settle, over)
    try:
        await over
    finally:
        loop.remove_reader(pidfd)


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


@contextmanager
def _held(found: Mapping[int, int]) -> Iterator[list[int]]:
    """pidfds of those that are still what they were when they were found."""
    held: list[int] = []
    try:
        for pid, session in found.items():
            with suppress(ProcessLookupError):
                held.append(os.pidfd_open(pid))
                if _session(pid) != session:
                    os.close(held.pop())
        yield held
    finally:
        for pidfd in held:
            os.close(pidfd)


async def _look() -> Processes:
    """In turns with everything else in the event loop, not in a thread: a thread gives up the interpreter at each of its
    thousand small reads, and gets it back from a busy loop only after five milliseconds each time."""
    spared = _ourselves()
    found = Processes({}, {})
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    for start in range(0, len(pids), _TURN):
        for pid in pids[start : start + _TURN]:
            if pid not in spared and (session := _session(pid)) is not None:
                found.sessions[pid] = session
                if entries := _entries(pid):
                    found.marked[pid] = entries
        await asyncio.sleep(0)
    return found


def _session(pid: int) -> int | None:
    """None: there is no such process, or only what its parent has not fetched yet. One whose first thread ended before the
    others looks like that, too, and lives."""
    fields = _stat(pid)
    return None if not fields or (fields[0] in b"ZX" and int(fields[17]) <= 1) else int(fields[3])


def _stat(pid: int) -> list[bytes]:
    """The fields after the command's name (which may hold anything): state, parent, group, session, …"""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _entries(pid: int) -> frozenset[bytes]:
    """What of ours stands in its environment. Nothing where this account may not look, and for kernel threads."""
    environment = _read(f"/proc/{pid}/environ")
    if _PREFIX not in environment:
        return frozenset()
    return frozenset(entry for entry in environment.split(b"\0") if entry.startswith(_PREFIX))


def _read(path: str) -> bytes:
    """Empty where there is nothing to read. A look at every process of the machine wants no buffers and no path objects.

    Raises:
        OSError: no descriptor is left to look with, which is not the same as nothing to see.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return b""
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b""))
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _ourselves() -> set[int]:
    """This process and its ancestors."""
    found, pid = {0}, os.getpid()
    while pid not in found:
        found.add(pid)
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0
    return found
