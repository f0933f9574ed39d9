"""Which part of 127.0.0.0/8 is whose: every account of a machine shares it, and nobody hands it out.

A range is held by a socket whose name says it, in the kernel's abstract namespace: across accounts, as far as the loopback
addresses themselves are shared, and until the process that holds it has ended, however it ended. ``ss -xa`` shows who holds what.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from pierhead.api.network import Network
from pierhead.errors import PierheadError, UsageError
from pierhead.region.ranges import LOOPBACK

NAMES = "pierhead/"
"""What the names of the sockets begin with."""
SOCKETS = Path("/proc/net/unix")
"""Every account may read it."""
PARTS = range(210, 254)
"""127.N.0.0/16 for regions that take what is free, far from what `pierhead up` takes by itself."""

ADVISED = range(209, 199, -1)
"""127.N.0.0/16 for who is told to choose other ranges: they are to stay his, so none of these is given out."""


class Part(NamedTuple):
    """The ranges of one region."""

    services: IPv4Network
    pods: IPv4Network
    floating: IPv4Network

    @property
    def options(self) -> list[str]:
        """As ``pierhead up`` takes them."""
        given = zip(("--service-cidr", "--pod-cidr", "--floating-cidr"), self, strict=True)
        return [word for option, found in given for word in (option, str(found))]


def part(number: int) -> Part:
    return Part(*(IPv4Network(f"127.{number}.{rest}") for rest in ("0.0/17", "128.0/18", "192.0/24")))


class Taken(PierheadError):
    """Another region has a range, or part of it, or what it is part of."""

    def __init__(self, mine: IPv4Network, theirs: IPv4Network) -> None:
        super().__init__(f"{theirs}" + (f", which overlaps {mine}" if mine != theirs else ""))


@contextmanager
def held(network: Network) -> Iterator[None]:
    """Holds what a region serves inside 127.0.0.0/8 until the end of the block. Addresses outside it are the machine's own.

    Raises:
        UsageError: another region holds some of it.
    """
    every = (*network.service_ranges, *network.pod_ranges, *network.floating_ranges)
    ours = [found for found in every if isinstance(found, IPv4Network) and found.subnet_of(LOOPBACK)]
    with ExitStack() as stack:
        try:
            stack.enter_context(_all_of(ours))
        except Taken as error:
            raise UsageError(f"another region on this machine has {error}", _advice()) from error
        yield


def _advice() -> str:
    """Names ranges that nobody has now; the port is most likely another region's as well."""
    for found in map(part, ADVISED):
        with suppress(Taken), _all_of(found):
            return f"give this one ranges and a port of its own: {' '.join(found.options)} --listen 127.0.0.1:0"
    return "end one that nobody needs"


@contextmanager
def spare() -> Iterator[Part]:
    """Holds a part that no other region of this machine has, until the end of the block.

    Raises:
        UsageError: every part is taken, or the system knows no such names.
    """
    for number in PARTS:
        found = part(number)
        with ExitStack() as stack:
            try:
                stack.enter_context(_all_of(found))
            except Taken:
                continue
            yield found
            return
    raise UsageError(f"{len(PARTS)} regions on this machine took what was free of {LOOPBACK}", "end those nobody needs")


@contextmanager
def _all_of(ours: Iterable[IPv4Network]) -> Iterator[None]:
    """Claims all, then looks for others: of two that come at once with ranges that overlap each sees the other, and at most one
    gets them; with the same ranges exactly one.

    Raises:
        Taken: another region has some of it.
    """
    with ExitStack() as stack:
        mine = tuple(ours)
        for found in mine:
            stack.enter_context(_claim(found))
        for theirs in _claimed():
            if theirs not in mine and (overlapped := next(filter(theirs.overlaps, mine), None)):
                raise Taken(overlapped, theirs)
        yield


def _claim(found: IPv4Network) -> socket.socket:
    """Raises: Taken."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0{NAMES}{found}")
    except OSError as error:
        claim.close()
        raise Taken(found, found) from error
    return claim


def _claimed() -> Iterator[IPv4Network]:
    """What anybody holds, ourselves included. The table writes the NUL that such a name begins with as ``@``."""
    for line in SOCKETS.read_text(errors="replace").splitlines():
        _, mark, name = line.partition(f" @{NAMES}")
        with suppress(ValueError):
            if mark:
                yield IPv4Network(name)
