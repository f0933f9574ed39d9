"""The life of a pod's containers: what to start next, when to try again, when there is nothing left to do.

Pure: what is known about each container is a `Record`; `decide` takes the pod and its records and answers a `Plan`. What it means
for the pod's status is `core.lifecycle_status`. Times are seconds since the epoch.

Back-off is the kubelet's: the first restart is at once; the next waits 10 s after the container ended, then 20, 40 … up to 5 min;
a container that ran for 10 min starts from the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.api.views import Container, LifecycleHandler, Pod

FIRST_BACK_OFF = 10.0
LONGEST_BACK_OFF = 300.0
FORGET_BACK_OFF = 600.0
"""Seconds between two ends of a container after which its back-off starts anew."""

LEAST_GRACE = 2.0
"""Seconds a container has after its preStop hook, even if that took the whole grace period."""

LOST = "The container could not be located when the node's agent started: processes end with the agent that runs them"


class Waiting(msgspec.Struct, frozen=True):
    """Not started."""

    reason: str = "ContainerCreating"
    message: str = ""
    until: float | None = 0.0
    """When to try (again); None: never, the spec would have to change."""


class Starting(msgspec.Struct, frozen=True):
    """It runs, and so does its postStart hook. Until that has ended nobody else is told, and no other container is started."""

    started: float
    id: str = ""


class Running(msgspec.Struct, frozen=True):
    started: float
    id: str = ""


class Terminated(msgspec.Struct, frozen=True):
    exit_code: int
    reason: str
    started: float
    finished: float
    signal: int = 0
    message: str = ""
    id: str = ""


State: TypeAlias = Waiting | Starting | Running | Terminated


class Record(msgspec.Struct, frozen=True):
    """What the agent knows about one container."""

    state: State = Waiting()
    last: Terminated | None = None
    """How the run before the present state ended."""
    restarts: int = 0
    started: bool = False
    """It runs, and its startup probe, if any, passed."""
    ready: bool = False
    """It is started, and its readiness probe, if any, passes."""
    back_off: float = 0.0
    """Seconds to wait after the next end; 0: none."""
    backed_off_at: float = 0.0
    """When it was last (re)started under that back-off."""

    @property
    def end(self) -> Terminated | None:
        """How its newest finished run ended."""
        return self.state if isinstance(self.state, Terminated) else self.last


Records: TypeAlias = Mapping[str, Record]


class Plan(msgspec.Struct, frozen=True):
    """What to do now."""

    records: dict[str, Record] = msgspec.field(default_factory=dict)
    start: tuple[str, ...] = ()
    """Names of containers to start."""
    backing_off: tuple[str, ...] = ()
    """Those that have just begun to wait because they keep ending."""
    wake: float | None = None
    """When to decide again although nothing happened; None: when something happens."""


# -- deciding -----------------------------------------------------------------------------------------------


def begin(pod: Pod) -> dict[str, Record]:
    """The records of a pod of which nothing runs yet."""
    first = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    records = {container.name: Record() for container in pod.spec.init_containers}
    return records | {container.name: Record(Waiting(first)) for container in pod.spec.containers}


def containers(pod: Pod) -> dict[str, Container]:
    """All containers of a pod by name, init containers first."""
    return {found.name: found for found in (*pod.spec.init_containers, *pod.spec.containers)}


def decide(pod: Pod, records: Records, now: float) -> Plan:
    """The next step of a pod that nobody told to stop. Ask again at ``wake`` and whenever a container started, ended, or was
    found ready or not."""
    found, start, backing, wakes = dict(records), list[str](), [], []
    for name in _eligible(pod, records):
        found[name] = record = _attempt(pod, name, records[name], now)
        if _due(record, now):
            start.append(name)
            continue
        if record is not records[name]:
            backing.append(name)
        if isinstance(record.state, Waiting) and record.state.until is not None:
            wakes.append(record.state.until)
    return Plan(found, tuple(_until_hook(pod, records, start)), tuple(backing), min(wakes, default=None))


def _until_hook(pod: Pod, records: Records, due: Sequence[str]) -> Iterator[str]:
    """Those that may be started at once: containers start in order, and each waits for the postStart hook of the one before."""
    if any(isinstance(record.state, Starting) for record in records.values()):
        return
    for name in due:
        yield name
        if post_start(containers(pod)[name]):
            return


def starting(record: Record, now: float) -> Record:
    """The record of a container whose start is being tried: counts the restart and doubles the back-off of the next one."""
    if record.end is None:
        return record
    fresh = record.back_off == 0 or record.end.finished - record.backed_off_at > FORGET_BACK_OFF
    delay = FIRST_BACK_OFF if fresh else min(record.back_off * 2, LONGEST_BACK_OFF)
    return replace(record, last=record.end, restarts=record.restarts + 1, back_off=delay, backed_off_at=now)


def hooked(record: Record, state: Starting) -> Record:
    """The record of a container that has just been started and whose postStart hook runs."""
    return replace(record, state=state, started=False, ready=False)


def running(record: Record, container: Container, state: Running) -> Record:
    """The record of a container that has just been started, its postStart hook, if any, included."""
    started = container.startup_probe is None
    return replace(record, state=state, started=started, ready=started and container.readiness_probe is None)


def judged(record: Record, container: Container, *, started: bool | None = None, ready: bool | None = None) -> Record:
    """The record of a running container after a verdict of its startup or of its readiness probe."""
    if started is not None:
        return replace(record, started=started, ready=started and container.readiness_probe is None)
    return replace(record, ready=record.started and bool(ready))


def ended(record: Record, state: Terminated) -> Record:
    return replace(record, state=state, started=False, ready=False)


def changed(pod: Pod, tried: Mapping[str, Container]) -> tuple[str, ...]:
    """Those whose image is another one now. ``tried``: each as it was started, or refused, last."""
    found = containers(pod)
    return tuple(name for name, container in tried.items() if found[name].image != container.image)


def renewed(record: Record) -> Record:
    """The record of a container whose image changed, once none runs: it is due, whatever the restart policy, and its back-off
    begins anew."""
    last = record.end if isinstance(record.state, Terminated) else record.last
    return replace(record, state=Waiting(), last=last, started=False, ready=False, back_off=0.0)


def lost(record: Record, now: float) -> Record:
    """The record of a container after the agent that ran it: what ran then runs no more, and nobody saw its end."""
    if not isinstance(record.state, Starting | Running):
        return record
    state = record.state
    return ended(record, Terminated(137, "ContainerStatusUnknown", state.started, now, message=LOST, id=state.id))


def refused(record: Record, state: Waiting) -> Record:
    """The record of a container that could not even be tried: give the record before `starting`, for this is no restart."""
    return replace(record, state=state, started=False, ready=False)


def finished(pod: Pod, records: Records) -> bool:
    """Whether the pod did its work or failed for good: what still runs (sidecars) is to be stopped."""
    ends = [records[container.name].state for container in pod.spec.containers]
    over = all(isinstance(end, Terminated) and not _restarts(pod, end) for end in ends)
    return over or _failed_init(pod, records)


def _eligible(pod: Pod, records: Records) -> Iterator[str]:
    """The containers whose turn it is: init containers one by one, then all others together."""
    for container in pod.spec.init_containers:
        if not _initialized(container, records[container.name]):
            if not _failed_init(pod, records):
                yield container.name
            return
        if is_sidecar(container):
            yield container.name
    for container in pod.spec.containers:
        yield container.name


def _attempt(pod: Pod, name: str, record: Record, now: float) -> Record:
    """The record after the question whether it may start: a container that ended either is due at once or waits."""
    end = record.state
    if not isinstance(end, Terminated):
        return record
    container = containers(pod)[name]
    if not (is_sidecar(container) or _restarts(pod, end, init=container in pod.spec.init_containers)):
        return record
    at = _retry_at(record, end)
    if at <= now:
        return replace(record, state=Waiting("ContainerCreating", until=at), last=end)
    text = f"back-off {_duration(at - end.finished)} restarting failed container={name} pod={_title(pod)}"
    return replace(record, state=Waiting("CrashLoopBackOff", text, until=at), last=end)


def _retry_at(record: Record, end: Terminated) -> float:
    if end.finished - record.backed_off_at > FORGET_BACK_OFF:
        return end.finished
    return end.finished + record.back_off


def _restarts(pod: Pod, end: Terminated, *, init: bool = False) -> bool:
    if pod.spec.restart_policy == "Always" and not init:
        return True
    return pod.spec.restart_policy != "Never" and end.exit_code != 0


def _due(record: Record, now: float) -> bool:
    return isinstance(record.state, Waiting) and record.state.until is not None and record.state.until <= now


def is_sidecar(container: Container) -> bool:
    """Whether an init container stays and lets the next one begin once it is started."""
    return container.restart_policy == "Always"


def _initialized(container: Container, record: Record) -> bool:
    if is_sidecar(container):
        return record.started or record.end is not None
    return isinstance(record.state, Terminated) and record.state.exit_code == 0


def initialized(pod: Pod, records: Records) -> bool:
    """Whether all init containers did their work."""
    return all(_initialized(container, records[container.name]) for container in pod.spec.init_containers)


def _failed_init(pod: Pod, records: Records) -> bool:
    """Whether an init container failed for good."""
    ends = [records[container.name].state for container in pod.spec.init_containers if not is_sidecar(container)]
    failed = any(isinstance(end, Terminated) and end.exit_code != 0 for end in ends)
    return failed and pod.spec.restart_policy == "Never"


def _title(pod: Pod) -> str:
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"


def _duration(seconds: float) -> str:
    """As Go prints it: ``10s``, ``1m20s``, ``5m0s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def post_start(container: Container) -> LifecycleHandler | None:
    """What is to be done right after it was started."""
    return container.lifecycle.post_start if container.lifecycle else None


