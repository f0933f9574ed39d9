"""``ExternalPod``: one pod of class ``external``, which already runs somewhere: its node looks at it and says what it sees.

It does not stand behind `runtime.Runtime`, whose law is that what was started is ended: here nothing is. No restart, no log,
no grace period; what is left of a pod's life is an address, probes and a term.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

import msgspec

from pierhead.api import external
from pierhead.api.external import Address, Unusable
from pierhead.api.kinds import POD
from pierhead.api.logs import LogQuery
from pierhead.api.views import Container, Pod
from pierhead.core import external as decisions
from pierhead.core import lifecycle_status
from pierhead.core.external import Standing
from pierhead.core.lifecycle_status import Place, Withheld
from pierhead.core.probes import Purpose
from pierhead.errors import ApiError, PierheadError
from pierhead.forwarding import place
from pierhead.forwarding.table import ServiceName
from pierhead.node.host import Host
from pierhead.node.podstatus import Gone, PodStatus
from pierhead.node.target import Target

_GLANCE = 1.0
"""Seconds a pod that was ready when an earlier agent ended has to answer before it is said that it is not."""


class ElsewhereError(PierheadError):
    """A command cannot be run where the pod is."""


class ExternalPod:
    """Watches one pod. ``ground``: where an endpoint may lie."""

    def __init__(self, pod: Pod, host: Host, ground: place.Place) -> None:
        self.pod = pod
        self._host, self._ground = host, ground
        self._since = lifecycle_status.seconds_of(pod.status.start_time) or host.now()
        self._address, self._refusal = pod.status.pod_ip, ""
        self._ready: dict[str, bool] = {}
        self._withheld: Withheld | None = None
        self._status = PodStatus(pod, host.client, host.now)
        self._looking: asyncio.Task[None] | None = None
        self._gone = False
        self._wake = asyncio.Event()

    # -- what the agent tells it ------------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The API has a newer version of the pod."""
        self.pod = pod
        self._wake.set()

    def gone(self) -> None:
        """The API no longer has the pod."""
        self._gone = True
        self._wake.set()

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """Raises: ApiError 400, always."""
        text = f'pod "{query.pod}" runs elsewhere (runtime class external): no node has its log'
        raise ApiError(400, "BadRequest", text)

    # -- its life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod is deleted. Cancelled, it leaves the pod as it is. May be called again after it failed."""
        self._looking = None
        async with asyncio.TaskGroup() as tasks:
            await self._take_up(tasks)
            while not self._leaving:
                self._wake.clear()
                self._follow_address(tasks)
                until = self._follow_term()
                again = await self._report()
                waits = (again, until and until - self._host.now())
                await self._pause(min((wait for wait in waits if wait is not None), default=None))
            self._look_away()
        await self._say_goodbye()

    @property
    def _leaving(self) -> bool:
        return self._gone or self.pod.metadata.deletion_timestamp is not None

    async def _take_up(self, tasks: asyncio.TaskGroup) -> None:
        """A pod that was ready when its node's agent ended, and is, does not lose its endpoints because an agent starts."""
        if not self.pod.ready or self._leaving:
            return
        self._follow_address(tasks)
        if self._address != self.pod.status.pod_ip:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_GLANCE):
                while not self._leaving and len(self._ready) < len(_probed(self.pod)):
                    self._wake.clear()
                    await self._wake.wait()

    async def _say_goodbye(self) -> None:
        """Not ready, so that its endpoints go, if it was anywhere; then the object itself."""
        self._withheld = decisions.DELETED
        while not self._gone:
            self._wake.clear()
            again = await self._report() if self._address else None
            again = again or await self._status.remove(self.pod)
            if again is None:
                return
            await self._pause(again)

    async def _pause(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # -- where it is, and whether it is there -----------------------------------------------------------------

    def _follow_address(self, tasks: asyncio.TaskGroup) -> None:
        """Another address is looked at from the beginning."""
        try:
            address, refusal = str(self._usable(external.address(self.pod.metadata.annotations))), ""
        except Unusable as error:
            address, refusal = "", str(error)
        if refusal and refusal != self._refusal:
            self._host.recorder.note(POD, self.pod, decisions.INVALID_ADDRESS, refusal)
        if address and address != self._address:
            told = f"The pod is reached at {address}, as annotation {external.ADDRESS} says"
            self._host.recorder.note(POD, self.pod, "Addressed", told, type="Normal")
        if address != self._address or self._looking is None:
            self._look_away()
            self._address = address
            self._looking = tasks.create_task(self._look(address))
        self._refusal = refusal

    def _usable(self, address: Address) -> Address:
        """Raises:
        Unusable: no Service may lead there.
        """
        name = ServiceName(self.pod.metadata.namespace, self.pod.metadata.name)
        ports = [port.container_port for each in self.pod.spec.containers for port in each.ports] or [0]
        for port in ports:
            if why := self._ground.forbids(name, address, port):
                raise Unusable(f"annotation {external.ADDRESS}: {why}")
        return address

    def _look_away(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = None
        self._ready = {}

    async def _look(self, address: str) -> None:
        """Until cancelled."""
        if not address:
            return
        async with asyncio.TaskGroup() as tasks:
            for container in _probed(self.pod):
                ports = {port.name: port.container_port for port in container.ports if port.name}
                tasks.create_task(
                    self._host.prober.watch(container, Target(address, ports, _elsewhere), _Seen(self, container.name))
                )

    def judge(self, name: str, *, ready: bool) -> None:
        """The readiness probe of a container came to another verdict."""
        self._ready[name] = ready
        self._wake.set()

    def complain(self, name: str, text: str) -> None:
        """It failed once more."""
        field = f"spec.containers{{{name}}}"
        self._host.recorder.note(POD, self.pod, "Unhealthy", f"Readiness probe failed: {text}", field=field)

    def _follow_term(self) -> float | None:
        """Whether its registration is good; when that changes by itself."""
        found, before = decisions.term(self.pod, self._host.now()), self._withheld
        self._withheld = found.withheld
        if found.withheld and found.withheld != before:
            self._host.recorder.note(POD, self.pod, *found.withheld)
        if before and not found.withheld:
            self._host.recorder.note(POD, self.pod, "Renewed", "The registration is good again", type="Normal")
        return found.until

    # -- what others see ----------------------------------------------------------------------------------------

    async def _report(self) -> float | None:
        """Writes the status if it is another than was written last. Returns seconds until it must be tried again."""
        if self._gone:
            return None
        where = Place((self._address,) if self._address else (), self._host.network.node_addresses, self._since)
        standing = Standing(where, self._refusal, self._ready, self._withheld)
        body = decisions.status(self.pod, standing, now=self._host.now(), before=self._status.conditions)
        try:
            return await self._status.report(self.pod, body)
        except Gone:
            self._gone = True
            return None


class _Seen(msgspec.Struct, frozen=True):
    """The listener of one container's probe."""

    pod: ExternalPod
    name: str

    def verdict(self, purpose: Purpose, passing: bool) -> None:
        self.pod.judge(self.name, ready=passing)

    def failure(self, purpose: Purpose, text: str) -> None:
        self.pod.complain(self.name, text)


def is_external(pod: Pod) -> bool:
    """Whether it is this module's business."""
    return pod.spec.runtime_class_name == external.RUNTIME_CLASS


def _probed(pod: Pod) -> Sequence[Container]:
    """Its containers that have a readiness probe, without all that would condemn them: nobody could restart them."""
    bare = partial(msgspec.structs.replace, liveness_probe=None, startup_probe=None)
    return [bare(container) for container in pod.spec.containers if container.readiness_probe]


async def _elsewhere(command: Sequence[str], timeout: float | None) -> NoReturn:
    raise ElsewhereError("the pod runs elsewhere: use httpGet or tcpSocket")
