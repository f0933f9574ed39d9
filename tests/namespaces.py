"""A network namespace of a test's own, entered by netlink sockets that were made in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache

from netns import HOLD, MAPPED, network_namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import NotSupported
from pierhead.wire.listing import ask_generation
from pierhead.wire.netlink import Protocol

OPEN = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as back, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, int(sys.argv[2])) as made:
    socket.send_fds(back, [b"x"], [made.fileno()])
"""
NO_NAMESPACE = "kernel tests: neither root nor user namespaces"
NO_NFTABLES = "kernel tests: this kernel has no nf_tables"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass
class Namespace:
    """A network namespace with lo in it and nothing else."""

    prefix: tuple[str, ...]
    """What to put before a command to run it there."""
    mapped: bool
    """It was made within a user namespace."""
    opened: ExitStack = field(default_factory=ExitStack)

    def open(self, protocol: Protocol = Protocol.NETFILTER) -> Netlink:
        """A conversation with the kernel of there, in this process; closed with the namespace."""
        return self.opened.enter_context(Netlink(self.socket(protocol)))

    def socket(self, protocol: Protocol = Protocol.NETFILTER) -> socket.socket:
        """A netlink socket that was made there and passed to this process."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [*self.prefix, sys.executable, "-I", "-S", "-c", OPEN, str(theirs.fileno()), str(int(protocol))]
            subprocess.run(command, pass_fds=[theirs.fileno()], check=True)
            _, (made,), _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=made)

    def run(self, *command: str) -> str:
        """What a command prints that runs there; it must succeed."""
        ran = subprocess.run([*self.prefix, *command], capture_output=True, text=True, env={**os.environ, "PATH": PATH})
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def nft(self, *words: str) -> str:
        """Protocols as numbers: older ones name them only where there is an /etc/protocols."""
        return self.run("nft", "--numeric-protocol", *words)

    @contextmanager
    def another(self) -> Iterator[Namespace]:
        """A second one, of the same user namespace."""
        command = [*self.prefix, "unshare", "--net", "sh", "-c", HOLD]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == "up\n"
            found = Namespace((*self.prefix[:-1], str(holder.pid)), self.mapped)
            with found.opened:
                yield found

    @property
    def file(self) -> str:
        """By which links go there."""
        return f"/proc/{self.prefix[-1]}/ns/net"


@contextmanager
def namespace_of_its_own(*, mapped: bool) -> Iterator[Namespace]:
    with network_namespace(mapped=mapped) as prefix:
        found = Namespace(prefix, mapped)
        with found.opened:
            yield found


@cache
def allowed(*, mapped: bool) -> bool:
    unshare = shutil.which("unshare", path=PATH)
    command = [unshare or "unshare", *(MAPPED if mapped else ()), "--net", "true"]
    return unshare is not None and subprocess.run(command, capture_output=True).returncode == 0


@cache
def has_nftables(*, mapped: bool) -> bool:
    with namespace_of_its_own(mapped=mapped) as somewhere:
        try:
            return bool(somewhere.open().request(ask_generation()))
        except NotSupported:
            return False
