"""Which process holds an address of this machine: ``/proc/net`` knows the sockets, ``/proc/PID/fd`` whose they are."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pierhead.forwarding.table import Frontend

_STATES: Mapping[str, str] = {"TCP": "0A", "UDP": "07"}
"""LISTEN, and a UDP socket that is not connected."""
UNKNOWN = "another process"
COMMAND = 80
"""Characters shown of a command line."""


class Held(NamedTuple):
    """A socket that waits for whoever comes."""

    address: str
    port: int
    inode: str

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def stands_in_the_way_of(self, address: str, port: int) -> bool:
        """Whether nobody else may bind this: a wildcard (which of IPv6 holds IPv4 too, as a rule) is in the way of each address."""
        if port != self.port:
            return False
        return self.address in (address, "::") or (
            ":" not in address and (self.address == "0.0.0.0" or address == "0.0.0.0")
        )


class Holder(NamedTuple):
    """Who holds an address that somebody else would like to have."""

    who: str
    """``process 4711 (python3 -m http.server 8080)``; ``another process`` where this account may not see whose it is."""
    where: str
    """What it has bound: ``0.0.0.0:8080``."""


def held(protocol: str, net: Path = Path("/proc/net")) -> Iterator[Held]:
    """The sockets of this network namespace that wait for others. Empty where there is no such table, or of another protocol."""
    for path in (net / protocol.lower(), net / f"{protocol.lower()}6"):
        with suppress(OSError):
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _STATES.get(protocol):
                    address, _, port = fields[1].partition(":")
                    yield Held(_address(address), int(port, 16), fields[9])


def _address(digits: str) -> str:
    """The kernel prints words of four bytes, each as a number of its own byte order; an IPv6 socket may hold an IPv4 address."""
    words = (int(digits[start : start + 8], 16) for start in range(0, len(digits), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed).removeprefix("::ffff:")


def inodes(pid: int, proc: Path = Path("/proc")) -> Iterator[str]:
    """The sockets that a process has open; none where this account may not look."""
    with suppress(OSError):
        for entry in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


class Holders:
    """Finds them. To ask again for what is still held by the same socket costs a look into one table. Blocks: for a thread."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._known: dict[str, str] = {}
        """Inode → who has it, of those asked for last."""

    def find(self, wanted: Collection[Frontend]) -> dict[Frontend, Holder]:
        """Who is in the way of each of these; what is not in the answer is free by now."""
        found: dict[Frontend, Held] = {}
        for protocol in {frontend.protocol for frontend in wanted}:
            ports = {frontend.port for frontend in wanted}
            sockets = [one for one in held(protocol, self._proc / "net") if one.port in ports]
            for frontend in wanted:
                there = (one for one in sockets if one.stands_in_the_way_of(frontend.address, frontend.port))
                if frontend.protocol == protocol and (one := next(there, None)):
                    found[frontend] = one
        self._learn({one.inode for one in found.values()})
        return {key: Holder(self._known[one.inode], str(one)) for key, one in found.items()}

    def _learn(self, wanted: Collection[str]) -> None:
        self._known = {inode: who for inode, who in self._known.items() if inode in wanted}
        missing = set(wanted) - self._known.keys()
        for pid in self._pids() if missing else ():
            for inode in missing.intersection(inodes(pid, self._proc)):
                self._known[inode] = f"process {pid} ({self._command(pid)})"
                missing.discard(inode)
            if not missing:
                break
        self._known |= dict.fromkeys(missing, UNKNOWN)

    def _pids(self) -> Iterable[int]:
        return sorted(int(entry.name) for entry in self._proc.iterdir() if entry.name.isdecimal())

    def _command(self, pid: int) -> str:
        with suppress(OSError):
            words = (self._proc / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            text = b" ".join(words).decode(errors="replace")
            shown = "".join(sign if sign.isprintable() else "?" for sign in text)
            return shown if len(shown) <= COMMAND else f"{shown[:COMMAND]}…"
        return "?"
