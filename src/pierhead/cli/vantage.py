"""From where a node's rules and routes are read by another process than the one that runs it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from pierhead.cli.packets import Seen
from pierhead.cli.telling import Kernel, Way
from pierhead.dataplane import held
from pierhead.dataplane.netlink import Netlink, refusal
from pierhead.errors import KernelError, NotPermitted
from pierhead.forwarding.nftlayout import Ground, Layout
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.place import Place
from pierhead.region import lab, labdirectory, namespaced, seclusion
from pierhead.wire import routes
from pierhead.wire.netlink import Protocol

WITHOUT = ("traffic",)
"""Sets that only count: they decide nothing, and may be large."""
ELSEWHERE = (errno.ENOENT, errno.EINVAL)
"""There is no such file, or it keeps no namespace for those who see other mounts."""


DEAD = (routes.RouteKind.BLACKHOLE, routes.RouteKind.UNREACHABLE, routes.RouteKind.PROHIBIT)
"""Routes that lead nowhere."""


class Vantage(msgspec.Struct, frozen=True):
    ground: Ground
    """Of the rules that the node is to have."""
    open: Callable[[Protocol], Netlink]
    """Raises KernelError or OSError where this account, or this machine, has no way in."""


def kernel(seen: Seen, place: Place, version: int, data_dir: Path) -> Kernel:
    """What the kernel of the node at ``place`` holds. ``version``: 4 or 6; ``data_dir``: the region's, if this is its machine."""
    found = _vantage(seen, place, version, data_dir)
    table = Layout(found.ground).table
    try:
        with found.open(Protocol.NETFILTER) as netlink, found.open(Protocol.ROUTE) as route:
            rules = held.read(netlink, table, without=WITHOUT)
            ways = tuple(_ways(route, version))
            return Kernel(found.ground, rules or Ruleset(table), held.neighbours(netlink, table), ways)
    except (KernelError, OSError) as error:
        return Kernel(found.ground, unread=_unread(error, data_dir))


def _unread(error: KernelError | OSError, data_dir: Path) -> str:
    """What failed, and the next step."""
    if isinstance(error, NotPermitted | PermissionError):
        if os.geteuid() == 0:
            return f"this root may not ({error}): ask from where the region was started"
        return "only root may, or whoever runs the lab: sudo pierhead trace --kubeconfig FILE …"
    if error.errno in ELSEWHERE:
        return f"the region does not run in {data_dir}, or not on this machine: ask there, with the kubeconfig that `up` wrote"
    return f"{error}: ask again in a moment"


def _vantage(seen: Seen, place: Place, version: int, data_dir: Path) -> Vantage:
    owner = next((found.status.store for found in seen.proxies if found.status.store), "")
    if not lab.is_one(seen.network):
        return Vantage(namespaced.ground(place.network, owner, version), namespaced.nodes_of(data_dir).open)
    file = labdirectory.host_file(data_dir, min(place.nodes, default=""))
    return Vantage(lab.ground(place.network, len(seen.nodes), owner, version), partial(_from_within, data_dir, file))


def _ways(netlink: Netlink, version: int) -> Iterator[Way]:
    """The node's routes."""
    for route in map(routes.read_route, netlink.request(routes.dump_routes(version))):
        if route is not None:
            yield Way(route.destination, route.kind in DEAD)


def _from_within(data_dir: Path, file: Path, protocol: Protocol) -> Netlink:
    """A socket that somebody made who went into the lab, and did not come back.

    Raises:
        KernelError: nobody could go there.
        OSError: whether a lab runs there may not be known.
    """
    first = labdirectory.running(data_dir)
    if first is None:
        raise refusal(errno.ENOENT, f"a lab in {data_dir}")
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = os.fork()
            if not child:
                _hand_out(first, file, protocol, theirs)
        try:
            said, made, _, _ = socket.recv_fds(ours, 8, 1)
        finally:
            os.waitpid(child, 0)
    if not made:
        raise refusal(int(said or errno.ESRCH), f"the way to {file.name}")
    return Netlink(socket.socket(fileno=made[0]))


def _hand_out(first: int, file: Path, protocol: Protocol, to: socket.socket) -> NoReturn:
    """Sends the socket, or the number of an error. Ends this process, whatever happens in it: it is a copy of one that has other things
    to do."""
    try:
        with suppress(SystemExit):
            seclusion.enter(first, file)
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as made:
                socket.send_fds(to, [b"x"], [made.fileno()])
    except (KernelError, OSError) as error:
        to.sendall(b"%d" % (error.errno or errno.ESRCH))
    finally:
        os._exit(0)
