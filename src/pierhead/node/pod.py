"""``PodRunner``: one pod of this node, from its first container to its last, in one task.

Level-triggered: whatever happens only wakes it; then it asks `core.lifecycle` what to do, does it, and writes the status if that
changed. Each running container has a task that waits for its end and lets its probes look.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from pierhead.api import Tree
from pierhead.api.kinds import POD
from pierhead.api.logs import LogQuery
from pierhead.api.views import Container, Pod
from pierhead.core import lifecycle, lifecycle_status
from pierhead.core.lifecycle import Record, Running, Terminated, Waiting
from pierhead.core.lifecycle_status import Place
from pierhead.errors import ApiError, bad_request
from pierhead.node import launch, logs, runtime
from pierhead.node.attendance import Attendance
from pierhead.node.host import Host
from pierhead.node.launch import Refused
from pierhead.node.logs import Log

log = logging.getLogger(__name__)

SHUTDOWN_GRACE = 2.0
"""Seconds a container has to end when the agent ends."""
RETRY = 5.0
"""Seconds until a container is tried again that refers to something missing."""
WRITE_AGAIN = 1.0
"""Seconds until a status is written again that the API server did not take."""


class PodRunner:
    """Runs one pod. ``address`` stays its own until `run` has returned."""

    def __init__(self, pod: Pod, host: Host, address: str) -> None:
        self.pod = pod
        self.address = address
        self._host = host
        self._place = Place(address, host.network.node_address, host.now())
        self._records = lifecycle_status.restore(pod, host.now())
        self._conditions = lifecycle_status.conditions(pod)
        self._written: Tree = {}
        self._revision = 0
        """Of the pod as it was after the status was written last."""
        self._running: dict[str, runtime.Running] = {}
        self._logs = self._kept_logs()
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
        now = self._host.now()
        self._records = {name: lifecycle.lost(record, now) for name, record in self._records.items()}
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    while not self._leaving:
                        await self._step()
                    await self._leave()
                finally:
                    await self._stop_all(SHUTDOWN_GRACE)
        finally:
            for held in self._logs.values():
                for kept in held:
                    kept.close()

    @property
    def _leaving(self) -> bool:
        return self._gone or self.pod.metadata.deletion_timestamp is not None

    async def _step(self) -> None:
        self._wake.clear()
        if lifecycle.finished(self.pod, self._records):
            await self._stop_all(self._grace)
            again = await self._report()
            await self._pause(again)
            return
        plan = lifecycle.decide(self.pod, self._records, self._host.now())
        self._records = plan.records
        for name in plan.backing_off:
            self._note(name, "BackOff", f"Back-off restarting failed container {name} in pod {self._title}")
        for name in plan.start:
            await self._start(lifecycle.containers(self.pod)[name])
        again = await self._report()
        if not plan.start:
            wait = None if plan.wake is None else plan.wake - self._host.now()
            await self._pause(min((at for at in (again, wait) if at is not None), default=None))

    async def _leave(self) -> None:
        """The way out: SIGTERM, the rest of the grace period, SIGKILL, the last status, and the object itself."""
        begun = self._host.now()
        for name in self._running:
            self._note(name, "Killing", f"Stopping container {name}", type="Normal")
        while self._running:
            self._wake.clear()
            grace = 0.0 if self._gone else max(0.0, begun + self._grace - self._host.now())
            async with asyncio.TaskGroup() as tasks:
                stops = [tasks.create_task(run.stop(grace)) for run in self._running.values()]
                await self._wake.wait()
                for stop in stops:
                    stop.cancel()
            if self._running:
                await self._report()
        self._over = True
        await self._say_goodbye()
        for held in self._logs.values():
            for kept in held:
                kept.remove()
        self._logs.clear()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _say_goodbye(self) -> None:
        """The last status, then the object itself, unless it went already or another one has its name."""
        found, again = self.pod.metadata, 0.0
        while not self._gone:
            await self._pause(again)
            self._wake.clear()
            if (again := await self._report() or 0.0) > 0:
                continue
            try:
                await self._host.client.delete(POD, found.name, found.namespace, uid=found.uid, grace=0)
            except ApiError as error:
                if error.code in (404, 409):
                    return
                log.warning("pod %s cannot be deleted: %s", self.pod.key, error)
                again = WRITE_AGAIN
            else:
                return

    async def _stop_all(self, grace: float) -> None:
        """Until nothing runs; the tasks that attend to the containers do the rest."""
        while self._running:
            await asyncio.gather(*(run.stop(grace) for run in self._running.values()))
            await asyncio.sleep(0)

    @property
    def _grace(self) -> float:
        found = self.pod.metadata.deletion_grace_period_seconds
        if found is None:
            found = self.pod.spec.termination_grace_period_seconds
        return 30.0 if found is None else float(found)

    async def _pause(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # -- containers -------------------------------------------------------------------------------------------

    async def _start(self, container: Container) -> None:
        before = self._records[container.name]
        try:
            launch.check(self.pod, container)
            number = before.restarts + (before.end is not None)
            found = await launch.prepare(
                self.pod, container, self.address, self._host, partial(self._open_log, container.name, number)
            )
        except Refused as error:
            self._refuse(container, before, error)
            return
        except ApiError as error:
            self._refuse(container, before, Refused("CreateContainerConfigError", error.message))
            return
        record = lifecycle.starting(before, self._host.now())
        self._note(
            container.name, "Pulled", f'Container image "{launch.IMAGE}" already present on machine', type="Normal"
        )
        self._note(container.name, "Created", f"Created container: {container.name}", type="Normal")
        try:
            run = await self._host.runtime.start(found)
        except runtime.StartFailed as error:
            found.log.close()
            self._ended(container.name, record, self._unstarted(container.name, str(error)))
            return
        self._note(container.name, "Started", f"Started container {container.name}", type="Normal")
        state = Running(self._host.now(), run.id)
        self._records = {**self._records, container.name: lifecycle.running(record, container, state)}
        self._running[container.name] = run
        assert self._tasks is not None
        self._tasks.create_task(self._attend(container, run, state))

    async def _attend(self, container: Container, run: runtime.Running, state: Running) -> None:
        """From a container's start to its end."""
        attendance = Attendance(self.pod, container, run, self._host, self)
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(attendance.run())
                end = await self._end_of(container.name, run, state)
                looking.cancel()
        finally:
            del self._running[container.name]
        self._ended(container.name, self._records[container.name], end)

    async def _end_of(self, name: str, run: runtime.Running, state: Running) -> Terminated:
        try:
            found = await run.wait()
        except runtime.StartFailed as error:
            return self._unstarted(name, str(error))
        reason = "Completed" if found.code == 0 else "Error"
        return Terminated(found.code, reason, state.started, self._host.now(), found.signal, id=run.id)

    def _unstarted(self, name: str, why: str) -> Terminated:
        """As container runtimes report a command that cannot be run."""
        self._note(name, "Failed", f'Error: failed to start container "{name}": {why}')
        now = self._host.now()
        return Terminated(128, "StartError", 0.0, now, message=f"failed to start container: {why}")

    def _ended(self, name: str, record: Record, end: Terminated) -> None:
        self._wildcards.pop(name, None)
        self._records = {**self._records, name: lifecycle.ended(record, end)}
        self._wake.set()

    def _refuse(self, container: Container, before: Record, error: Refused) -> None:
        state = Waiting(error.reason, error.message, None if error.final else self._host.now() + RETRY)
        if not isinstance(before.state, Waiting) or before.state.message != error.message:
            self._note(container.name, "Failed", f"Error: {error.reason if error.final else error.message}")
            if error.final:
                self._note(container.name, error.reason, error.message)
        self._records = {**self._records, container.name: lifecycle.refused(before, state)}

    # -- what probes find (Listener of `attendance`) ------------------------------------------------------------

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
            self._note(name, "ListensOnAllAddresses", f"{text} machine: bind $(POD_IP), {self.address} here")
        self._wildcards[name] = wildcards
        self._wake.set()

    # -- what others see ----------------------------------------------------------------------------------------

    async def _report(self) -> float | None:
        """Writes the status if it is another than was written last. Returns seconds until it must be tried again."""
        wildcards = sorted({address for found in self._wildcards.values() for address in found})
        body = lifecycle_status.status(
            self.pod, self._records, self._place,
            now=self._host.now(), before=self._conditions, over=self._over, wildcards=wildcards,
        )  # fmt: skip
        if self._gone or (body == self._written and not self._disputed):
            return None
        found = self.pod.metadata
        patch = {"metadata": {"uid": found.uid}, "status": body}
        try:
            taken = await self._host.client.patch(
                POD, found.name, patch, found.namespace, subresource="status", how="strategic"
            )
        except ApiError as error:
            if error.code == 404:
                self._gone = True
                return None
            log.warning("status of pod %s cannot be written: %s", self.pod.key, error)
            return WRITE_AGAIN
        self._written, self._revision = body, int(taken["metadata"]["resourceVersion"])
        self._conditions = {each["type"]: each for each in body["conditions"]}
        return None

    @property
    def _disputed(self) -> bool:
        """Whether somebody wrote another verdict since: a node that was not heard for a while has its pods declared not ready."""
        if int(self.pod.metadata.resource_version or 0) <= self._revision:
            return False
        told = {each.type: each.status for each in self.pod.status.conditions}
        return any(told.get(kind) != each["status"] for kind, each in self._conditions.items())

    def _note(self, name: str, reason: str, text: str, *, type: Literal["Normal", "Warning"] = "Warning") -> None:
        init = any(container.name == name for container in self.pod.spec.init_containers)
        field = f"spec.{'initContainers' if init else 'containers'}{{{name}}}"
        self._host.recorder.note(POD, self.pod, reason, text, type=type, field=field)

    note = _note

    @property
    def _title(self) -> str:
        found = self.pod.metadata
        return f"{found.name}_{found.namespace}({found.uid})"

    # -- logs -----------------------------------------------------------------------------------------------------

    @property
    def _directory(self) -> Path:
        found = self.pod.metadata
        return self._host.directory / "pods" / f"{found.namespace}_{found.name}_{found.uid}"

    def _open_log(self, name: str, number: int) -> Log:
        """The log of a container's next run; that of the run before is kept, older ones go."""
        held = self._logs.setdefault(name, [])
        path = self._directory / name / f"{number}.log"
        if held and held[-1].path == path:
            return held[-1]
        held.append(Log.begun(path))
        for old in held[:-2]:
            old.remove()
        del held[:-2]
        return held[-1]

    def _kept_logs(self) -> dict[str, list[Log]]:
        """The logs of the newest runs under an earlier agent."""
        found: dict[str, list[Log]] = {}
        for name, record in self._records.items():
            path = self._directory / name / f"{record.restarts}.log"
            if record.end is not None and path.exists():
                found[name] = [Log(path)]
        return found

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """Raises:
        ApiError: 400 when the container has not started, or there was no run before.
        """
        name, record = query.container, self._records[query.container]
        held = self._logs.get(name, [])
        state = record.state
        if query.previous:
            runs = held if isinstance(state, Waiting) else held[:-1]
            if record.last is None or not runs:
                raise bad_request(f'previous terminated container "{name}" in pod "{query.pod}" not found')
            return logs.read(runs[-1], query, self._host.now())
        if isinstance(state, Waiting) and record.last is None:
            raise bad_request(f'container "{name}" in pod "{query.pod}" is waiting to start: {state.reason}')
        if not held:
            raise bad_request(f'the log of container "{name}" in pod "{query.pod}" is not on this node')
        return logs.read(held[-1], query, self._host.now())
