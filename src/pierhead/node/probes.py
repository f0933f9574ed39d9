"""Probes, done: connections and commands from the node to a pod, at the times `core.probes` says.

One connection per look, ``Connection: close``, an answer of 2xx or 3xx passes; at most 64 looks at once. Texts are the kubelet's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import SystemRandom
from typing import NoReturn, Protocol

import msgspec

from pierhead.api.views import Container, HTTPGetAction, Probe, TCPSocketAction
from pierhead.core import probes as course
from pierhead.core.probes import Purpose
from pierhead.errors import PierheadError
from pierhead.node.target import Target, Unreachable, join, reason

AT_ONCE = 64


class Outcome(msgspec.Struct, frozen=True):
    ok: bool
    text: str = ""
    """Why not."""


class Listener(Protocol):
    """Who is told what the probes of a container find."""

    def verdict(self, purpose: Purpose, passing: bool) -> None:
        """The verdict changed."""

    def failure(self, purpose: Purpose, text: str) -> None:
        """A look failed, and counts."""


class Prober:
    """Looks at containers, never at too many at once."""

    def __init__(self, at_once: int = AT_ONCE, chance: Callable[[], float] | None = None) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._chance = chance or SystemRandom().random

    async def watch(self, container: Container, target: Target, listener: Listener) -> Purpose:
        """Looks until a probe condemns the container that has just been started; says which. A container without liveness
        and startup probe is never condemned, and this never returns."""
        started = asyncio.get_running_loop().time()
        if container.startup_probe:
            watch = _Watch("startup", container.startup_probe, target, listener, started)
            if not await self._follow(watch, lambda passing: passing is not None):
                return "startup"
        async with asyncio.TaskGroup() as tasks:
            readiness = container.readiness_probe
            if readiness:
                watch = _Watch("readiness", readiness, target, listener, started)
                looking = tasks.create_task(self._follow(watch, lambda passing: False))
            if not container.liveness_probe:
                await _forever()
            watch = _Watch("liveness", container.liveness_probe, target, listener, started)
            await self._follow(watch, lambda passing: passing is False)
            if readiness:
                looking.cancel()
        return "liveness"

    async def _follow(self, watch: _Watch, over: Callable[[bool | None], bool]) -> bool | None:
        clock, probe = asyncio.get_running_loop().time, watch.probe
        found = course.begin(watch.purpose, probe, started=watch.started, now=clock(), jitter=self._chance())
        while not over(found.passing):
            await asyncio.sleep(max(0.0, found.due - clock()))
            async with self._slots:
                outcome = await look(probe, watch.target)
            before, found = found, course.observe(found, probe, outcome.ok, clock())
            if course.counted(found) and not outcome.ok:
                watch.listener.failure(watch.purpose, outcome.text)
            if found.passing is not before.passing:
                watch.listener.verdict(watch.purpose, bool(found.passing))
        return found.passing


class _Watch(msgspec.Struct, frozen=True):
    """One probe of one running container."""

    purpose: Purpose
    probe: Probe
    target: Target
    listener: Listener
    started: float


async def _forever() -> NoReturn:
    while True:
        await asyncio.get_running_loop().create_future()


# -- one look -----------------------------------------------------------------------------------------------


async def look(probe: Probe, target: Target) -> Outcome:
    """One look, within the probe's timeout. A probe that cannot be done fails."""
    try:
        if probe.http_get:
            return await _http(probe.http_get, target, probe.timeout_seconds)
        if probe.tcp_socket:
            return await _tcp(probe.tcp_socket, target, probe.timeout_seconds)
        if probe.exec:
            return await _exec(probe.exec.command, target, probe.timeout_seconds)
    except Unreachable as error:
        return Outcome(False, str(error))
    if probe.grpc:
        return Outcome(False, "grpc probes are not supported; use httpGet, tcpSocket or exec")
    return Outcome(True)


async def _http(action: HTTPGetAction, target: Target, timeout: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout):
            status = await target.get(action, "kube-probe/1.36")
    except TimeoutError:
        text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome(False, f'Get "{target.url(action)}": {text}')
    if 200 <= status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _tcp(action: TCPSocketAction, target: Target, timeout: float) -> Outcome:
    host, port = action.host or target.address, target.port(action.port)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {join(host, port)}: i/o timeout")
    except (OSError, UnicodeError) as error:
        return Outcome(False, reason(error, host, port))
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Outcome(True)


async def _exec(command: Sequence[str], target: Target, timeout: float) -> Outcome:
    try:
        code, text = await target.run(command, timeout)
    except TimeoutError:
        return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
    except PierheadError as error:
        return Outcome(False, f"command failed: {error}")
    return Outcome(code == 0, text.strip() or f"command exited with code {code}")
