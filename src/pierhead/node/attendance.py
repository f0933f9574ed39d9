"""``Attendance``: what is done for a container while it runs: its probes, and a look at where it listens."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from pierhead.api.views import Container, Pod
from pierhead.core.probes import Purpose
from pierhead.node.host import Host
from pierhead.node.probes import Target
from pierhead.node.runtime import Running

_SETTLE = 1.0
"""Seconds a container without readiness probe gets to open its sockets before they are looked at."""


class Keeper(Protocol):
    """Whose container it is."""

    address: str

    def judge(self, name: str, *, started: bool | None = None, ready: bool | None = None) -> None: ...

    def listens(self, name: str, wildcards: list[str]) -> None: ...

    def note(self, name: str, reason: str, text: str, *, type: Literal["Normal", "Warning"] = "Warning") -> None: ...


class Attendance:
    """Attends to one run of one container. Is the listener of its probes."""

    def __init__(self, pod: Pod, container: Container, run: Running, host: Host, keeper: Keeper) -> None:
        self._pod, self._container, self._running, self._host, self._keeper = pod, container, run, host, keeper
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled, or until a probe has condemned the container and it was stopped."""
        async with asyncio.TaskGroup() as tasks:
            inspecting = tasks.create_task(self._inspect())
            purpose = await self._host.prober.watch(self._container, self._target, self)
            inspecting.cancel()
        again = "" if self._pod.spec.restart_policy == "Never" else ", will be restarted"
        name = self._container.name
        self._keeper.note(name, "Killing", f"Container {name} failed {purpose} probe{again}", type="Normal")
        await self._running.stop(self._grace(purpose))

    def verdict(self, purpose: Purpose, passing: bool) -> None:
        if purpose == "startup":
            self._keeper.judge(self._container.name, started=passing)
        elif purpose == "readiness":
            self._keeper.judge(self._container.name, ready=passing)
        self._look.set()

    def failure(self, purpose: Purpose, text: str) -> None:
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
            found = await self._running.wildcards(udp)
            if found != told:
                self._keeper.listens(self._container.name, found)
            told = found

    def _grace(self, purpose: Purpose) -> float:
        probe = self._container.startup_probe if purpose == "startup" else self._container.liveness_probe
        assert probe is not None
        found = probe.termination_grace_period_seconds
        if found is None:
            found = self._pod.spec.termination_grace_period_seconds
        return 30.0 if found is None else float(found)
