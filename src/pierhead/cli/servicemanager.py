"""What a service manager such as systemd is told: that the region serves, so that what comes after it can use it (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell_ready() -> None:
    """One datagram to the socket that the service manager has named, if it waits for one at all. Nobody who waits is where none can
    be sent to."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours, suppress(OSError):
        ours.sendto(b"READY=1", where.replace("@", "\0", 1) if where.startswith("@") else where)
