"""``Attendance``: one run of one container, from its postStart hook to its end: hooks, probes, and a look at where it listens."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, Protocol

from pierhead.api.views import Container, LifecycleHandler, Pod
from pierhead.core import lifecycle
from pierhead.core.probes import Purpose
from pierhead.errors import PierheadError
from pierhead.node import hooks
from pierhead.node.host import Host
from pierhead.node.runtime import Exit, Running, StartFailed
from pierhead.node.target import Target

log = logging.getLogger(__name__)

_SETTLE = 1.0
"""Seconds a container without readiness probe gets to open its sockets before they are looked at."""


class Keeper(Protocol):
    """Whose container it is."""

    address: str

    def up(self, name: str) -> None: ...

    def judge(self, name: str, *, started: bool | None = None, ready: bool | None = None) -> None: ...

    def listens(self, name: str, wildcards: list[str]) -> None: ...

    def note(self, name: str, reason: str, text: str, *, type: Literal["Normal", "Warning"] = "Warning") -> None: ...


class Attendance:
    """Attends to one run of one container. Is the listener of its probes."""

    def __init__(self, pod: Pod, container: Container, running: Running, host: Host, keeper: Keeper) -> None:
        self._pod, self._container, self._running, self._host, self._keeper = pod, container, running, host, keeper
        self._look = asyncio.Event()
        self._ordered = asyncio.Event()
        self._by = math.inf
        """Until when it may go on, by the loop's clock."""
        self._at_once = False
        self._limit: asyncio.Timeout | None = None

    async def run(self) -> Exit:
        """Until it has ended and nothing of it is left.

        Raises:
            StartFailed: it was never really started.
        """
        failure: StartFailed
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._care()), tasks.create_task(self._end())]
            try:
                return await self._running.wait()
            except StartFailed as error:  # carried past the group, which would wrap it
                failure = error
            finally:
                for task in beside:
                    task.cancel()
        raise failure

    def end(self, grace: float, why: str) -> None:
        """Tells it to end within ``grace`` seconds from now; without any it is killed. Less may be given later, more may not."""
        if not self._ordered.is_set():
            self._keeper.note(self._container.name, "Killing", why, type="Normal")
            self._ordered.set()
        self._at_once = self._at_once or grace <= 0
        by = asyncio.get_running_loop().time() + grace
        if by < self._by:
            self._by = by
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(by)

    # -- its end ------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """preStop, SIGTERM, the rest of the grace period, SIGKILL."""
        await self._ordered.wait()
        if hook := lifecycle.pre_stop(self._container):
            clock = asyncio.get_running_loop().time
            begun = clock()
            await self._in_time(self._do(hook, "PreStop"))
            if not self._at_once:
                self._by = clock() + lifecycle.after_hook(self._by - begun, clock() - begun)
        if not self._at_once:
            await self._running.terminate()
            await self._in_time(_forever())
        await self._running.kill()

    async def _in_time(self, work: Coroutine[Any, Any, object]) -> None:
        """Until the work is done, or the time it was given to end is over."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._by) as self._limit:
                    await work
        finally:  # also when the container ended by itself: a limit that is over cannot be moved
            self._limit = None

    async def _do(self, hook: LifecycleHandler, name: Literal["PostStart", "PreStop"]) -> bool:
        """Whether the hook succeeded. What it said may be secret, so the Event does not repeat it."""
        try:
            await hooks.run(hook, self._target)
        except PierheadError:
            if name == "PreStop" or not self._ordered.is_set():
                self._keeper.note(self._container.name, f"Failed{name}Hook", f"{name}Hook failed")
            return False
        return True

    # -- while it runs ------------------------------------------------------------------------------------------

    async def _care(self) -> None:
        """Until cancelled, or until a hook or probe has condemned the container."""
        if hook := lifecycle.post_start(self._container):
            if not await self._do(hook, "PostStart"):
                self._condemn(lifecycle.grace(self._pod), "FailedPostStartHook")
                return
            self._keeper.up(self._container.name)
        async with asyncio.TaskGroup() as tasks:
            inspecting = tasks.create_task(self._inspect())
            purpose = await self._host.prober.watch(self._container, self._target, self)
            inspecting.cancel()
        again = "" if self._pod.spec.restart_policy == "Never" else ", will be restarted"
        self._condemn(self._grace(purpose), f"Container {self._container.name} failed {purpose} probe{again}")

    def _condemn(self, grace: float, why: str) -> None:
        """A container that is ending anyway keeps the time that it was given."""
        if not self._ordered.is_set():
            self.end(grace, why)

    def verdict(self, purpose: Purpose, passing: bool) -> None:
        if purpose == "startup":
            self._keeper.judge(self._container.name, started=passing)
        elif purpose == "readiness":
            self._keeper.judge(self._container.name, ready=passing)
        self._look.set()

    def failure(self, purpose: Purpose, text: str) -> None:
        """Of one that was told to end it is no news."""
        if self._ordered.is_set():
            return
        self._keeper.note(self._container.name, "Unhealthy", f"{purpose.capitalize()} probe failed: {text}")
        if purpose == "readiness":
            self._look.set()

    @property
    def _target(self) -> Target:
        ports = {port.name: port.container_port for port in self._container.ports if port.name}
        return Target(self._keeper.address, ports, self._running.run)

    async def _inspect(self) -> None:
        """Where all pods share the machine's ports, one that listens on all addresses is told so: when it is ready, and when
        it does not become so."""
        if self._host.network.mode != "loopback":
            return
        if not self._container.readiness_probe:
            await asyncio.sleep(_SETTLE)
            self._look.set()
        udp = [port.container_port for port in self._container.ports if port.protocol == "UDP"]
        told: list[str] = []
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                found = await self._running.wildcards(udp)
            except OSError as error:  # a remark is not worth a pod
                log.warning("cannot see where %s of pod %s listens: %s", self._container.name, self._pod.key, error)
                continue
            if found != told:
                self._keeper.listens(self._container.name, found)
            told = found

    def _grace(self, purpose: Purpose) -> float:
        """A probe may have a grace period of its own."""
        probe = self._container.startup_probe if purpose == "startup" else self._container.liveness_probe
        own = probe.termination_grace_period_seconds if probe else None
        return lifecycle.grace(self._pod) if own is None else float(own)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
