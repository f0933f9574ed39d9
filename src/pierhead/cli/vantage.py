"""From where a node's rules and routes are read by another process than the one that runs it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from pierhead.api.network import Range
from pierhead.cli.packets import Seen
from pierhead.cli.telling import Kernel
from pierhead.dataplane import held
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import KernelError, NotPermitted, UsageError
from pierhead.forwarding.nftlayout import Ground, Layout
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.place import Place
from pierhead.region import lab, labdirectory, namespaced, seclusion
from pierhead.wire import routes
from pierhead.wire.netlink import Protocol

WITHOUT = ("traffic",)
"""Sets that only count: they decide nothing, and may be large."""


class Vantage(msgspec.Struct, frozen=True):
    ground: Ground
    """Of the rules that the node is to have."""
    open: Callable[[Protocol], Netlink]
    """Raises KernelError, OSError or UsageError where this account, or this machine, has no way in."""


def kernel(seen: Seen, place: Place, version: int, data_dir: Path) -> Kernel:
    """What the kernel of the node at ``place`` holds. ``version``: 4 or 6; ``data_dir``: the region's, if this is its machine."""
    found = _vantage(seen, place, version, data_dir)
    table = Layout(found.ground).table
    try:
        with found.open(Protocol.NETFILTER) as netlink, found.open(Protocol.ROUTE) as route:
            rules = held.read(netlink, table, without=WITHOUT)
            ways = tuple(_ways(route, version))
            return Kernel(found.ground, rules or Ruleset(table), held.neighbours(netlink, table), ways)
    except (NotPermitted, PermissionError):
        return Kernel(
            found.ground, unread="only root may, or whoever runs the lab: sudo pierhead trace --kubeconfig FILE …"
        )
    except (KernelError, OSError, UsageError):
        elsewhere = "the region runs elsewhere, or its kubeconfig was copied: give the one that `up` wrote"
        return Kernel(found.ground, unread=elsewhere)


def _vantage(seen: Seen, place: Place, version: int, data_dir: Path) -> Vantage:
    owner = next((found.status.store for found in seen.proxies if found.status.store), "")
    if not lab.is_one(seen.network):
        return Vantage(namespaced.ground(place.network, owner, version), namespaced.nodes_of(data_dir).open)
    file = labdirectory.host_file(data_dir, min(place.nodes))
    return Vantage(lab.ground(place.network, len(seen.nodes), owner, version), partial(_from_within, data_dir, file))


def _ways(netlink: Netlink, version: int) -> Iterator[Range]:
    """What the node has a route to."""
    for route in map(routes.read_route, netlink.request(routes.dump_routes(version))):
        if route is not None:
            yield route.destination


def _from_within(data_dir: Path, file: Path, protocol: Protocol) -> Netlink:
    """A socket that somebody made who went into the lab, and did not come back."""
    first = labdirectory.first_of(data_dir)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = os.fork()
            if not child:
                _hand_out(first, file, protocol, theirs)
        try:
            _, made, _, _ = socket.recv_fds(ours, 1, 1)
        finally:
            os.waitpid(child, 0)
    if not made:
        raise PermissionError(f"nobody could enter {file}")
    return Netlink(socket.socket(fileno=made[0]))


def _hand_out(first: int, file: Path, protocol: Protocol, to: socket.socket) -> NoReturn:
    """Ends this process, whatever happens in it: it is a copy of one that has other things to do."""
    try:
        with suppress(KernelError, OSError, SystemExit):
            seclusion.enter(first, file)
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as made:
                socket.send_fds(to, [b"x"], [made.fileno()])
    finally:
        os._exit(0)
