"""ReplicaSets: as many pods as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import POD, REPLICA_SET
from pierhead.api.views import Condition, OwnerReference, Pod, ReplicaSet
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, is_ending, split
from pierhead.core import replicasets
from pierhead.errors import ApiError

T = TypeVar("T")


class ReplicaSets(Loop):
    """Keys: ReplicaSets."""

    name = "replicaset-controller"

    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        super().__init__()
        self._client = client
        self._recorder = recorder
        self._sets: Informer[ReplicaSet] = informers.of(REPLICA_SET)
        self._pods: Informer[Pod] = informers.of(POD)
        self._owned = self._pods.index(_owner_of)
        self._orphans = self._pods.index(lambda pod: [] if pod.metadata.controller else [pod.metadata.namespace])
        self._sets.subscribe(lambda change: self.queue.add(change.latest.key))
        self._pods.subscribe(self._pod_changed)

    async def reconcile(self, key: str) -> float | None:
        """Adopts, releases, creates, deletes, and says how it stands."""
        namespace, name = split(key)
        found = self._sets.get(name, namespace)
        if found is None:
            return None
        failure = None
        try:
            await self._scale(found, await self._claim(found))
        except ApiError as error:
            if error.code == 409:
                raise
            failure = None if is_ending(error) else error
        again = await self._report(found, failure)
        if failure is not None:
            raise failure
        return again

    async def _claim(self, found: ReplicaSet) -> Sequence[Pod]:
        meta = found.metadata
        claims = replicasets.claim(found, [*self._owned[meta.uid], *self._orphans[meta.namespace]])
        adopt = claims.adopt if claims.adopt and await self._still_here(found) else ()
        for pod in adopt:
            await self._own(pod, (*pod.metadata.owner_references, replicasets.owner_of(found)))
        for pod in claims.release:
            await self._own(pod, tuple(ref for ref in pod.metadata.owner_references if ref.uid != meta.uid))
        return claims.owned + adopt

    async def _still_here(self, found: ReplicaSet) -> bool:
        """Asked of the server: who deletes a ReplicaSet and keeps its pods must not see them adopted, and then deleted, by it."""
        meta: Tree = {}
        with accepting(404):
            meta = (await self._client.get(REPLICA_SET, found.metadata.name, found.metadata.namespace))["metadata"]
        return meta.get("uid") == found.metadata.uid and "deletionTimestamp" not in meta

    async def _own(self, pod: Pod, references: Sequence[OwnerReference]) -> None:
        """The list is replaced as a whole, so only the pod that was looked at is written."""
        meta = pod.metadata
        changed = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        patch = {"metadata": changed | {"ownerReferences": msgspec.to_builtins(references)}}
        stored = await self._client.patch(POD, meta.name, patch, meta.namespace)
        await self._pods.reached(stored["metadata"]["resourceVersion"])

    async def _scale(self, found: ReplicaSet, owned: Sequence[Pod]) -> None:
        wanted = replicasets.scale(found, owned)
        if wanted.create:
            await self._create(found, wanted.create)
        if wanted.delete:
            _, failure = await _all(self._deletion(found, pod) for pod in wanted.delete)
            if failure is not None:
                raise failure
            await self._pods.until(lambda: not any(map(self._is_active, wanted.delete)))

    async def _create(self, found: ReplicaSet, count: int) -> None:
        """Few at first, then twice as many, so that a template that is refused is not refused 500 times."""
        pod = replicasets.pod_from(await self._client.get(REPLICA_SET, found.metadata.name, found.metadata.namespace))
        batch = 1
        while count:
            batch = min(batch, count)
            made, failure = await _all(self._creation(found, pod) for _ in range(batch))
            if made:
                await self._pods.reached(max(made, key=int))
            if failure is not None:
                raise failure
            count, batch = count - batch, batch * 2

    async def _creation(self, found: ReplicaSet, pod: Tree) -> str:
        try:
            stored = await self._client.create(POD, pod)
        except ApiError as error:
            if not is_ending(error):
                self._recorder.note(REPLICA_SET, found, "FailedCreate", f"Error creating: {error.message}")
            raise
        name, revision = stored["metadata"]["name"], str(stored["metadata"]["resourceVersion"])
        self._recorder.note(REPLICA_SET, found, "SuccessfulCreate", f"Created pod: {name}", type="Normal")
        return revision

    async def _deletion(self, found: ReplicaSet, pod: Pod) -> None:
        name = pod.metadata.name
        try:
            await self._client.delete(POD, name, pod.metadata.namespace, uid=pod.metadata.uid)
        except ApiError as error:
            if error.code == 404:
                return
            self._recorder.note(REPLICA_SET, found, "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.note(REPLICA_SET, found, "SuccessfulDelete", f"Deleted pod: {name}", type="Normal")

    def _is_active(self, pod: Pod) -> bool:
        now = self._pods.get(pod.metadata.name, pod.metadata.namespace)
        return now is not None and now.metadata.uid == pod.metadata.uid and now.metadata.deletion_timestamp is None

    async def _report(self, found: ReplicaSet, failure: ApiError | None) -> float | None:
        """Writes the status when it changed; answers when a ready pod becomes available by waiting."""
        meta, now = found.metadata, datetime.now(UTC)
        owned = self._owned[meta.uid]
        status = replicasets.status(found, owned, now, self._failure(found, failure, now))
        if status != found.status:
            tree = await self._client.get(REPLICA_SET, meta.name, meta.namespace)
            tree["status"] = msgspec.to_builtins(status)
            stored = await self._client.update_status(REPLICA_SET, tree)
            await self._sets.reached(stored["metadata"]["resourceVersion"])
        waits = [replicasets.available_in(found, pod, now) for pod in owned if pod.ready]
        return min((wait for wait in waits if wait), default=None)

    def _failure(self, found: ReplicaSet, failure: ApiError | None, now: datetime) -> Condition | None:
        if failure is None:
            return None
        time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return replicasets.failed(failure.message, "FailedCreate", time, found.status.conditions)

    def _pod_changed(self, change: Change[Pod]) -> None:
        for pod in change:
            if pod is None:
                continue
            if owner := pod.metadata.controller:
                if owner.kind == REPLICA_SET.name:
                    self.queue.add(f"{pod.metadata.namespace}/{owner.name}")
            else:
                self._offer(pod)

    def _offer(self, pod: Pod) -> None:
        """Somebody may want to adopt it."""
        for found in self._sets.list(pod.metadata.namespace):
            if replicasets.selector_of(found).matches(pod.metadata.labels):
                self.queue.add(found.key)


def _owner_of(pod: Pod) -> Iterable[str]:
    owner = pod.metadata.controller
    return [owner.uid] if owner else []


async def _all(calls: Iterable[Awaitable[T]]) -> tuple[list[T], BaseException | None]:
    """All of them at once, to their ends: what those gave that went well, and the first failure."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    failures = [result for result in found if isinstance(result, BaseException)]
    return [result for result in found if not isinstance(result, BaseException)], next(iter(failures), None)
