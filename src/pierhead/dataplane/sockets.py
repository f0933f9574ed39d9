"""Sockets of the userspace proxy: how it listens and dials, how many it may have, and why it may not."""

from __future__ import annotations

import errno
import os
import resource
import socket

from pierhead.dataplane.holders import Holder
from pierhead.forwarding.table import Frontend, Refusal, ServiceName

BACKLOG = 4096
"""Connections the kernel keeps for us; it cuts this to net.core.somaxconn (4096 by default)."""


def raise_descriptor_limit() -> int:
    """Raises this process's soft limit of open files to the hard one, which needs no right, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def no_descriptor() -> OSError:
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen_tcp(address: str, port: int) -> socket.socket:
    """Raises OSError when the socket cannot be had."""
    listener = socket.socket(family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Connections of an earlier listener may still be open or in TIME_WAIT; they do not forbid a new one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What is accepted inherits these two: no waiting for more to send, and a peer that vanished is noticed one day.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_udp(address: str, port: int) -> socket.socket:
    """No SO_REUSEADDR: two UDP sockets would share a port in silence, and one of them get nothing."""
    found = socket.socket(family(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        found.bind((address, port))
    except OSError:
        found.close()
        raise
    return found


def check(frontend: Frontend) -> None:
    """Raises OSError when a socket could not be had there. It is bound for a moment and listens to nobody."""
    kind = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}.get(frontend.protocol)
    if kind is None:
        raise unsupported(frontend)
    with socket.socket(family(frontend.address), kind) as found:
        if kind == socket.SOCK_STREAM:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((frontend.address, frontend.port))


def unsupported(frontend: Frontend) -> OSError:
    return OSError(errno.EPROTONOSUPPORT, f"no {frontend.protocol} in userspace")


def dial(address: str, kind: socket.SocketKind) -> socket.socket:
    """An unconnected socket that never blocks, for an endpoint."""
    found = socket.socket(family(address), kind | socket.SOCK_NONBLOCK)
    if kind == socket.SOCK_STREAM:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return found


def refusal(service: ServiceName, frontend: Frontend, error: OSError, holder: Holder | None = None) -> Refusal:
    """What to tell whoever wrote the Service. ``frontend``: as it was tried, a node port's at an address. ``holder``: who has it."""
    protocol, address, port = frontend
    where = f"{protocol} {address}:{port}"
    reason, message = {
        errno.EADDRINUSE: ("AddressInUse", _in_use(where, holder)),
        errno.EACCES: (
            "PortNotPermitted",
            f"{where} needs root, or: sysctl net.ipv4.ip_unprivileged_port_start={port}",
        ),
        errno.EADDRNOTAVAIL: (
            "AddressNotLocal",
            f"this machine does not have the address {address}; to give it one: ip address add {address} dev INTERFACE",
        ),
        errno.EMFILE: (
            "NoRoom",
            f"of this process's open files none is left for {where}; for more: ulimit -n {_enough()}, and start it again",
        ),
        errno.EPROTONOSUPPORT: ("ProtocolNotSupported", f"this proxy does not carry {where}"),
    }.get(error.errno or 0, ("ListenFailed", f"cannot listen at {where}: {error.strerror or error}"))
    return Refusal(service, protocol, address, port, reason, message)


def _enough() -> int:
    """A limit that carries ten thousand frontends, and many more than now."""
    return max(65_536, 4 * resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _in_use(where: str, holder: Holder | None) -> str:
    """Whoever connects meanwhile is answered, and should know by whom."""
    if holder is None:
        return f"another process listens at {where}"
    return (
        f"{holder.who} listens at {holder.where}, and answers at {where} in place of this Service until it ends or binds"
        " another address"
    )
