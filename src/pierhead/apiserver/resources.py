"""Which code serves which verb of which resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pierhead.apiserver import reads
from pierhead.apiserver.answer import Answer, Chunks
from pierhead.apiserver.deletes import Deletes
from pierhead.apiserver.nodelink import NodeLink
from pierhead.apiserver.registry import Registry
from pierhead.apiserver.request import Request
from pierhead.apiserver.reviews import Reviews
from pierhead.apiserver.router import UNSERVED, Route
from pierhead.apiserver.subresources import Subresources
from pierhead.apiserver.writes import Writes
from pierhead.store import Store

_Read: TypeAlias = Callable[[Store, Request, Route], Answer]
_Write: TypeAlias = Callable[[Request, Route], Awaitable[Answer | Chunks]]


class Resources:
    """Answers every request for a resource that is no watch."""

    def __init__(self, registry: Registry, node_link: NodeLink) -> None:
        writes, deletes = Writes(registry), Deletes(registry)
        self._subresources = subresources = Subresources(registry, deletes, node_link)
        self._reviews = Reviews(registry)
        self._store = registry.store
        self._reads: Mapping[tuple[str, str], _Read] = {
            ("get", ""): reads.get,
            ("get", "status"): reads.get,
            ("list", ""): reads.list_,
            ("get", "scale"): lambda _, request, route: subresources.scale(request, route),
        }
        self._writes: Mapping[tuple[str, str], _Write] = {
            ("create", ""): writes.create,
            ("update", ""): writes.update,
            ("update", "status"): writes.update,
            ("patch", ""): writes.patch,
            ("patch", "status"): writes.patch,
            ("delete", ""): deletes.delete,
            ("deletecollection", ""): deletes.collection,
            ("update", "finalize"): subresources.finalize,
            ("update", "scale"): subresources.rescale,
            ("patch", "scale"): subresources.rescale,
            ("create", "binding"): subresources.bind,
            ("create", "eviction"): subresources.evict,
            ("get", "log"): subresources.log,
        }

    async def answer(self, request: Request, route: Route) -> Answer | Chunks:
        """Raises: ApiError."""
        if route.kind.asked:
            return self._reviews.answer(request, route)
        if route.subresource in UNSERVED.get(route.kind.plural, ()):
            self._subresources.refuse(route)
        asked = (route.verb, route.subresource)
        if read := self._reads.get(asked):
            return read(self._store, request, route)
        return await self._writes[asked](request, route)
