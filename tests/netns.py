"""A network namespace of a test's own: lo and nothing else, and ports below 1024 closed to ordinary users as on a fresh machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

HOLD = "ip link set lo up && echo up && exec cat"
MAPPED = ("--user", "--map-root-user")
"""With a user namespace around it no privilege is needed; one user is all there is in it."""
ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Before a command that is to run in such a namespace as an ordinary user: without any right over the network."""


@contextmanager
def network_namespace(*, mapped: bool) -> Iterator[tuple[str, ...]]:
    """What to put before a command to run it there, as root; ``mapped``: as the only user of a user namespace, which some machines
    do not allow: the test is skipped there."""
    options = MAPPED if mapped else ()
    holder = subprocess.Popen(
        ["unshare", *options, "--net", "sh", "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout
        if holder.stdout.readline() != "up\n":
            assert shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), "ip is missing: iproute2"
            pytest.skip("user namespaces are not allowed here")
        user = ("--user", "--preserve-credentials") if mapped else ()
        yield ("nsenter", *user, "--net", "--target", str(holder.pid))


WIRE = "ip link add wire type veth peer name end netns {pid}"
UP = "ip link set {link} addrgenmode none; ip address add {address}/24 dev {link} && ip link set {link} up"
"""Without an address of IPv6 nothing goes over a wire that nobody has sent."""


@contextmanager
def neighbour(machine: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What to put before a command to run it on another host, which has a wire to the machine in a namespace: the machine is
    192.0.2.10, the other 192.0.2.99."""
    holder = subprocess.Popen(
        [*machine, "unshare", "--net", "sh", "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "up\n"
        user = ("--user", "--preserve-credentials") if "--user" in machine else ()
        other = ("nsenter", *user, "--net", "--target", str(holder.pid))
        subprocess.run([*machine, "sh", "-c", WIRE.format(pid=holder.pid)], check=True)
        for enter, link, address in ((machine, "wire", "192.0.2.10"), (other, "end", "192.0.2.99")):
            subprocess.run([*enter, "sh", "-c", UP.format(link=link, address=address)], check=True)
        yield other
