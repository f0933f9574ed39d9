"""An API server on the memory store, with the namespaces every region has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from ipaddress import ip_network

from asgi import Direct
from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.logs import LogQuery
from pierhead.api.network import Network
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.auth import ADMIN, node_identity
from pierhead.errors import ApiError
from pierhead.store.memory import MemoryStore

TOKENS = {"admin": ADMIN, "node": node_identity("n1")}


class Logs:
    """A node that has said two lines, and refuses a container called ``waiting``. Whoever follows gets ``tail_lines`` lines, and
    then waits."""

    def __init__(self) -> None:
        self.followed = asyncio.Event()
        self.closed = asyncio.Event()

    async def logs(self, node: str, query: LogQuery) -> AsyncGenerator[bytes, None]:
        if query.container == "waiting":
            raise ApiError(
                400, "BadRequest", f'container "waiting" in pod "{query.pod}" is waiting to start: ContainerCreating'
            )
        if query.follow:
            try:
                for _ in range(query.tail_lines or 0):
                    yield b"{}\n"
                self.followed.set()
                await asyncio.Event().wait()
            finally:
                self.closed.set()
        yield f"{node} {query.container}\n".encode()
        yield b"second\n"


class Region:
    """What a test talks to."""

    def __init__(self) -> None:
        self.store = MemoryStore(stamp)
        self.logs = Logs()
        self.app = ApiServer(self.store, Network("none", (ip_network("10.96.0.0/16"),)), TOKENS, self.logs)
        self.admin = Direct(self.app)
        self.node = Direct(self.app, "node")
        self.anonymous = Direct(self.app, "")

    async def prepare(self) -> None:
        for name in ("default", "kube-node-lease"):
            made = await self.admin("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            assert made.status == 201

    async def configmap(self, name: str, **metadata: object) -> Tree:
        made = await self.admin(
            "POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": name, **metadata}}
        )
        assert made.status == 201, made.body
        found: Tree = made.json
        return found


Scene = Callable[[Region], Awaitable[None]]


def play(scene: Scene, loop: type[asyncio.AbstractEventLoop] | None = None) -> None:
    """Runs a scene in a region of its own. ``loop``: one with another clock, see `virtual`."""

    async def main() -> None:
        region = Region()
        await region.prepare()
        await scene(region)
        region.app.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))
