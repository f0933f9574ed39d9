"""EndpointSlices for Endpoints that users write."""

from __future__ import annotations

from pierhead.api.kinds import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from pierhead.api.views import Endpoints, EndpointSlice, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, split
from pierhead.controllers.slicewriter import SliceWriter
from pierhead.core import mirroring
from pierhead.core.packing import Plan


class Mirroring(Loop):
    """Keys: Endpoints."""

    name = "endpointslice-mirroring-controller"

    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._services: Informer[Service] = informers.of(SERVICE)
        self._endpoints: Informer[Endpoints] = informers.of(ENDPOINTS)
        slices: Informer[EndpointSlice] = informers.of(ENDPOINT_SLICE)
        self._writer = SliceWriter(client, slices, mirroring.MANAGER)
        self._services.subscribe(self._service_changed)
        self._endpoints.subscribe(lambda change: self.queue.add(change.latest.key))
        slices.subscribe(self._slice_changed)

    async def reconcile(self, key: str) -> None:
        """Writes the mirror of one Endpoints object, or takes it away."""
        namespace, name = split(key)
        endpoints, existing = self._endpoints.get(name, namespace), self._writer.of(key)
        if endpoints is None or not mirroring.is_mirrored(endpoints, self._services.get(name, namespace)):
            await self._writer.write(Plan(delete=tuple(existing)))
            return
        found = mirroring.decide(endpoints, existing)
        for note in found.notes:
            self._recorder.note(ENDPOINTS, endpoints, note.reason, note.message)
        await self._writer.write(found.plan)

    def _service_changed(self, change: Change[Service]) -> None:
        """Only whether it exists, and whether it has a selector, matters here."""
        before, after = (None if found is None else bool(found.spec.selector) for found in change)
        if before != after:
            self.queue.add(change.latest.key)

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for key in self._writer.affected(change):
            self.queue.add(key)
