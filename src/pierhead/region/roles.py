"""``Roles``: everything that works in a region, over what somebody else has opened: store, credentials, the API's address."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pierhead.api.kinds import NAMESPACE
from pierhead.api.views import Namespace
from pierhead.apiserver import auth
from pierhead.apiserver.application import ApiServer, Gate, open_gate
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.controllers.controllers import Controllers
from pierhead.core.defaultpool import Standing
from pierhead.forwarding.place import Place
from pierhead.node.server import NodeServer
from pierhead.pki.credentials import Credentials
from pierhead.region.nodes import Nodes
from pierhead.region.placement import Placed
from pierhead.region.settings import Settings
from pierhead.region.terrain import Flat, Terrain
from pierhead.store import Store

if TYPE_CHECKING:
    from pierhead.node.agent import NodeAgent


class Roles:
    """The API server, its controllers and, where there is traffic, node and proxy. ``address``: where the API is found.

    The API server is ``app``, for others to serve. Nodes and proxies need Linux; a region without traffic never imports them.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        credentials: Credentials,
        address: tuple[str, int],
        *,
        others: Iterable[tuple[str, int]] = (),
        gate: Gate = open_gate,
        terrain: Terrain | None = None,
    ) -> None:
        """``others``: where the API answers besides; no Service may lead there. ``terrain``: by default `Flat`."""
        self._settings = settings
        self._store = store
        self._credentials = credentials
        self._address = address
        self._api = frozenset((address, *others))
        self._terrain = terrain or Flat(settings)
        self._nodes = Nodes()
        self._placed = [node for group in self._terrain.groups for node in group]
        self._tokens = {node.name: secrets.token_urlsafe(32) for node in self._placed}
        self._started = asyncio.Event()
        self._floating = Standing()
        self.app = ApiServer(store, settings.network, self._identities(), self._nodes, gate=gate)

    async def started(self) -> Standing:
        """Waits until the first object of a user could be created, and answers what is given out as floating IPs."""
        await self._started.wait()
        return self._floating

    async def run(self) -> None:
        """Works until cancelled; may be run again, over whatever the store holds by then.

        The proxies end after the nodes: a pod that is told to end may finish what it is answering.
        """
        self._started.clear()
        network = self._settings.network
        client = Client(InProcess(self.app, self._credentials.controller))
        informers = Informers(client)
        namespaces: Informer[Namespace] = informers.of(NAMESPACE)
        async with asyncio.TaskGroup() as carrying:
            carrying.create_task(informers.run())
            carrying.create_task(self._terrain.tend(informers))
            if self._homes.is_dir():
                await self._remove_vanished(client)
            for group in self._terrain.groups:
                carrying.create_task(self._proxy(group, informers))
            async with asyncio.TaskGroup() as working:
                controllers = Controllers(client, informers, network, address=self._address, store=self._store.uid)
                working.create_task(controllers.run())
                for node in self._placed:
                    agent = self._agent(node, informers)
                    self._nodes.add(agent.name, _way(agent))
                    working.create_task(agent.run())
                await namespaces.until(lambda: namespaces.get("default") is not None)
                self._floating = await controllers.floating()
                self._started.set()

    def _identities(self) -> dict[str, auth.Identity]:
        fixed = {self._credentials.admin: auth.ADMIN, self._credentials.controller: auth.CONTROLLER}
        return fixed | {token: auth.node_identity(name) for name, token in self._tokens.items()}

    @property
    def _homes(self) -> Path:
        """Holds a directory for each node."""
        return self._settings.data_dir / "nodes"

    async def _remove_vanished(self, client: Client) -> None:
        from pierhead.region import vanished

        await vanished.remove(client, self._store, self._homes, present=self._tokens)

    def _agent(self, node: Placed, informers: Informers) -> NodeAgent:
        from pierhead.node.agent import NodeAgent

        settings = self._settings
        return NodeAgent(
            self._client(node.name), informers, self._terrain.network(node.name),
            name=node.name, zone=node.zone, region=settings.region, pod_ranges=node.pod_ranges,
            directory=self._homes / node.name, root_pods=settings.root_pods, api=self._api,
            pods=self._terrain.pods(node.name), open_files=settings.open_files,
        )  # fmt: skip

    def _client(self, node: str, manager: str = "pierhead") -> Client:
        return Client(InProcess(self.app, self._tokens[node]), manager)

    async def _proxy(self, group: Sequence[Placed], informers: Informers) -> None:
        """The service proxy of the nodes of one group. It reports as the first of them."""
        from pierhead.dataplane.proxier import Proxier

        name, uid = group[0].name, self._store.uid
        client = self._client(name, "pierhead-proxy")
        nodes, zones = frozenset(node.name for node in group), frozenset(node.zone for node in group)
        place = Place(nodes, self._terrain.network(name), zones, self._api)
        recorder = Recorder(client, "pierhead-proxy", name)
        dataplane = self._terrain.dataplane(place, uid)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(recorder.run())
                proxier = Proxier(client, informers, dataplane, place, name=name, store=uid, recorder=recorder)
                tasks.create_task(proxier.run())
        finally:
            await dataplane.close()


def _way(agent: NodeAgent) -> InProcess:
    """To a node of this process. Its token is known here and nowhere else."""
    token = secrets.token_urlsafe(32)
    return InProcess(NodeServer(agent, token), token)
