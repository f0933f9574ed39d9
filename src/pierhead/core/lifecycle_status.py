"""A pod's status as its node writes it: phase, conditions and container statuses in kubectl's words.

Also the way back: `restore` reads what an agent wrote before it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import msgspec

from pierhead.api import Tree
from pierhead.api.views import Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod
from pierhead.core import lifecycle
from pierhead.core.lifecycle import Failure, Record, Records, Running, Starting, State, Terminated, Waiting

Conditions: TypeAlias = Mapping[str, Tree]
"""Conditions by type."""

BINDING = "pierhead.dev/BindsItsAddress"
"""A condition of our own: False while a pod listens on all addresses of the machine, absent while it never did."""


class Withheld(NamedTuple):
    """Why a pod is not ready, whatever its containers are."""

    reason: str
    message: str


class Place(msgspec.Struct, frozen=True):
    """Where the pod runs."""

    pod_ips: tuple[str, ...]
    """One for each family, the primary family first; empty: no address was free, and it is to be deleted."""
    host_ips: tuple[str, ...]
    since: float
    """When its node took it."""


def rfc3339(seconds: float) -> str:
    """``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str | None) -> float:
    """The way back; 0 where there is none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


# -- writing ------------------------------------------------------------------------------------------------


def status(
    pod: Pod,
    records: Records,
    place: Place,
    *,
    now: float,
    before: Conditions,
    over: bool = False,
    failure: Failure | None = None,
    wildcards: Sequence[str] = (),
    withheld: Withheld | None = None,
) -> Tree:
    """The status of a pod.

    ``before``: the conditions written last; one that stays as it was keeps the time of its transition. ``over``: the containers
    were stopped for good. ``failure``: why the pod as a whole failed; told once nothing of it runs. ``wildcards``: the addresses it listens on although it should bind its own.
    ``withheld``: why it is not ready, whatever its containers are.
    """
    failed = failure if not _active(records) else None
    found = lifecycle.final_phase(pod, records) if over else lifecycle.phase(pod, records)
    found = "Failed" if failed else found
    body: Tree = {
        "observedGeneration": pod.metadata.generation or 1,
        "phase": found,
        "conditions": [
            _dated(each, before, now, pod.metadata.generation or 1)
            for each in (
                *_conditions(pod, records, found, withheld),
                *([_binding(wildcards)] if wildcards or before.get(BINDING) else ()),
            )
        ],
        **_addresses("host", place.host_ips),
        **_addresses("pod", place.pod_ips),
        "startTime": rfc3339(place.since),
        "containerStatuses": [_container(each, records[each.name]) for each in _by_name(pod.spec.containers)],
    }
    if pod.spec.init_containers:
        body["initContainerStatuses"] = [
            _container(each, records[each.name], init=True) for each in pod.spec.init_containers
        ]
    return body | ({"reason": failed.reason, "message": failed.message} if failed else {})


def _active(records: Records) -> bool:
    return any(isinstance(record.state, Starting | Running) for record in records.values())


def _addresses(whose: str, found: Sequence[str]) -> Tree:
    return {f"{whose}IP": found[0], f"{whose}IPs": [{"ip": ip} for ip in found]} if found else {}


def _by_name(containers: Sequence[Container]) -> list[Container]:
    return sorted(containers, key=lambda container: container.name)


def _conditions(pod: Pod, records: Records, phase: str, withheld: Withheld | None) -> list[Tree]:
    return [
        {"type": "PodReadyToStartContainers", "status": "True"},
        _initialized(pod, records),
        _false("Ready", *withheld) if withheld else _ready(pod, records, phase),
        _containers_ready(pod, records, phase),
        {"type": "PodScheduled", "status": "True"},
    ]


def _dated(condition: Tree, before: Conditions, now: float, generation: int) -> Tree:
    last = before.get(condition["type"])
    kept = last["lastTransitionTime"] if last and last["status"] == condition["status"] else rfc3339(now)
    return {"observedGeneration": generation, "lastTransitionTime": kept} | condition


def _initialized(pod: Pod, records: Records) -> Tree:
    if lifecycle.initialized(pod, records):
        return {"type": "Initialized", "status": "True"}
    names = [each.name for each in pod.spec.init_containers if not _done(records[each.name])]
    return _false("Initialized", "ContainersNotInitialized", f"containers with incomplete status: {_go_list(names)}")


def _done(record: Record) -> bool:
    return record.started or (isinstance(record.state, Terminated) and record.state.exit_code == 0)


def _containers_ready(pod: Pod, records: Records, phase: str) -> Tree:
    if phase == "Succeeded":
        return {"type": "ContainersReady", "status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"type": "ContainersReady", "status": "False", "reason": "PodFailed"}
    names = [each.name for each in pod.spec.containers if not records[each.name].ready]
    if names:
        return _false("ContainersReady", "ContainersNotReady", f"containers with unready status: {_go_list(names)}")
    return {"type": "ContainersReady", "status": "True"}


def _ready(pod: Pod, records: Records, phase: str) -> Tree:
    containers = _containers_ready(pod, records, phase) | {"type": "Ready"}
    if containers["status"] == "False":
        return containers
    held = {found.type for found in pod.status.conditions if found.status == "True"}
    missing = [gate.condition_type for gate in pod.spec.readiness_gates if gate.condition_type not in held]
    if missing:
        texts = "; ".join(f'the status of pod readiness gate "{name}" is not "True"' for name in missing)
        return _false("Ready", "ReadinessGatesNotReady", texts)
    return containers


def _binding(wildcards: Sequence[str]) -> Tree:
    if not wildcards:
        return {"type": BINDING, "status": "True"}
    return _false(
        BINDING, "ListensOnAllAddresses", f"listens on {', '.join(wildcards)}; pods should bind $(POD_IP) only"
    )


def _false(kind: str, reason: str, message: str) -> Tree:
    return {"type": kind, "status": "False", "reason": reason, "message": message}


def _go_list(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _container(container: Container, record: Record, *, init: bool = False) -> Tree:
    state, completed = record.state, isinstance(record.state, Terminated) and record.state.exit_code == 0
    ready = completed if init and not lifecycle.is_sidecar(container) else record.ready
    body: Tree = {
        "name": container.name,
        "state": _state(state),
        "lastState": _state(record.last) if record.last else {},
        "ready": ready,
        "restartCount": record.restarts,
        "image": container.image,
        "imageID": "",
        "started": record.started,
    }
    found = record.end if isinstance(state, Waiting | Starting) else state
    return body | ({"containerID": found.id} if found and found.id else {})


def _state(state: State) -> Tree:
    if isinstance(state, Waiting):
        return {"waiting": _filled(reason=state.reason, message=state.message)}
    if isinstance(state, Starting):
        return {"waiting": {"reason": "ContainerCreating"}}
    if isinstance(state, Running):
        return {"running": {"startedAt": rfc3339(state.started)}}
    times = {"startedAt": rfc3339(state.started), "finishedAt": rfc3339(state.finished)}
    body = _filled(signal=state.signal, reason=state.reason, message=state.message, containerID=state.id)
    return {"terminated": {"exitCode": state.exit_code} | body | times}


def _filled(**fields: str | int) -> Tree:
    return {name: value for name, value in fields.items() if value}


# -- reading ------------------------------------------------------------------------------------------------


def conditions(pod: Pod) -> dict[str, Tree]:
    """The conditions a pod has, by type."""
    return {
        found.type: {"status": found.status, "lastTransitionTime": found.last_transition_time}
        for found in pod.status.conditions
    }


def failure(pod: Pod) -> Failure | None:
    """Why a pod had failed as a whole when its status was written last."""
    told = pod.status
    return Failure(told.reason, told.message) if told.phase == "Failed" and told.reason else None


def restore(pod: Pod, now: float) -> dict[str, Record]:
    """The records of a pod an earlier agent ran: restart counts and ends are kept, what ran then is lost now."""
    told = {found.name: found for found in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    return {
        name: _restored(told[name], now) if name in told else record for name, record in lifecycle.begin(pod).items()
    }


def _restored(told: ContainerStatus, now: float) -> Record:
    state, last = told.state, _terminated(told.last_state.terminated)
    if state.running:
        ran = Running(seconds_of(state.running.started_at), told.container_id)
        return lifecycle.lost(Record(ran, last, told.restart_count), now)
    if state.terminated:
        return Record(_end(state), last, told.restart_count)
    if last:
        return Record(last, None, told.restart_count)
    return Record(Waiting(state.waiting.reason) if state.waiting else Waiting())


def _end(state: ContainerState) -> Terminated:
    found = _terminated(state.terminated)
    assert found is not None
    return found


def _terminated(told: ContainerStateTerminated | None) -> Terminated | None:
    if told is None:
        return None
    started, finished = seconds_of(told.started_at), seconds_of(told.finished_at)
    return Terminated(told.exit_code, told.reason, started, finished, told.signal, told.message, told.container_id)
