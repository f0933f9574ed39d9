"""``PodLogs``: the log files of one pod: of each container the newest run and the one before."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Collection
from pathlib import Path

from pierhead.api.logs import LogQuery
from pierhead.api.views import Pod
from pierhead.core.lifecycle import Record, Records, Waiting
from pierhead.errors import bad_request
from pierhead.node import logs
from pierhead.node.logs import Log


class PodLogs:
    """Kept in ``node``'s directory. ``records``: what an earlier agent knew; the logs of those runs are still there."""

    def __init__(self, node: Path, pod: Pod, records: Records) -> None:
        self._directory = _root(node) / _folder(pod)
        self._held: dict[str, list[Log]] = {}
        for name, record in records.items():
            path = self._path(name, record.restarts)
            if record.end is not None and path.exists():
                self._held[name] = [Log(path)]

    def open(self, name: str, number: int) -> Log:
        """The log of a container's next run.

        Raises:
            OSError: the file cannot be made.
        """
        found, held = Log.begun(self._path(name, number)), self._held.setdefault(name, [])
        held[:] = [log for log in held if log.path != found.path]
        for old in held[:-1]:
            old.remove()
        held[:] = [*held[-1:], found]
        return found

    def close(self) -> None:
        for held in self._held.values():
            for log in held:
                log.close()

    async def remove(self) -> None:
        """Closes and deletes them."""
        self.close()
        self._held.clear()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def read(self, query: LogQuery, record: Record, now: float) -> AsyncGenerator[bytes, None]:
        """Raises:
        ApiError: 400 when the container has not started, or there was no run before.
        """
        name, state, held = query.container, record.state, self._held.get(query.container, [])
        if query.previous:
            runs = held if isinstance(state, Waiting) else held[:-1]
            if record.last is None or not runs:
                raise bad_request(f'previous terminated container "{name}" in pod "{query.pod}" not found')
            return logs.read(runs[-1], query, now)
        if isinstance(state, Waiting) and record.last is None:
            raise bad_request(f'container "{name}" in pod "{query.pod}" is waiting to start: {state.reason}')
        if not held:
            raise bad_request(f'the log of container "{name}" in pod "{query.pod}" is not on this node')
        return logs.read(held[-1], query, now)

    def _path(self, name: str, number: int) -> Path:
        return self._directory / name / f"{number}.log"


def prune(node: Path, pods: Collection[Pod]) -> None:
    """Removes the logs of pods that went while no agent ran."""
    kept = {_folder(pod) for pod in pods}
    if _root(node).is_dir():
        for folder in _root(node).iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _root(node: Path) -> Path:
    return node / "pods"


def _folder(pod: Pod) -> str:
    return f"{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}"
