"""Namespaces: those that must exist, and the end of those that are deleted."""

from __future__ import annotations

from typing import Any

import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import EVENT, KINDS, NAMESPACE
from pierhead.api.views import Namespace, Object
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, timestamp
from pierhead.core import namespaces
from pierhead.errors import ApiError

AGAIN = 15.0
"""Seconds after which a namespace that is not empty is looked at even when nothing seems to have left it."""


class Namespaces(Loop):
    """Keys: names of namespaces."""

    name = "namespace-controller"

    def __init__(self, client: Client, informers: Informers) -> None:
        super().__init__()
        self._client = client
        self._namespaces: Informer[Namespace] = informers.of(NAMESPACE)
        self._namespaces.subscribe(lambda change: self.queue.add(change.latest.metadata.name))
        for kind in _CONTENT:
            if kind is not EVENT:  # nobody holds an Event, so nobody has to be told that one left
                content: Informer[Any] = informers.of(kind)
                content.subscribe(self._content_changed)
        for name in namespaces.SYSTEM:
            self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        found = self._namespaces.get(key)
        if found is None:
            if key in namespaces.SYSTEM:
                await self._create(key)
            return None
        if found.metadata.deletion_timestamp is None:
            return None
        left = await self._empty(key)
        if left:
            await self._report(found, left)
            return AGAIN
        await self._finalize(key)
        return None

    async def _create(self, name: str) -> None:
        body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
        with accepting(409):
            await self._client.create(NAMESPACE, body)

    async def _empty(self, namespace: str) -> namespaces.Remains:
        """Tells everything in it to go; answers what did not go at once."""
        failure = ""
        for kind in _CONTENT:
            found = await self._client.list(kind, namespace)
            if any("deletionTimestamp" not in obj["metadata"] for obj in found.items):
                try:
                    await self._client.delete_all(kind, namespace)
                except ApiError as error:
                    failure = failure or error.message
        left = {}
        for kind in _CONTENT:
            found = await self._client.list(kind, namespace)
            left[f"{kind.plural}.{kind.group}"] = [obj["metadata"].get("finalizers", []) for obj in found.items]
        return namespaces.remains(left, failure)

    async def _report(self, found: Namespace, left: namespaces.Remains) -> None:
        wanted = namespaces.conditions(found, left, timestamp())
        if wanted != found.status.conditions:
            tree = await self._client.get(NAMESPACE, found.metadata.name)
            tree.setdefault("status", {})["conditions"] = msgspec.to_builtins(wanted)
            stored = await self._client.update_status(NAMESPACE, tree)
            await self._namespaces.reached(stored["metadata"]["resourceVersion"])

    async def _finalize(self, name: str) -> None:
        """Takes our finalizer off, and with it, when no other holds it, the namespace itself."""
        with accepting(404):
            tree = await self._client.get(NAMESPACE, name)
            held = tree.get("spec", {}).get("finalizers", [])
            tree["spec"] = {"finalizers": [found for found in held if found != namespaces.FINALIZER]}
            await self._client.update(NAMESPACE, tree, "finalize")

    def _content_changed(self, change: Change[Object]) -> None:
        if change.new is None:
            namespace = change.latest.metadata.namespace
            found = self._namespaces.get(namespace)
            if found is not None and found.metadata.deletion_timestamp is not None:
                self.queue.add(namespace)


_CONTENT: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.namespaced)
