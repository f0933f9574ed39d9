"""The EndpointSlices that one controller looks after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pierhead.api.kinds import ENDPOINT_SLICE
from pierhead.api.views import EndpointSlice, tree_of
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.controllers.loop import accepting
from pierhead.core.packing import MANAGED_BY_LABEL, Plan
from pierhead.core.slices import triggered


class SliceWriter:
    """Those labelled as managed by ``manager``, and how they are written."""

    def __init__(self, client: Client, slices: Informer[EndpointSlice], manager: str) -> None:
        self._client = client
        self._slices = slices
        self._manager = manager
        self._by_service = slices.index(self._service_of)
        self._under_way: list[EndpointSlice] = []

    def of(self, service: str) -> Sequence[EndpointSlice]:
        """The slices of a Service, which need not exist, by its key."""
        return self._by_service[service]

    def affected(self, change: Change[EndpointSlice]) -> Iterable[str]:
        """Keys of the Services whose slices somebody else has changed. What is under way here is no reason to look again."""
        if change.new is None or not self._is_under_way(change.new):
            for found in change:
                if found is not None:
                    yield from self._service_of(found)

    async def write(self, plan: Plan, *, trigger: str | None = None) -> None:
        """Creates, then updates, then deletes, so that an endpoint is rather in two slices than in none.

        ``trigger``: which change the slices are written for (empty: none that is newer; None: nothing to say about that).
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

    def _service_of(self, found: EndpointSlice) -> Iterable[str]:
        if found.service and found.metadata.labels.get(MANAGED_BY_LABEL) == self._manager:
            yield f"{found.metadata.namespace}/{found.service}"

    def _is_under_way(self, found: EndpointSlice) -> bool:
        return any(_contents(written) == _contents(found) for written in self._under_way)

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
