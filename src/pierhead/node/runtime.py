"""``Runtime``: what runs a container. The seam between the life of a pod and what a runtime class makes of it.

Law: a runtime knows nothing of the API, of probes or of restarts; it starts one container once, says how it ended, and leaves
nothing of it behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from pierhead.api.network import Range
from pierhead.errors import PierheadError
from pierhead.node.logs import Log


class Launch(msgspec.Struct, frozen=True):
    """One run of one container."""

    pod: str
    """The pod's uid."""
    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Log
    directory: str = "/"
    user: int | None = None
    """None: the account of the agent."""
    group: int | None = None
    prefix: tuple[str, ...] = ()
    """What leads into the pod's own network."""


class Exit(msgspec.Struct, frozen=True):
    """How a container ended."""

    code: int
    """128 + signal for a process that died of a signal, as every container runtime has it."""
    signal: int = 0


class StartFailed(PierheadError):
    """The command could not be run; the text says why, for the pod's status."""


class Running(Protocol):
    """A container that was started."""

    @property
    def id(self) -> str:
        """``process://4711``."""
        ...

    async def wait(self) -> Exit:
        """Until it has ended and nothing of it is left. Exactly one task waits, from the start on.

        Raises:
            StartFailed: it was never really started, as turned out later.
        """
        ...

    async def terminate(self) -> None:
        """Asks all of it to end, once however often it is called. From here on what outlives its first process may go on until
        it ends by itself, or is killed."""
        ...

    async def kill(self) -> None:
        """Ends all of it now; `wait` returns soon."""
        ...

    async def run(self, command: Sequence[str], timeout: float | None) -> tuple[int, str]:
        """Runs a command beside it, in the same environment: exit code and output (its first 10 KiB).

        Raises:
            TimeoutError: it took too long and was ended.
            StartFailed: it could not be run.
        """
        ...

    async def wildcards(self, udp: Collection[int]) -> list[str]:
        """The addresses such as ``0.0.0.0:8080`` it listens on that mean "every address"; of UDP only the ports in ``udp``."""
        ...


class Runtime(Protocol):
    """Starts containers of one runtime class."""

    async def start(self, launch: Launch) -> Running:
        """Raises:
        StartFailed: the command does not exist, is not executable, or its directory is missing.
        """
        ...

    async def clear(self, pod: str) -> None:
        """Ends whatever runs of a pod (its uid) that nobody waits for any more."""
        ...

    async def rivals(self, ports: Collection[tuple[str, int]], pods: Sequence[Range]) -> Sequence[str]:
        """Who else listens at one of these ports, (protocol, number), where all containers of the class share them; one text each.
        ``pods``: addresses that do not count, because their pods bind nothing else."""
        ...
