"""Carries out a ``Plan`` of EndpointSlices."""

from __future__ import annotations

from pierhead.api.kinds import ENDPOINT_SLICE
from pierhead.api.views import EndpointSlice, tree_of
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.controllers.loop import accepting
from pierhead.core.packing import Plan
from pierhead.core.slices import triggered


class SliceWriter:
    """Creates, then updates, then deletes, so that an endpoint is rather in two slices than in none."""

    def __init__(self, client: Client, slices: Informer[EndpointSlice]) -> None:
        self._client = client
        self._slices = slices
        self._under_way: list[EndpointSlice] = []

    def is_own(self, found: EndpointSlice) -> bool:
        """Whether this is a write of ours that is just coming back, and so no reason to look again."""
        return any(_contents(written) == _contents(found) for written in self._under_way)

    async def write(self, plan: Plan, *, trigger: str | None = None) -> None:
        """``trigger``: which change the slices are written for (empty: none that is newer; None: nothing to say about that).
        Returns once the informer has seen all of it.

        Raises:
            ApiError: the first write that failed; those before it stand.
        """
        revision = 0
        written = [*plan.create, *plan.update]
        self._under_way += written
        try:
            for found in written:
                write = self._client.update if found.metadata.name else self._client.create
                stored = await write(ENDPOINT_SLICE, _body(found, trigger))
                revision = max(revision, int(stored["metadata"]["resourceVersion"]))
            for found in plan.delete:
                await self._delete(found)
            await self._slices.until(
                lambda: self._slices.revision >= revision and not any(map(self._is_here, plan.delete))
            )
        finally:
            self._under_way = [found for found in self._under_way if not any(found is one for one in written)]

    async def _delete(self, found: EndpointSlice) -> None:
        meta = found.metadata
        with accepting(404):
            await self._client.delete(ENDPOINT_SLICE, meta.name, meta.namespace, uid=meta.uid)

    def _is_here(self, found: EndpointSlice) -> bool:
        """As it was when it was deleted; one that a finalizer holds has changed by then."""
        now = self._slices.get(found.metadata.name, found.metadata.namespace)
        return now is not None and now.metadata.resource_version == found.metadata.resource_version


def _contents(found: EndpointSlice) -> tuple[object, ...]:
    meta = found.metadata
    return meta.namespace, found.address_type, meta.labels, found.ports, found.endpoints


def _body(found: EndpointSlice, trigger: str | None) -> dict[str, object]:
    return tree_of(ENDPOINT_SLICE, found if trigger is None else triggered(found, trigger))
