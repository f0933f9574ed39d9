"""Controllers of floating IPs that are killed between any two of their writes, and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from balancing import Scene, anew, ground
from floating import check
from inside import Inside, eventually, working
from pierhead.api.kinds import FLOATING_IP, SERVICE
from pierhead.client.client import Client
from pierhead.client.transport import Response, Stream, Transport


class Mortal:
    """A transport that dies after so many writes: from then on nobody answers."""

    def __init__(self, transport: Transport, writes: int) -> None:
        self._transport = transport
        self._left = writes
        self.dead = asyncio.Event()

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        ours = any(kind.plural in target for kind in (SERVICE, FLOATING_IP)) and "events" not in target
        if method != "GET" and ours:
            self._left -= 1
            if self._left < 0:
                self.dead.set()
                await asyncio.get_running_loop().create_future()
        return await self._transport.request(method, target, headers=headers, body=body)

    def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        return self._transport.stream(method, target, headers=headers)

    async def close(self) -> None:
        await self._transport.close()


@pytest.mark.parametrize("writes", range(8))
def test_killed_after_any_write_the_next_life_ends_what_was_begun(writes: int) -> None:
    """``web`` is to be bound, and ``old`` to give up what it has."""

    async def scenario(found: Inside) -> None:
        async with working(found.client, ground("192.0.2.0/30")) as informers:
            scene = Scene(found.client, informers)
            await scene.service("old")
            await eventually(lambda: len(scene.ingress("old")) == 1)
        await scene.service("web")
        await found.client.delete(SERVICE, "old", "default")
        mortal = Mortal(found.transport, writes)
        async with working(Client(mortal, "test"), ground("192.0.2.0/30")) as informers:
            scene = Scene(found.client, informers)
            settled = asyncio.ensure_future(eventually(lambda: at_rest(scene)))
            await asyncio.wait([settled, asyncio.ensure_future(mortal.dead.wait())], return_when="FIRST_COMPLETED")
            settled.cancel()
        async with working(found.client, ground("192.0.2.0/30")) as informers:
            scene = Scene(found.client, informers)
            await eventually(lambda: at_rest(scene))
        check(found.store)

    anew(scenario)


def at_rest(scene: Scene) -> bool:
    """``old`` is gone with all that was its own; ``web`` is bound, and its FloatingIP says so."""
    names = [scene.users(fip.metadata.name) for fip in scene.fips.list()]
    return scene.services.get("old", "default") is None and len(scene.ingress()) == 1 and names == [("default/web",)]
