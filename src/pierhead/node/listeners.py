"""Which processes listen on every address of the machine: ``/proc/net`` knows the sockets, ``/proc/PID/fd`` whose they are.

In loopback mode all pods share the machine's ports, so a pod that binds 0.0.0.0 takes the port from all others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_TCP_LISTEN, _UDP_UNCONNECTED = "0A", "07"


def wildcards(pids: Iterable[int], udp: Collection[int] = (), net: Path = Path("/proc/net")) -> list[str]:
    """``0.0.0.0:8080`` or ``[::]:8080`` for each such socket of these processes, sorted. Of UDP only the ports in ``udp``, because
    a client's socket looks like a server's there."""
    sockets = dict(_tcp(net)) | {inode: found for inode, found in _udp(net) if int(found.rpartition(":")[2]) in udp}
    if not sockets:
        return []
    held = {inode for pid in pids for inode in _inodes(pid)}
    return sorted({address for inode, address in sockets.items() if inode in held})


def _tcp(net: Path) -> Iterator[tuple[str, str]]:
    yield from _table(net / "tcp", _TCP_LISTEN, "0.0.0.0")
    yield from _table(net / "tcp6", _TCP_LISTEN, "[::]")


def _udp(net: Path) -> Iterator[tuple[str, str]]:
    yield from _table(net / "udp", _UDP_UNCONNECTED, "0.0.0.0")
    yield from _table(net / "udp6", _UDP_UNCONNECTED, "[::]")


def _table(path: Path, state: str, shown: str) -> Iterator[tuple[str, str]]:
    """(inode, address) of the sockets in this state that are bound to all addresses."""
    with suppress(OSError):
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == state and not address.strip("0"):
                yield fields[9], f"{shown}:{int(port, 16)}"


def _inodes(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]
