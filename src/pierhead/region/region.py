"""The composition: every role of a region in this process, started in order, ended together."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pierhead.api.codec import stamp
from pierhead.api.kinds import NAMESPACE
from pierhead.apiserver import auth
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.nodelink import LogQuery
from pierhead.apiserver.server import Serving
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.controllers.controllers import Controllers
from pierhead.dataplane.proxier import Proxier
from pierhead.dataplane.userspace import Userspace
from pierhead.errors import StoreError, UsageError, not_found
from pierhead.forwarding.place import Place
from pierhead.node import logs
from pierhead.node.agent import NodeAgent
from pierhead.pki.credentials import Credentials, ensure
from pierhead.region import directory
from pierhead.region.settings import Settings
from pierhead.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Ready:
    """What somebody needs to reach a region."""

    url: str
    kubeconfig: Path


class Nodes:
    """The ``NodeLink`` to the nodes of this process."""

    def __init__(self) -> None:
        self.agents: dict[str, NodeAgent] = {}

    def logs(self, node: str, query: LogQuery) -> AsyncIterator[bytes]:
        if node not in self.agents:
            raise not_found(node, "nodes")
        return self.agents[node].logs(logs.LogQuery(**asdict(query)))


async def run_region(settings: Settings, ready: Callable[[Ready], None]) -> None:
    """Runs a region until cancelled; calls ``ready`` once it serves.

    Raises:
        UsageError: it cannot start: the address is taken, the data directory is locked or cannot be written, …
    """
    directory.prepare(settings.data_dir)
    async with AsyncExitStack() as stack:
        store = await _open_store(settings.data_dir)
        stack.push_async_callback(store.close)
        listener = stack.enter_context(listen(settings.host, settings.port))
        credentials = ensure(settings.data_dir / "pki", _names(settings), datetime.now(UTC))
        nodes = Nodes()
        app = ApiServer(store, settings.network, _tokens(settings, credentials), nodes)
        client = Client(InProcess(app, credentials.controller))
        informers = Informers(client)
        address = listener.getsockname()[:2]
        async with asyncio.TaskGroup() as group:
            group.create_task(Controllers(client, informers, settings.network, address=address).run())
            if settings.network.mode == "loopback":
                agent = NodeAgent(
                    Client(InProcess(app, credentials.node)), informers, settings.network,
                    name=settings.node_name, zone=settings.zone, region=settings.region,
                    directory=settings.data_dir, root_pods=settings.root_pods,
                )  # fmt: skip
                nodes.agents[agent.name] = agent
                group.create_task(agent.run())
                group.create_task(_proxy(settings, app, credentials, informers, address, store.uid))
            group.create_task(informers.run())
            await _default_namespace(informers)
            group.create_task(Serving(app, listener, certificate=credentials.certificate, key=credentials.key).run())
            found = Ready(_url(settings.host, listener), settings.data_dir / "kubeconfig")
            directory.write_kubeconfig(found.kubeconfig, found.url, credentials)
            ready(found)


async def _proxy(
    settings: Settings,
    app: ApiServer,
    credentials: Credentials,
    informers: Informers,
    address: tuple[str, int],
    store: str,
) -> None:
    """The service proxy of this process's nodes."""
    client = Client(InProcess(app, credentials.node), "pierhead-proxy")
    nodes = frozenset((settings.node_name,))
    place = Place(nodes, settings.network, frozenset((settings.zone,)), frozenset((address,)))
    recorder = Recorder(client, "pierhead-proxy", settings.node_name)
    dataplane = Userspace(place)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            proxier = Proxier(
                client, informers, dataplane, place, name=settings.node_name, store=store, recorder=recorder
            )  # fmt: skip
            group.create_task(proxier.run())
    finally:
        await dataplane.close()


async def _default_namespace(informers: Informers) -> None:
    """Waits until the first object of a user could be created."""
    namespaces = informers.of(NAMESPACE)
    there = asyncio.Event()

    def look(_: object = None) -> None:
        if namespaces.get("default"):
            there.set()

    end = namespaces.subscribe(look)
    look()
    await there.wait()
    end()


async def _open_store(data_dir: Path) -> SqliteStore:
    try:
        return await SqliteStore.open(data_dir, stamp)
    except StoreError as error:
        raise UsageError(str(error), "end the other `pierhead up`, or choose another --data-dir") from error


def listen(host: str, port: int) -> socket.socket:
    """The API's socket, bound but not yet serving.

    Raises:
        UsageError: the address is taken, not this machine's, or its port needs a privilege.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "choose another with --listen, or port 0 for a free one",
            errno.EACCES: "ports below 1024 need root, or: sysctl net.ipv4.ip_unprivileged_port_start=80",
        }
        hint = hints.get(error.errno or 0, "write an address of this machine: --listen 127.0.0.1:6443")
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint) from error


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{listener.getsockname()[1]}"


def _names(settings: Settings) -> list[str]:
    """Under which names and addresses the API's certificate is good."""
    first = str(settings.network.service_ranges[0][1])
    inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    wildcard = settings.host in ("0.0.0.0", "::")
    return ["127.0.0.1", "localhost", first, *inside, *([] if wildcard else [settings.host])]


def _tokens(settings: Settings, credentials: Credentials) -> dict[str, auth.Identity]:
    return {
        credentials.admin: auth.ADMIN,
        credentials.controller: auth.CONTROLLER,
        credentials.node: auth.node_identity(settings.node_name),
    }
