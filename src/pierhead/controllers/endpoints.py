"""The Endpoints object of every Service with a selector."""

from __future__ import annotations

from pierhead.api.kinds import ENDPOINTS, POD, SERVICE
from pierhead.api.views import Endpoints, Pod, Service, tree_of
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import OVERTAKEN, Loop, accepting, is_ending, split
from pierhead.controllers.selection import Selection
from pierhead.core import backing, endpoints
from pierhead.errors import ApiError


class EndpointsObjects(Loop):
    """Keys: Services."""

    name = "endpoint-controller"

    def __init__(self, client: Client, informers: Informers, selection: Selection, recorder: Recorder) -> None:
        super().__init__()
        self._client = client
        self._selection = selection
        self._recorder = recorder
        self._services: Informer[Service] = informers.of(SERVICE)
        self._endpoints: Informer[Endpoints] = informers.of(ENDPOINTS)
        self._times: dict[str, dict[str, str]] = {}
        pods: Informer[Pod] = informers.of(POD)
        pods.subscribe(self._pod_changed)
        self._services.subscribe(lambda change: self.queue.add(change.latest.key))
        self._endpoints.subscribe(self._endpoints_changed)

    async def reconcile(self, key: str) -> None:
        """Writes the Endpoints of a Service; deletes them with it."""
        namespace, name = split(key)
        service, current = self._services.get(name, namespace), self._endpoints.get(name, namespace)
        if service is None:
            self._times.pop(key, None)
            if current is not None:
                await self._delete(current)
        elif backing.is_selecting(service):
            await self._write(key, service, current)

    async def _write(self, key: str, service: Service, current: Endpoints | None) -> None:
        pods = self._selection.pods(service)
        wanted = endpoints.desired(service, pods, current)
        if current is not None and not endpoints.changed(current, wanted):
            return
        times, time = backing.trigger(self._times.get(key, {}), service, pods)
        body = tree_of(ENDPOINTS, endpoints.triggered(wanted, time))
        try:
            stored = await (self._client.update if current else self._client.create)(ENDPOINTS, body)
        except ApiError as error:
            if error.code not in OVERTAKEN and not is_ending(error):
                self._failed(service, current, error)
            raise
        self._times[key] = times
        await self._endpoints.reached(stored["metadata"]["resourceVersion"])

    def _failed(self, service: Service, current: Endpoints | None, error: ApiError) -> None:
        if current is None:
            text = f"Failed to create endpoint for service {service.key}: {error.message}"
            self._recorder.note(SERVICE, service, "FailedToCreateEndpoint", text)
        else:
            text = f"Failed to update endpoint {service.key}: {error.message}"
            self._recorder.note(ENDPOINTS, current, "FailedToUpdateEndpoint", text)

    async def _delete(self, current: Endpoints) -> None:
        meta = current.metadata
        with accepting(404):
            await self._client.delete(ENDPOINTS, meta.name, meta.namespace, uid=meta.uid)

    def _pod_changed(self, change: Change[Pod]) -> None:
        for key in self._selection.services(change):
            self.queue.add(key)

    def _endpoints_changed(self, change: Change[Endpoints]) -> None:
        """One that somebody deletes comes back; one that somebody changes stays so until its Service or a pod changes."""
        if change.new is None:
            self.queue.add(change.latest.key)
        elif change.old is None and change.new.metadata.labels.get(endpoints.MANAGED_BY_LABEL) == endpoints.MANAGER:
            self.queue.add(change.latest.key)  # its Service may have gone while nobody looked
