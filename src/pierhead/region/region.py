"""The composition: every role of a region in this process, started in order, ended together."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pierhead.api.codec import stamp
from pierhead.apiserver.server import Serving
from pierhead.errors import StoreError, UsageError
from pierhead.pki.credentials import ensure
from pierhead.region import directory
from pierhead.region.roles import Roles
from pierhead.region.settings import Settings
from pierhead.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Ready:
    """What somebody needs to reach a region."""

    url: str
    kubeconfig: Path


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
        credentials = ensure(settings.data_dir / "pki", names(settings), datetime.now(UTC))
        roles = Roles(settings, store, credentials, listener.getsockname()[:2])
        async with asyncio.TaskGroup() as group:
            group.create_task(roles.run())
            await roles.started()
            door = Serving(roles.app, listener, certificate=credentials.certificate, key=credentials.key)
            group.create_task(door.run())
            found = Ready(url(settings.host, listener), settings.data_dir / "kubeconfig")
            directory.write_kubeconfig(found.kubeconfig, found.url, credentials)
            ready(found)


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


def url(host: str, listener: socket.socket) -> str:
    """Where clients find the API."""
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{listener.getsockname()[1]}"


def names(settings: Settings) -> list[str]:
    """Under which names and addresses the API's certificate is good."""
    first = str(settings.network.service_ranges[0][1])
    inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    wildcard = settings.host in ("0.0.0.0", "::")
    return ["127.0.0.1", "localhost", first, *inside, *([] if wildcard else [settings.host])]
