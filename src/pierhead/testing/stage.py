"""``Stage``: a region in the running event loop, over a store in memory, and what a test does to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import ip_network
from itertools import count
from typing import TYPE_CHECKING, Literal

import msgspec

from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, ENDPOINTS, FLOATING_IP_POOL, NAMESPACE, NODE, POD, SERVICE
from pierhead.apiserver.server import Serving
from pierhead.client.client import Client
from pierhead.client.inprocess import InProcess
from pierhead.core.floating import DEFAULT_POOL
from pierhead.core.namespaces import SYSTEM
from pierhead.errors import ApiError
from pierhead.pki.credentials import Credentials
from pierhead.region import directory
from pierhead.region.listening import listen, names, url
from pierhead.region.roles import Roles
from pierhead.region.settings import Settings
from pierhead.store import Delete, Operation, Put
from pierhead.store.memory import MemoryStore
from pierhead.testing import ground
from pierhead.testing.faults import Faults

if TYPE_CHECKING:
    from pierhead.testing.manifests import Manifest

FIRST = (
    *(f"{NAMESPACE.resource}/{name}" for name in SYSTEM),
    *(f"{kind.resource}/default/kubernetes" for kind in (SERVICE, ENDPOINTS, ENDPOINT_SLICE)),
)
"""Keys of what every cluster begins with: a test that lists must not meet them half made."""
BEGIN_SECONDS = 30.0
"""Until then it must be there; a test must fail, not hang."""
MARK = "testing/expired"
"""A key of no kind: to write it makes every resourceVersion an old one."""
PODS = ip_network("10.244.0.0/16")
"""Addresses of pods that only the test says run; nobody sends anything there."""


class Stage:
    """What a test can do to a region. The coroutine functions are for the loop in which it works."""

    def __init__(self, settings: Settings, listener: socket.socket, credentials: Credentials) -> None:
        self.loop = asyncio.get_running_loop()
        self.url = url(settings.host, listener)
        self.kubeconfig = settings.data_dir / "kubeconfig"
        self.ca = credentials.ca
        self.token = credentials.admin
        self.faults = Faults()
        pools = [f"{FLOATING_IP_POOL.resource}/{DEFAULT_POOL}"] if settings.network.floating_ranges else []
        self._first = (*FIRST, *pools)
        self._pods_run = settings.network.mode != "none"
        self._store = MemoryStore(stamp)
        address = listener.getsockname()[:2]
        self._roles = Roles(settings, self._store, credentials, address, gate=self.faults.gate)
        self.app = self._roles.app
        self._client = Client(InProcess(self.app, credentials.admin), "pierhead-testing")
        self._work: asyncio.Task[None] | None = None
        self._addresses = count(1)
        directory.write_kubeconfig(self.kubeconfig, self.url, credentials)

    async def run(self, begun: Callable[[], None]) -> None:
        """Works until cancelled; calls ``begun`` once everything is there with which a cluster begins."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self.app.run())
            await self._begin()
            begun()

    async def apply(self, found: Sequence[Manifest]) -> Sequence[Tree]:
        """Creates each, or merges it into the one that is there. Raises: ApiError."""
        return [await self._put(kind, tree) for kind, tree in found]

    async def _put(self, kind: Kind, tree: Tree) -> Tree:
        try:
            return await self._client.create(kind, tree)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        metadata = tree["metadata"]
        return await self._client.patch(kind, metadata["name"], tree, metadata.get("namespace", ""))

    async def ready(self, name: str, namespace: str) -> Tree:
        """Raises: ApiError 404; ValueError where a node runs the pods."""
        from pierhead.testing import kubelet

        if self._pods_run:
            raise ValueError(f"pod {name}: a node of this region runs it and says itself when it is ready")
        pod, now = await self._client.get(POD, name, namespace), time.time()
        node = pod["spec"].get("nodeName") or "node-1"
        await self._register(kubelet.node(node, now))
        if not pod["spec"].get("nodeName"):
            await self._client.bind(name, namespace, node)
        patch = {"status": kubelet.ready(pod, str(PODS[next(self._addresses)]), now)}
        return await self._client.patch(POD, name, patch, namespace, subresource="status", how="strategic")

    async def _register(self, node: Tree) -> None:
        """A pod on a node that nobody knows is no endpoint. A Node is born with a taint, which stays where no controller minds nodes."""
        try:
            await self._client.create(NODE, node)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        else:
            await self._client.patch(NODE, node["metadata"]["name"], {"spec": {"taints": None}})

    async def changed(self, key: str, after: int, seconds: float) -> tuple[Tree, int]:
        """The object at a store key and its revision, as soon as that is not ``after``, or when the time is up; {} and 0: none is there."""
        news = asyncio.Event()
        end = self._store.watch(key, self._store.revision, lambda _: news.set())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._revision(key) == after:
                        news.clear()
                        await news.wait()
        finally:
            end()
        entry = self._store.get(key)
        return (msgspec.json.decode(entry.value), entry.revision) if entry else ({}, 0)

    def _revision(self, key: str) -> int:
        entry = self._store.get(key)
        return entry.revision if entry else 0

    async def reset(self) -> None:
        """Between two lives of the roles nobody writes, so nothing of the old one can reach the new one."""
        assert self._work
        self._work.cancel()
        await asyncio.wait([self._work])
        self.faults.clear()
        self._addresses = count(1)
        await self._forget([Delete(entry.key) for entry in self._store.range("")])
        await self._begin()

    async def expire_watches(self) -> None:
        await self._forget([Put(MARK, b"")])

    async def _forget(self, operations: Sequence[Operation]) -> None:
        """After them no resourceVersion that anybody has is good any more."""
        await self._store.commit(operations)
        self.app.expire_watches()
        await self._store.compact(self._store.revision)

    async def _begin(self) -> None:
        there = asyncio.Event()

        def look(_: object = None) -> None:
            if all(self._store.get(key) for key in self._first):
                there.set()

        end = self._store.watch("", self._store.revision, look)
        self._work = self._tasks.create_task(self._roles.run())
        try:
            await asyncio.wait_for(there.wait(), BEGIN_SECONDS)
        except TimeoutError:
            missing = ", ".join(key for key in self._first if not self._store.get(key))
            raise TimeoutError(f"not there after {BEGIN_SECONDS:g} s: {missing}; the log says why") from None
        finally:
            end()


async def run(network: Literal["none", "loopback"], begun: Callable[[Stage], None]) -> None:
    """Runs a region until cancelled; calls ``begun`` once it serves.

    Raises:
        UsageError: it cannot start.
    """
    with ExitStack() as stack:
        home = stack.enter_context(ground.home())
        settings = Settings(home, "127.0.0.1", 0, stack.enter_context(ground.network(network)))
        listener = stack.enter_context(listen(settings.host, settings.port))
        with ground.credentials(names(settings), home) as credentials:
            stage = Stage(settings, listener, credentials)
            door = Serving(stage.app, listener, certificate=credentials.certificate, key=credentials.key)
        async with door:
            await stage.run(lambda: begun(stage))
