"""Where the API of a region is: its socket, and the names and addresses under which others find it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.region import machine
from pierhead.region.settings import Settings

BACKLOG: Final = 1024
"""Connections that wait to be taken."""


def listen(host: str, port: int, *, link: str = "") -> socket.socket:
    """The API's socket, bound but not yet serving. ``link``: the one by which clients come, for who has to; whoever sends to the
    address by another finds nobody there.

    Raises:
        UsageError: the address is taken, not this machine's, or its port needs a privilege.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        if link:
            return _on_link(family, (host, port), link)
        both = family == socket.AF_INET6 and is_wildcard(host) and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "choose another with --listen, or port 0 for a free one",
            errno.EACCES: "ports below 1024 need root, or: sysctl net.ipv4.ip_unprivileged_port_start=80",
        }
        hint = hints.get(error.errno or 0, "write an address of this machine: --listen 127.0.0.1:6443")
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        who = _holder(host, port) if error.errno == errno.EADDRINUSE else ""
        raise UsageError(f"cannot listen on {host}:{port}: {why}{who}", hint) from error


def _on_link(family: int, place: tuple[str, int], link: str) -> socket.socket:
    """Nobody else is let in for a moment either: the link is set first."""
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        found.bind(place)
        found.listen(BACKLOG)
    except BaseException:
        found.close()
        raise
    return found


def _holder(host: str, port: int) -> str:
    """Who is there already, as far as it can be seen; a phrase that goes on."""
    from pierhead.dataplane.holders import Holders
    from pierhead.forwarding.table import Frontend

    address = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    found = Holders().find([Frontend("TCP", address, port)]).values()
    return "".join(f": {holder.who} listens at {holder.where}" for holder in found)


def doors(settings: Settings, first: socket.socket | None = None, *, link: str = "") -> Iterator[socket.socket]:
    """The API's sockets: where it is asked to be (``first``: it is open already), then one where pods can reach it if they cannot reach
    that, the machine's end of its ``link`` to the nodes. A machine takes packets for any of its addresses from everywhere: who asks
    for the API on 127.0.0.1 alone is not to have it open to each host that has a route to that end.

    Raises:
        UsageError: as `listen`.
    """
    first = first or listen(settings.host, settings.port)
    yield first
    for address in () if is_wildcard(settings.host) else settings.network.machine_addresses:
        yield listen(address, first.getsockname()[1], link=link)


def url(host: str, listener: socket.socket) -> str:
    """Where clients on this machine find the API: behind a wildcard at the loopback address, which does not change."""
    if is_wildcard(host):
        host = "::1" if ":" in host else "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{listener.getsockname()[1]}"


def answering(listener: socket.socket, network: Network) -> Sequence[tuple[str, int]]:
    """Where the API answers, (address, port), first the one that others are told: one of the network's first family, and in mode
    ``namespace`` the only one that pods can reach.

    Behind a wildcard that is each address of the machine, then its loopback ones, and last the wildcard itself.
    """
    bound, port = ip_address(listener.getsockname()[0]), listener.getsockname()[1]
    found: list[str] = [str(bound)]
    if bound.is_unspecified:
        versions = (4, 6) if bound.version == 6 else (4,)
        own = sorted(machine.addresses(), key=lambda address: address.version != network.service_ranges[0].version)
        found = [str(address) for address in own if address.version in versions]
        found += ["127.0.0.1", "0.0.0.0"] if versions == (4,) else ["127.0.0.1", "::1", "0.0.0.0", "::"]
    return [(address, port) for address in dict.fromkeys((*network.machine_addresses, *found))]


def names(settings: Settings) -> list[str]:
    """Under which names and addresses the API's certificate is good."""
    service = ["kubernetes", "default", "svc", "cluster", "local"]
    inside = [".".join(service[:count]) for count in (1, 2, 3, 5)]
    outside = [settings.host]
    if is_wildcard(settings.host):
        outside = ["::1", *map(str, machine.addresses()), socket.gethostname().lower()]
    first = str(settings.network.service_ranges[0][1])
    return ["127.0.0.1", "localhost", first, *inside, *outside, *settings.network.machine_addresses]


def is_wildcard(host: str) -> bool:
    """Whether it stands for every address there is."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
