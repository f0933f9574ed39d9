"""The composition: every role of a region in this process, started in order, ended together."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pierhead.api.codec import stamp
from pierhead.api.kinds import FLOATING_IP_POOL, SERVICE
from pierhead.api.views import FloatingIPPool, Service
from pierhead.apiserver.server import Serving
from pierhead.controllers import kubernetes_service
from pierhead.core.defaultpool import Standing
from pierhead.errors import StoreError, StoreFull, StoreLocked, UsageError
from pierhead.pki.credentials import Credentials, ensure
from pierhead.region import directory, labdirectory, ranges, tenure
from pierhead.region.listening import answering, doors, names, url
from pierhead.region.roles import Roles
from pierhead.region.settings import Settings
from pierhead.region.terrain import Flat, Terrain
from pierhead.store.sqlite import SqliteStore


class Ready(msgspec.Struct, frozen=True):
    """What somebody needs to reach a region, and what it came to have."""

    url: str
    kubeconfig: Path
    floating: Standing = msgspec.field(default_factory=Standing)


async def run_region(
    settings: Settings,
    ready: Callable[[Ready], None],
    *,
    lay: Callable[[Settings, str], AbstractContextManager[Terrain]] | None = None,
    opened: socket.socket | None = None,
) -> None:
    """Runs a region until cancelled; calls ``ready`` once it serves. ``lay`` makes what its nodes stand on (it is
    told the region's uid), by default what the network's mode says; ``opened``: the API's socket, where somebody has made it already.

    Raises:
        UsageError: it cannot start: the address is taken, the data directory is locked or cannot be written, …; then nothing is left of
            a data directory that it would have been the first to use.
    """
    beginning = directory.prepare(settings.data_dir)
    async with AsyncExitStack() as stack:
        store = await _open_store(settings.data_dir)
        stack.push_async_callback(store.close)
        stack.enter_context(directory.undone_if_refused(beginning))
        ranges.check_services(settings.network, _services(store))
        ranges.check_pools(settings.network, _pools(store))
        if settings.network.mode == "loopback":
            stack.enter_context(tenure.held(settings.network))
        if (settings.data_dir / directory.NETWORK).exists() and (beginning or settings.network.mode != "namespace"):
            from pierhead.region.namespaced import clear

            clear(settings.data_dir)
        terrain = stack.enter_context((lay or _laid)(settings, store.uid))
        sockets = [stack.enter_context(door) for door in doors(settings, opened, link=terrain.link)]
        listener = sockets[0]
        terrain.open_to(sockets[1:])
        found = Ready(url(settings.host, listener), settings.data_dir / "kubeconfig")
        credentials = _credentials(settings, found)
        directory.keep_mode(settings.data_dir, settings.network.mode)
        first, *others = answering(listener, settings.network)
        roles = Roles(settings, store, credentials, first, others=others, terrain=terrain)
        async with asyncio.TaskGroup() as group:
            group.create_task(roles.run())
            floating = await roles.started()
            for door in sockets:
                serving = Serving(roles.app, door, certificate=credentials.certificate, key=credentials.key)
                group.create_task(serving.run())
            ready(replace(found, floating=floating))


def _laid(settings: Settings, owner: str) -> AbstractContextManager[Terrain]:
    if settings.network.mode == "namespace":
        from pierhead.region.namespaced import namespaced

        return namespaced(settings, owner)
    return nullcontext(Flat(settings))


async def _open_store(data_dir: Path) -> SqliteStore:
    try:
        return await SqliteStore.open(data_dir, stamp)
    except StoreLocked as error:
        raise UsageError(str(error), f"end the other {_holder(data_dir)}, or choose another --data-dir") from error
    except StoreFull as error:
        raise UsageError(str(error), directory.NO_SPACE) from error
    except StoreError as error:
        raise UsageError(str(error), directory.ELSEWHERE) from error


def _holder(data_dir: Path) -> str:
    """What runs there, by the command that started it."""
    with suppress(OSError):
        if labdirectory.running(data_dir):
            return f"by pierhead lab down --data-dir {shlex.quote(str(data_dir))}"
    return "`pierhead up` or `pierhead lab up`"


def _services(store: SqliteStore) -> Iterator[Service]:
    """Those of users. The API's own follows the range."""
    read = msgspec.json.Decoder(Service).decode
    own = f"{SERVICE.resource}/{kubernetes_service.NAMESPACE}/{kubernetes_service.NAME}"
    return (read(entry.value) for entry in store.range(f"{SERVICE.resource}/") if entry.key != own)


def _pools(store: SqliteStore) -> Iterator[FloatingIPPool]:
    read = msgspec.json.Decoder(FloatingIPPool).decode
    return (read(entry.value) for entry in store.range(f"{FLOATING_IP_POOL.resource}/"))


def _credentials(settings: Settings, found: Ready) -> Credentials:
    """Makes what is missing, and the kubeconfig from it."""
    try:
        credentials = ensure(settings.data_dir / "pki", names(settings), datetime.now(UTC))
        directory.write_kubeconfig(found.kubeconfig, found.url, credentials)
    except OSError as error:
        text = f"cannot write {error.filename or settings.data_dir}: {error.strerror}"
        raise UsageError(text, directory.way_out(error)) from error
    return credentials