def pre_stop(container: Container) -> LifecycleHandler | None:
    """What is to be done before it is told to stop."""
    return container.lifecycle.pre_stop if container.lifecycle else None


# -- the end ------------------------------------------------------------------------------------------------


class Failure(msgspec.Struct, frozen=True):
    """Why a pod failed as a whole, whatever its containers did."""

    reason: str
    message: str


DEADLINE_EXCEEDED = Failure("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def deadline(pod: Pod, since: float) -> float | None:
    """When a pod that its node took at ``since`` has been active for too long; None: never."""
    allowed = pod.spec.active_deadline_seconds
    return None if allowed is None else since + allowed


def next_to_stop(pod: Pod, left: Collection[str]) -> tuple[str, ...]:
    """Which of the containers that are left are told to stop now: sidecars outlive all others, and go in reverse order."""
    sidecars = [container.name for container in pod.spec.init_containers if is_sidecar(container)]
    others = tuple(name for name in left if name not in sidecars)
    return others or tuple(name for name in reversed(sidecars) if name in left)[:1]


def grace(pod: Pod) -> float:
    """Seconds its containers have to end: as its deletion says, else as its spec does, else 30."""
    found = pod.metadata.deletion_grace_period_seconds
    if found is None:
        found = pod.spec.termination_grace_period_seconds
    return 30.0 if found is None else float(found)


def after_hook(grace: float, spent: float) -> float:
    """Seconds between SIGTERM and SIGKILL of a container whose preStop hook took ``spent`` seconds of its grace period."""
    return max(grace - spent, min(grace, LEAST_GRACE))


# -- the pod as a whole -------------------------------------------------------------------------------------


def phase(pod: Pod, records: Records) -> str:
    """Pending, Running, Succeeded or Failed, as the kubelet derives it from its containers."""
    if _failed_init(pod, records):
        return "Failed"
    if not initialized(pod, records):
        return "Pending"
    found = [records[container.name] for container in pod.spec.containers]
    if any(isinstance(record.state, Waiting | Starting) and record.last is None for record in found):
        return "Pending"
    if any(not isinstance(record.state, Terminated) or _restarts(pod, record.state) for record in found):
        return "Running"
    return "Succeeded" if all(record.end and record.end.exit_code == 0 for record in found) else "Failed"


def final_phase(pod: Pod, records: Records) -> str:
    """The phase of a pod whose containers were stopped for good, whatever its restart policy."""
    ends = [records[container.name].end for container in pod.spec.containers]
    return "Succeeded" if all(end is not None and end.exit_code == 0 for end in ends) else "Failed"
