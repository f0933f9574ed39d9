"""``Roles``: everything that works in a region, over what somebody else has opened: store, credentials, the API's address."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
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
from pierhead.forwarding.place import Place
from pierhead.node.server import NodeServer
from pierhead.pki.credentials import Credentials
from pierhead.region.nodes import Nodes
from pierhead.region.settings import Settings
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
    ) -> None:
        """``others``: where the API answers besides; no Service may lead there."""
        self._settings = settings
        self._store = store
        self._credentials = credentials
        self._address = address
        self._api = frozenset((address, *others))
        self._nodes = Nodes()
        self._started = asyncio.Event()
        self.app = ApiServer(store, settings.network, _tokens(settings, credentials), self._nodes, gate=gate)

    async def started(self) -> None:
        """Waits until the first object of a user could be created."""
        await self._started.wait()

    async def run(self) -> None:
        """Works until cancelled; may be run again, over whatever the store holds by then.

        The proxy ends after the node: a pod that is told to end may finish what it is answering.
        """
        self._started.clear()
        network = self._settings.network
        client = Client(InProcess(self.app, self._credentials.controller))
        informers = Informers(client)
        namespaces: Informer[Namespace] = informers.of(NAMESPACE)
        async with asyncio.TaskGroup() as carrying:
            carrying.create_task(informers.run())
            if network.mode == "loopback":
                carrying.create_task(self._proxy(informers))
            async with asyncio.TaskGroup() as working:
                working.create_task(Controllers(client, informers, network, address=self._address).run())
                if network.mode == "loopback":
                    agent = self._agent(informers)
                    self._nodes.add(agent.name, _way(agent))
                    working.create_task(agent.run())
                await namespaces.until(lambda: namespaces.get("default") is not None)
                self._started.set()

    def _agent(self, informers: Informers) -> NodeAgent:
        from pierhead.node.agent import NodeAgent

        settings = self._settings
        return NodeAgent(
            Client(InProcess(self.app, self._credentials.node)), informers, settings.network,
            name=settings.node_name, zone=settings.zone, region=settings.region,
            directory=settings.data_dir, root_pods=settings.root_pods, api=self._api,
        )  # fmt: skip

    async def _proxy(self, informers: Informers) -> None:
        """The service proxy of this process's nodes."""
        from pierhead.dataplane.proxier import Proxier
        from pierhead.dataplane.userspace import Userspace

        settings = self._settings
        client = Client(InProcess(self.app, self._credentials.node), "pierhead-proxy")
        nodes = frozenset((settings.node_name,))
        place = Place(nodes, settings.network, frozenset((settings.zone,)), self._api)
        recorder = Recorder(client, "pierhead-proxy", settings.node_name)
        dataplane = Userspace(place)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run())
                proxier = Proxier(
                    client, informers, dataplane, place, name=settings.node_name, store=self._store.uid, recorder=recorder
                )  # fmt: skip
                group.create_task(proxier.run())
        finally:
            await dataplane.close()


def _way(agent: NodeAgent) -> InProcess:
    """To a node of this process. Its token is known here and nowhere else."""
    token = secrets.token_urlsafe(32)
    return InProcess(NodeServer(agent, token), token)


def _tokens(settings: Settings, credentials: Credentials) -> dict[str, auth.Identity]:
    return {
        credentials.admin: auth.ADMIN,
        credentials.controller: auth.CONTROLLER,
        credentials.node: auth.node_identity(settings.node_name),
    }
