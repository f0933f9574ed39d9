"""A ReplicaSet that is refused some of its pods, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import virtual
from inside import eventually, server
from pierhead.api.kinds import POD, REPLICA_SET
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.client.transport import Response, Stream, Transport
from pierhead.controllers.replicasets import ReplicaSets

PODS = POD.path("default")
REFUSED = b'{"kind": "Status", "code": 403, "reason": "Forbidden", "message": "not this one"}'


class Refusing:
    """A transport that refuses the second pod, and from then on shows no pod until it is told to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.asked = 0

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        if (method, target) == ("POST", PODS):
            self.asked += 1
            if self.asked == 2:
                self.flowing.clear()
                return Response(403, {}, REFUSED)
        return await self._transport.request(method, target, headers=headers, body=body)

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        async with self._transport.stream(method, target, headers=headers) as found:
            chunks = found.chunks if "pods?" not in target else self._held(found.chunks)
            yield Stream(found.status, found.headers, chunks)

    async def close(self) -> None:
        await self._transport.close()

    async def _held(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            await self.flowing.wait()
            yield chunk


def replica_set(replicas: int) -> dict[str, object]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": "r", "namespace": "default"}, "spec": spec}


def test_it_counts_again_only_when_it_has_seen_those_it_got() -> None:
    async def scenario() -> None:
        async with server() as found, asyncio.TaskGroup() as group:
            transport = Refusing(found.transport)
            client = Client(transport)
            informers = Informers(client)
            recorder = Recorder(client, "replicaset-controller")
            loop = ReplicaSets(client, informers, recorder)
            roles = [group.create_task(role.run()) for role in (informers, recorder, loop)]
            await informers.synced()
            await client.create(REPLICA_SET, replica_set(3))
            await asyncio.sleep(60)
            assert transport.asked == 3
            transport.flowing.set()
            await eventually(lambda: len(informers.of(POD).list("default")) == 3)
            await asyncio.sleep(60)
            assert transport.asked == 4
            assert len((await client.list(POD, "default")).items) == 3
            for role in roles:
                role.cancel()

    virtual.run(scenario())
