"""A network namespace of a test's own: lo and nothing else, and ports below 1024 closed to ordinary users as on a fresh machine."""

from __future__ import annotations

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
            pytest.skip("user namespaces are not allowed here")
        user = ("--user", "--preserve-credentials") if mapped else ()
        yield ("nsenter", *user, "--net", "--target", str(holder.pid))
