"""EndpointSlices of Services with a selector."""

from __future__ import annotations

from pierhead.api.kinds import ENDPOINT_SLICE, NODE, POD, SERVICE
from pierhead.api.views import EndpointSlice, Node, Pod, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import OVERTAKEN, Loop, is_ending, split
from pierhead.controllers.selection import Selection
from pierhead.controllers.slicewriter import SliceWriter
from pierhead.core import backing, slices, topology, zones
from pierhead.errors import ApiError


class EndpointSlices(Loop):
    """Keys: Services."""

    name = "endpointslice-controller"

    def __init__(self, client: Client, informers: Informers, selection: Selection, recorder: Recorder) -> None:
        super().__init__()
        self._selection = selection
        self._recorder = recorder
        self._services: Informer[Service] = informers.of(SERVICE)
        self._nodes: Informer[Node] = informers.of(NODE)
        written: Informer[EndpointSlice] = informers.of(ENDPOINT_SLICE)
        self._writer = SliceWriter(client, written, slices.MANAGER)
        self._automatic = self._services.index(lambda found: ["auto"] if topology.is_automatic(found) else [])
        self._times: dict[str, dict[str, str]] = {}
        """Service → times of its last changes that were written."""
        pods: Informer[Pod] = informers.of(POD)
        self._on_node = pods.index(lambda pod: [pod.spec.node_name])
        pods.subscribe(self._pod_changed)
        self._services.subscribe(lambda change: self.queue.add(change.latest.key))
        self._nodes.subscribe(self._node_changed)
        written.subscribe(self._slice_changed)

    async def reconcile(self, key: str) -> None:
        """Writes what the pods of a Service ask for. A Service that is gone, or selects no more, is not looked after."""
        namespace, name = split(key)
        service = self._services.get(name, namespace)
        if service is None:
            self._times.pop(key, None)
            return
        if not backing.is_selecting(service):
            return
        pods = self._selection.pods(service)
        capacity = zones.capacity_of(self._nodes.list()) if topology.is_automatic(service) else zones.UNKNOWN
        found = slices.decide(service, pods, self._nodes.get, self._writer.of(key), capacity=capacity)
        for note in found.notes:
            self._recorder.note(SERVICE, service, note.reason, note.message, type=note.type)
        times, time = backing.trigger(self._times.get(key, {}), service, pods)
        try:
            await self._writer.write(found.plan, trigger=time)
        except ApiError as error:
            if error.code not in OVERTAKEN and not is_ending(error):
                self._failed(service, error)
            raise
        self._times[key] = times

    def _failed(self, service: Service, error: ApiError) -> None:
        text = f"Error updating Endpoint Slices for Service {service.key}: {error.message}"
        self._recorder.note(SERVICE, service, "FailedToUpdateEndpointSlices", text)

    def _pod_changed(self, change: Change[Pod]) -> None:
        for key in self._selection.services(change):
            self.queue.add(key)

    def _node_changed(self, change: Change[Node]) -> None:
        """Pods that were there before their node are endpoints from now on. A zone that a node gets later is not written into
        endpoints it already has, as in Kubernetes."""
        if change.old is None:
            for pod in self._on_node[change.latest.metadata.name]:
                self._pod_changed(Change(None, pod))
        before, after = (zones.capacity_of([node]) if node else None for node in change)
        if before != after:
            for service in self._automatic["auto"]:
                self.queue.add(service.key)

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for key in self._writer.affected(change):
            self.queue.add(key)
