"""The composition: every role of a region in this process, started in order, ended together."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pierhead.api.codec import stamp
from pierhead.api.kinds import SERVICE
from pierhead.api.views import Service
from pierhead.apiserver.server import Serving
from pierhead.controllers import kubernetes_service
from pierhead.core.defaultpool import Standing
from pierhead.errors import StoreError, StoreLocked, UsageError
from pierhead.pki.credentials import Credentials, ensure
from pierhead.region import directory, machine, ranges, tenure
from pierhead.region.roles import Roles
from pierhead.region.settings import Settings
from pierhead.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pierhead.region.namespaced import Namespaced


@dataclass(frozen=True, slots=True)
class Ready:
    """What somebody needs to reach a region, and what it came to have."""

    url: str
    kubeconfig: Path
    floating: Standing = field(default_factory=Standing)


async def run_region(settings: Settings, ready: Callable[[Ready], None]) -> None:
    """Runs a region until cancelled; calls ``ready`` once it serves.

    Raises:
        UsageError: it cannot start: the address is taken, the data directory is locked or cannot be written, …
    """
    directory.prepare(settings.data_dir)
    async with AsyncExitStack() as stack:
        store = await _open_store(settings.data_dir)
        stack.push_async_callback(store.close)
        ranges.check_services(settings.network, _services(store))
        if settings.network.mode == "loopback":
            stack.enter_context(tenure.held(settings.network))
        namespace = _namespace(settings, stack)
        listener = stack.enter_context(listen(settings.host, settings.port))
        found = Ready(url(settings.host, listener), settings.data_dir / "kubeconfig")
        credentials = _credentials(settings, found)
        doors = [listener, *_inner_door(settings, listener, stack)]
        first, *others = answering(doors[-1], settings.network.service_ranges[0].version)
        roles = Roles(settings, store, credentials, first, others=others, namespace=namespace)
        async with asyncio.TaskGroup() as group:
            group.create_task(roles.run())
            floating = await roles.started()
            for door in doors:
                serving = Serving(roles.app, door, certificate=credentials.certificate, key=credentials.key)
                group.create_task(serving.run())
            ready(replace(found, floating=floating))


def _namespace(settings: Settings, stack: AsyncExitStack) -> Namespaced | None:
    if settings.network.mode != "namespace":
        return None
    from pierhead.region.namespaced import namespaced

    return stack.enter_context(namespaced(settings.network, settings.data_dir / "network"))


def _inner_door(settings: Settings, listener: socket.socket, stack: AsyncExitStack) -> Iterator[socket.socket]:
    """Where pods find the API, if they cannot reach where it listens."""
    bound, port = listener.getsockname()[:2]
    if settings.network.machine_address and not _is_wildcard(bound):
        yield stack.enter_context(listen(settings.network.machine_address, port))


async def _open_store(data_dir: Path) -> SqliteStore:
    try:
        return await SqliteStore.open(data_dir, stamp)
    except StoreLocked as error:
        raise UsageError(str(error), "end the other `pierhead up`, or choose another --data-dir") from error
    except StoreError as error:
        raise UsageError(str(error), "choose another with --data-dir DIR") from error


def _services(store: SqliteStore) -> Iterator[Service]:
    """Those of users. The API's own follows the range."""
    read = msgspec.json.Decoder(Service).decode
    own = f"{SERVICE.resource}/{kubernetes_service.NAMESPACE}/{kubernetes_service.NAME}"
    return (read(entry.value) for entry in store.range(f"{SERVICE.resource}/") if entry.key != own)


def _credentials(settings: Settings, found: Ready) -> Credentials:
    """Makes what is missing, and the kubeconfig from it."""
    try:
        credentials = ensure(settings.data_dir / "pki", names(settings), datetime.now(UTC))
        directory.write_kubeconfig(found.kubeconfig, found.url, credentials)
    except OSError as error:
        text = f"cannot write {error.filename or settings.data_dir}: {error.strerror}"
        raise UsageError(text, "choose another with --data-dir DIR") from error
    return credentials


def listen(host: str, port: int) -> socket.socket:
    """The API's socket, bound but not yet serving.

    Raises:
        UsageError: the address is taken, not this machine's, or its port needs a privilege.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and _is_wildcard(host) and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "choose another with --listen, or port 0 for a free one",
            errno.EACCES: "ports below 1024 need root, or: sysctl net.ipv4.ip_unprivileged_port_start=80",
        }
        hint = hints.get(error.errno or 0, "write an address of this machine: --listen 127.0.0.1:6443")
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise UsageError(f"cannot listen on {host}:{port}: {why}", hint) from error


def url(host: str, listener: socket.socket) -> str:
    """Where clients on this machine find the API: behind a wildcard at the loopback address, which does not change."""
    if _is_wildcard(host):
        host = "::1" if ":" in host else "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{listener.getsockname()[1]}"


def answering(listener: socket.socket, version: int) -> Sequence[tuple[str, int]]:
    """Where the API answers, (address, port), first the one that others are told; ``version``: the IP version they would like.

    Behind a wildcard that is each address of the machine, then its loopback ones, and last the wildcard itself.
    """
    bound, port = ip_address(listener.getsockname()[0]), listener.getsockname()[1]
    found: list[str] = [str(bound)]
    if bound.is_unspecified:
        versions = (4, 6) if bound.version == 6 else (4,)
        own = sorted(machine.addresses(), key=lambda address: address.version != version)
        found = [str(address) for address in own if address.version in versions]
        found += ["127.0.0.1", "0.0.0.0"] if versions == (4,) else ["127.0.0.1", "::1", "0.0.0.0", "::"]
    return [(address, port) for address in found]


def names(settings: Settings) -> list[str]:
    """Under which names and addresses the API's certificate is good."""
    service = ["kubernetes", "default", "svc", "cluster", "local"]
    inside = [".".join(service[:count]) for count in (1, 2, 3, 5)]
    outside = [settings.host]
    if _is_wildcard(settings.host):
        outside = ["::1", *map(str, machine.addresses()), socket.gethostname().lower()]
    first = str(settings.network.service_ranges[0][1])
    if settings.network.machine_address:
        outside.append(settings.network.machine_address)
    return ["127.0.0.1", "localhost", first, *inside, *outside]


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
