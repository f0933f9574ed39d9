"""Controllers whose objects are deleted while they write them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

import pytest

from inside import Flaky, eventually, server
from pierhead.api import Tree
from pierhead.api.kinds import ENDPOINT_SLICE, ENDPOINTS, EVENT, POD, SERVICE
from pierhead.api.views import Object, Pod
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.client.transport import Response
from pierhead.controllers.endpoints import EndpointsObjects
from pierhead.controllers.endpointslices import EndpointSlices
from pierhead.controllers.loop import Loop
from pierhead.controllers.selection import Selection
from pierhead.core import endpoints, slices
from pierhead.errors import ApiError, not_found

Makes: TypeAlias = Callable[[Client, Informers, Selection, Recorder], Loop]
META: Tree = {"name": "web", "namespace": "default"}


class Overtaken(Flaky):
    """What endpoints are written to through it was deleted a moment before."""

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        if method in ("POST", "PUT") and "endpoint" in target:
            raise not_found("web", "endpoints")
        return await super().request(method, target, headers=headers, body=body)


async def make(client: Client) -> None:
    """A Service and a pod, and what a controller wrote before there was the pod."""
    spec: Tree = {"selector": {"app": "web"}, "ports": [{"port": 80}], "publishNotReadyAddresses": True}
    await client.create(SERVICE, {"metadata": META, "spec": spec})
    managed: Tree = META | {"labels": {endpoints.MANAGED_BY_LABEL: endpoints.MANAGER}}
    await client.create(ENDPOINTS, {"metadata": managed})
    labels = {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": slices.MANAGER,
    }
    slice_: Tree = {
        "metadata": META | {"labels": labels},
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    }
    await client.create(ENDPOINT_SLICE, slice_)
    pod: Tree = {
        "metadata": META | {"name": "p", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "host"}]},
    }
    await client.create(POD, pod)
    addressed = {"status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}}
    await client.patch(POD, "p", addressed, "default", subresource="status")


@pytest.mark.parametrize("makes", [EndpointsObjects, EndpointSlices])
def test_what_was_deleted_with_its_service_is_no_failure_to_report(makes: Makes) -> None:
    async def play() -> None:
        async with server() as found, asyncio.TaskGroup() as group:
            client = Client(Overtaken(found.transport))
            informers, recorder = Informers(client), Recorder(client, makes.__name__)
            loop = makes(client, informers, Selection(informers), recorder)
            pods: Informer[Pod] = informers.of(POD)
            await make(found.client)
            tasks = [group.create_task(informers.run())]
            await informers.synced()
            with pytest.raises(ApiError) as refused:
                await loop.reconcile("default/web")
            assert refused.value.code == 404
            recorder.note(POD, pods.list()[0], "Marked", "after all others")
            told = Informers(client)
            events: Informer[Object] = told.of(EVENT)
            tasks += [group.create_task(recorder.run()), group.create_task(told.run())]
            await eventually(lambda: any(event.metadata.name.startswith("p.") for event in events.list()))
            assert len(events.list()) == 1
            for task in tasks:
                task.cancel()

    asyncio.run(play())
