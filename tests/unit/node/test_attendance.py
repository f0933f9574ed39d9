"""One run of one container and its limits of time (`node.attendance`), with a container whose end the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

from pierhead.api.views import Container, Pod
from pierhead.node.attendance import Attendance
from pierhead.node.runtime import Exit


class Obedient:
    """Ends as soon as it is asked to."""

    id = "process://1"

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def wait(self) -> Exit:
        await self.asked.wait()
        return Exit(0)

    async def terminate(self) -> None:
        self.asked.set()

    async def kill(self) -> None:
        raise AssertionError("it has ended")

    async def run(self, command: Sequence[str], timeout: float | None) -> tuple[int, str]:
        raise AssertionError("nobody asked")

    async def wildcards(self, udp: Collection[int]) -> list[str]:
        return []


class Unwatched:
    """No probe ever condemns anything."""

    async def watch(self, *_: object) -> str:
        await asyncio.get_running_loop().create_future()
        return "liveness"


def test_a_limit_that_comes_when_the_container_has_ended_is_nothing_to_it() -> None:
    """A ReplicaSet and its pod's deletion both tell it to end; the second one may find it gone."""

    async def main() -> None:
        keeper = SimpleNamespace(address="127.64.0.1", note=lambda *_, **__: None)
        host = SimpleNamespace(prober=Unwatched(), network=SimpleNamespace(mode="none"))
        found = Attendance(Pod(), Container("c"), Obedient(), cast("Any", host), cast("Any", keeper))
        ending = asyncio.ensure_future(found.run())
        found.end(30, "Stopping container c")
        assert await ending == Exit(0)
        found.end(1, "Stopping container c")

    asyncio.run(asyncio.wait_for(main(), 10))
