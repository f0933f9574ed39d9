"""Garbage: objects whose owners are gone, and owners that wait for their dependents or let them go."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import EVENT, KINDS
from pierhead.api.views import Object, OwnerReference
from pierhead.client.client import Client
from pierhead.client.informer import Change, Index, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, split
from pierhead.core import gc
from pierhead.errors import ApiError


class _Shelf:
    """All objects of one kind, by their own uid and by their owners'."""

    def __init__(self, kind: Kind, informers: Informers) -> None:
        self.kind = kind
        self.informer: Informer[Any] = informers.of(kind)
        self.by_uid: Index[Any] = self.informer.index(lambda found: [found.metadata.uid])
        self.by_owner: Index[Any] = self.informer.index(
            lambda found: [owner.uid for owner in found.metadata.owner_references]
        )


class GarbageCollector(Loop):
    """Keys: ``RESOURCE NAMESPACE/NAME``."""

    name = "garbage-collector"

    def __init__(self, client: Client, informers: Informers) -> None:
        super().__init__()
        self._client = client
        self._shelves = {kind.resource: _Shelf(kind, informers) for kind in KINDS if kind is not EVENT}
        self._kinds = {(shelf.kind.api_version, shelf.kind.name): shelf for shelf in self._shelves.values()}
        for shelf in self._shelves.values():
            shelf.informer.subscribe(partial(self._changed, shelf.kind))

    async def reconcile(self, key: str) -> None:
        resource, _, path = key.partition(" ")
        shelf, (namespace, name) = self._shelves[resource], split(path)
        obj: Object | None = shelf.informer.get(name, namespace)
        if obj is None:
            return
        with accepting(404):
            if obj.metadata.deletion_timestamp is None:
                await self._judge(shelf.kind, obj)
            elif gc.ORPHAN in obj.metadata.finalizers:
                await self._orphan(shelf.kind, obj)
            elif gc.FOREGROUND in obj.metadata.finalizers:
                await self._let_go(shelf.kind, obj)

    async def _judge(self, kind: Kind, obj: Object) -> None:
        meta = obj.metadata
        states = {owner: await self._state(owner, meta.namespace) for owner in meta.owner_references}
        dependents = bool(self._dependents(meta.uid))
        verdict = gc.judge(obj, states.__getitem__, has_dependents=dependents)
        if verdict.delete:
            await self._client.delete(
                kind,
                meta.name,
                meta.namespace,
                uid=meta.uid,
                revision=meta.resource_version,
                propagation=verdict.delete,
            )
        elif verdict.release:
            await self._release(kind, obj, verdict.release)

    async def _state(self, owner: OwnerReference, namespace: str) -> gc.OwnerState:
        """What is not in the informer is asked for: an owner may be younger than what we have seen."""
        shelf = self._kinds.get((owner.api_version, owner.kind))
        if shelf is None:
            return "unknown"
        for found in shelf.by_uid[owner.uid]:
            return _state_of(found)
        try:
            tree = await self._client.get(shelf.kind, owner.name, namespace if shelf.kind.namespaced else "")
        except ApiError as error:
            if error.code == 404:
                return "gone"
            raise
        return "here" if tree["metadata"]["uid"] == owner.uid else "gone"

    async def _orphan(self, kind: Kind, owner: Object) -> None:
        for dependent_kind, dependent in self._dependents(owner.metadata.uid):
            await self._release(dependent_kind, dependent, (owner.metadata.uid,))
        await self._drop_finalizer(kind, owner, gc.ORPHAN)

    async def _let_go(self, kind: Kind, owner: Object) -> None:
        """Its dependents go first; the last of them calls us again."""
        dependents = self._dependents(owner.metadata.uid)
        for dependent_kind, dependent in dependents:
            self._add(dependent_kind, dependent)
        if gc.may_go(owner, [dependent for _, dependent in dependents]):
            await self._drop_finalizer(kind, owner, gc.FOREGROUND)

    async def _release(self, kind: Kind, obj: Object, uids: tuple[str, ...]) -> None:
        await self._patch(kind, obj, {"ownerReferences": msgspec.to_builtins(gc.without(obj, uids))})

    async def _drop_finalizer(self, kind: Kind, obj: Object, finalizer: str) -> None:
        await self._patch(kind, obj, {"finalizers": [found for found in obj.metadata.finalizers if found != finalizer]})

    async def _patch(self, kind: Kind, obj: Object, changed: dict[str, Any]) -> None:
        """Only the object that was looked at: another state is looked at again."""
        meta = obj.metadata
        changed |= {"uid": meta.uid, "resourceVersion": meta.resource_version}
        await self._client.patch(kind, meta.name, {"metadata": changed}, meta.namespace)

    def _dependents(self, uid: str) -> list[tuple[Kind, Object]]:
        return [(shelf.kind, found) for shelf in self._shelves.values() for found in shelf.by_owner[uid]]

    def _changed(self, kind: Kind, change: Change[Any]) -> None:
        if change.new is None:
            self._left(change.latest)
        elif _is_due(change.new):
            self._add(kind, change.new)

    def _left(self, gone: Object) -> None:
        """Who belonged to it may have to go, whom it belonged to may wait for it."""
        for kind, dependent in self._dependents(gone.metadata.uid):
            self._add(kind, dependent)
        for owner in gone.metadata.owner_references:
            if shelf := self._kinds.get((owner.api_version, owner.kind)):
                for found in filter(_is_due, shelf.by_uid[owner.uid]):
                    self._add(shelf.kind, found)

    def _add(self, kind: Kind, obj: Object) -> None:
        self.queue.add(f"{kind.resource} {obj.key}")


def _is_due(obj: Object) -> bool:
    """Whether there is something to decide about it: its owners, or its own deletion."""
    if obj.metadata.deletion_timestamp is None:
        return bool(obj.metadata.owner_references)
    return gc.ORPHAN in obj.metadata.finalizers or gc.FOREGROUND in obj.metadata.finalizers


def _state_of(owner: Object) -> gc.OwnerState:
    going = owner.metadata.deletion_timestamp is not None and gc.FOREGROUND in owner.metadata.finalizers
    return "waiting" if going else "here"
