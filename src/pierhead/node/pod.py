"""``PodRunner``: one pod of this node, from its first container to its last, in one task.

Level-triggered: whatever happens only wakes it; then it asks `core.lifecycle` what to do, does it, and writes the status if that
changed. Each running container has a task that waits for its end and lets its probes look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Literal

from pierhead.api.kinds import POD
from pierhead.api.logs import LogQuery
from pierhead.api.views import Container, Pod
from pierhead.core import lifecycle, lifecycle_status
from pierhead.core.lifecycle import Record, Running, Starting, Terminated, Waiting
from pierhead.core.lifecycle_status import Place
from pierhead.errors import ApiError, KernelError
from pierhead.node import launch, runtime
from pierhead.node.attendance import Attendance
from pierhead.node.host import Host
from pierhead.node.launch import Refused
from pierhead.node.podlogs import PodLogs
from pierhead.node.podstatus import Gone, PodStatus

log = logging.getLogger(__name__)

SHUTDOWN_GRACE = 2.0
"""Seconds a container has to end when the agent ends."""
RETRY = 5.0
"""Seconds until a container is tried again that refers to something missing."""


class PodRunner:
    """Runs one pod. ``addresses``, one for each family, stay its own until `run` has returned; empty: none was free, and the pod is to
    be deleted."""

    def __init__(self, pod: Pod, host: Host, addresses: tuple[str, ...]) -> None:
        self.pod = pod
        self.address = addresses[0] if addresses else ""
        self._host = host
        since = lifecycle_status.seconds_of(pod.status.start_time) or host.now()
        self._place = Place(addresses, host.network.node_addresses, since)
        self._records = lifecycle_status.restore(pod, host.now())
        self._failure = lifecycle_status.failure(pod)
        self._status = PodStatus(pod, host.client, host.now)
        self._attended: dict[str, Attendance] = {}
        """The containers that run."""
        self._tried: dict[str, Container] = {}
        """Each container as it was started, or refused, last."""
        self._logs = PodLogs(host.directory, pod, self._records)
        self._wildcards: dict[str, list[str]] = {}
        self._gone = False
        self._over = False
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    # -- what the agent tells it ------------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The API has a newer version of the pod."""
        self.pod = pod
        self._wake.set()

    def gone(self) -> None:
        """The API no longer has the pod: its containers end without grace."""
        self._gone = True
        self._wake.set()

    # -- its life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod is deleted and everything of it is gone. Cancelled, it ends the containers first. May be called again
        after it failed."""
        await self._forget()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    while not self._leaving:
                        await self._step()
                    await self._leave()
                finally:
                    await self._end_all(SHUTDOWN_GRACE)
        finally:
            self._logs.close()
            try:
                self._host.pods.detach(self.pod.metadata.uid)
            except (KernelError, OSError) as error:  # the next pod of this uid, or the next start, makes away with it
                log.warning("the network of pod %s is not undone: %s", self._title, error)

    async def _forget(self) -> None:
        """What ran when this failed is ended before anything is started again."""
        now, before = self._host.now(), self._records
        self._attended.clear()
        records = {name: lifecycle.lost(record, now) for name, record in before.items()}
        if records != before:
            await self._host.runtime.clear(self.pod.metadata.uid)
            self._records = records

    @property
    def _leaving(self) -> bool:
        return self._gone or self.pod.metadata.deletion_timestamp is not None

    async def _step(self) -> None:
        self._wake.clear()
        if lifecycle.finished(self.pod, self._records) or self._failed():
            await self._end_all()
            await self._pause(await self._report())
            return
        for name in lifecycle.changed(self.pod, self._tried):
            self._renew(name)
        plan = lifecycle.decide(self.pod, self._records, self._host.now())
        self._records = plan.records
        for name in plan.backing_off:
            self.note(name, "BackOff", f"Back-off restarting failed container {name} in pod {self._title}")
        for name in plan.start:
            if not self._leaving:
                await self._start(lifecycle.containers(self.pod)[name])
        again = await self._report()
        if not plan.start:
            dues = (plan.wake, lifecycle.deadline(self.pod, self._place.since))
            waits = [again, *(None if due is None else due - self._host.now() for due in dues)]
            await self._pause(min((wait for wait in waits if wait is not None), default=None))

    def _failed(self) -> bool:
        """Whether the pod as a whole has failed: once it has, it stays so."""
        deadline = lifecycle.deadline(self.pod, self._place.since)
        if self._failure is None and deadline is not None and deadline <= self._host.now():
            self._failure = found = lifecycle.DEADLINE_EXCEEDED
            self._host.recorder.note(POD, self.pod, found.reason, found.message, type="Normal")
        return self._failure is not None

    async def _leave(self) -> None:
        """The way out: all containers end; then the last status, and the object itself."""
        await self._end_all()
        self._over = True
        await self._say_goodbye()
        await self._logs.remove()

    async def _end_all(self, grace: float | None = None) -> None:
        """Until nothing runs. ``grace``: by default the pod's own, which may be shortened, to nothing when the pod is gone; given,
        it is for all containers together."""
        begun = self._host.now()
        while self._attended:
            self._wake.clear()
            given = lifecycle.grace(self.pod) if grace is None else grace
            left = 0.0 if self._gone else lifecycle.after_hook(given, self._host.now() - begun)
            ordered = left > 0 and grace is None
            for name in lifecycle.next_to_stop(self.pod, self._attended) if ordered else self._attended:
                self._attended[name].end(left, f"Stopping container {name}")
            if grace is None:
                await self._report()
            await self._wake.wait()

    async def _say_goodbye(self) -> None:
        """The last status, then the object itself."""
        again: float | None = 0.0
        while again is not None and not self._gone:
            await self._pause(again)
            self._wake.clear()
            if (again := await self._report()) is None:
                again = await self._status.remove(self.pod)

    async def _pause(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # -- containers -------------------------------------------------------------------------------------------

    async def _start(self, container: Container) -> None:
        before = self._records[container.name]
        self._tried[container.name] = container
        try:
            launch.check(self.pod, container)
            number = before.restarts + (before.end is not None)
            found = await launch.prepare(
                self.pod, container, self._place.pod_ips, self._host, partial(self._logs.open, container.name, number)
            )
        except Refused as error:
            self._refuse(container, before, error)
            return
        except (OSError, KernelError) as error:
            self._refuse(container, before, Refused("CreateContainerError", str(error)))
            return
        except ApiError as error:
            self._refuse(container, before, Refused("CreateContainerConfigError", error.message))
            return
        record = lifecycle.starting(before, self._host.now())
        self.note(
            container.name, "Pulled", f'Container image "{launch.IMAGE}" already present on machine', type="Normal"
        )
        self.note(container.name, "Created", f"Created container: {container.name}", type="Normal")
        try:
            run = await self._host.runtime.start(found)
        except runtime.StartFailed as error:
            found.log.close()
            self._ended(container.name, record, self._unstarted(container.name, str(error)))
            return
        self.note(container.name, "Started", f"Started container {container.name}", type="Normal")
        now = self._host.now()
        self._records = {**self._records, container.name: self._begun(record, container, now, run.id)}
        attendance = self._attended[container.name] = Attendance(self.pod, container, run, self._host, self)
        assert self._tasks is not None
        self._tasks.create_task(self._attend(container.name, attendance, Running(now, run.id)))

    def _begun(self, record: Record, container: Container, now: float, id: str) -> Record:
        if lifecycle.post_start(container):
            return lifecycle.hooked(record, Starting(now, id))
        return lifecycle.running(record, container, Running(now, id))

    def _renew(self, name: str) -> None:
        """Another image is wanted: what runs ends first. What has ended for good stays so."""
        if name in self._attended:
            why = f"Container {name} definition changed, will be restarted"
            self._attended[name].end(lifecycle.grace(self.pod), why)
        elif isinstance(self._records[name].state, Waiting):
            self._begin_anew(name)

    def _begin_anew(self, name: str) -> None:
        del self._tried[name]
        self._records = {**self._records, name: lifecycle.renewed(self._records[name])}

    async def _attend(self, name: str, attendance: Attendance, state: Running) -> None:
        """From a container's start to its end."""
        try:
            end = self._terminated(await attendance.run(), state)
            if end.exit_code and not end.signal and not self._leaving:
                await self._look_for_rivals(name)
        except runtime.StartFailed as error:
            end = self._unstarted(name, str(error))
        finally:
            self._attended.pop(name, None)
            self._wake.set()
        self._ended(name, self._records[name], end)
        if name in lifecycle.changed(self.pod, self._tried) and not self._leaving:
            self._begin_anew(name)

    async def _look_for_rivals(self, name: str) -> None:
        """In loopback mode, a port that the container declares may be somebody else's, and only its own address be free."""
        if self._host.network.mode != "loopback":
            return
        ports = [(port.protocol, port.container_port) for port in lifecycle.containers(self.pod)[name].ports]
        for rival in await self._host.runtime.rivals(ports, self._host.network.pod_ranges) if ports else ():
            text = f"Container {name} failed while {rival}; if that was in its way, have it bind $(POD_IP), {self.address} here"
            self.note(name, "PortInUse", f"{text}, and not 0.0.0.0")

    def _terminated(self, found: runtime.Exit, state: Running) -> Terminated:
        reason = "Completed" if found.code == 0 else "Error"
        return Terminated(found.code, reason, state.started, self._host.now(), found.signal, id=state.id)

    def _unstarted(self, name: str, why: str) -> Terminated:
        """As container runtimes report a command that cannot be run."""
        self.note(name, "Failed", f'Error: failed to start container "{name}": {why}')
        now = self._host.now()
        return Terminated(128, "StartError", 0.0, now, message=f"failed to start container: {why}")

    def _ended(self, name: str, record: Record, end: Terminated) -> None:
        self._wildcards.pop(name, None)
        self._records = {**self._records, name: lifecycle.ended(record, end)}
        self._wake.set()

    def _refuse(self, container: Container, before: Record, error: Refused) -> None:
        state = Waiting(error.reason, error.message, None if error.final else self._host.now() + RETRY)
        if not isinstance(before.state, Waiting) or before.state.message != error.message:
            self.note(container.name, "Failed", f"Error: {error.reason if error.final else error.message}")
            if error.final:
                self.note(container.name, error.reason, error.message)
        self._records = {**self._records, container.name: lifecycle.refused(before, state)}

    # -- what is found while it runs (Keeper of `attendance`) ---------------------------------------------------

    def up(self, name: str) -> None:
        """The postStart hook of a container has ended well."""
        record, container = self._records[name], lifecycle.containers(self.pod)[name]
        if isinstance(record.state, Starting):
            state = Running(record.state.started, record.state.id)
            self._records = {**self._records, name: lifecycle.running(record, container, state)}
            self._wake.set()

    def judge(self, name: str, *, started: bool | None = None, ready: bool | None = None) -> None:
        """A probe of a running container came to another verdict."""
        container = lifecycle.containers(self.pod)[name]
        record = lifecycle.judged(self._records[name], container, started=started, ready=ready)
        self._records = {**self._records, name: record}
        self._wake.set()

    def listens(self, name: str, wildcards: list[str]) -> None:
        """A container was seen to listen on all addresses, or no longer does."""
        if wildcards and wildcards != self._wildcards.get(name):
            text = (
                f"Container {name} listens on {', '.join(wildcards)}, which takes the port from all other pods of this"
            )
            self.note(name, "ListensOnAllAddresses", f"{text} machine: bind $(POD_IP), {self.address} here")
        self._wildcards[name] = wildcards
        self._wake.set()

    # -- what others see ----------------------------------------------------------------------------------------

    async def _report(self) -> float | None:
        """Writes the status if it is another than was written last. Returns seconds until it must be tried again."""
        wildcards = sorted({address for found in self._wildcards.values() for address in found})
        body = lifecycle_status.status(
            self.pod, self._records, self._place, now=self._host.now(), before=self._status.conditions,
            over=self._over, failure=self._failure, wildcards=wildcards,
        )  # fmt: skip
        if self._gone:
            return None
        try:
            return await self._status.report(self.pod, body)
        except Gone:
            self._gone = True
            return None

    def note(self, name: str, reason: str, text: str, *, type: Literal["Normal", "Warning"] = "Warning") -> None:
        """An Event about one container."""
        init = any(container.name == name for container in self.pod.spec.init_containers)
        field = f"spec.{'initContainers' if init else 'containers'}{{{name}}}"
        self._host.recorder.note(POD, self.pod, reason, text, type=type, field=field)

    @property
    def _title(self) -> str:
        found = self.pod.metadata
        return f"{found.name}_{found.namespace}({found.uid})"

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """See `PodLogs.read`."""
        return self._logs.read(query, self._records[query.container], self._host.now())
