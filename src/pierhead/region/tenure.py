"""Which part of 127.0.0.0/8 is whose: every account of a machine shares it, and nobody hands it out.

A range is held by a socket bound to its first address, which no Service and no pod is ever given: across accounts, and until the
process that holds it has ended, however it ended.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Network, ip_network
from typing import NamedTuple

from pierhead.api.network import Network, Range
from pierhead.errors import UsageError
from pierhead.region.ranges import LOOPBACK

PORT = 6443
"""Over UDP, so that it is in nobody's way."""
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


@contextmanager
def held(network: Network) -> Iterator[None]:
    """Holds what a region serves inside 127.0.0.0/8 until the end of the block. Addresses outside it are the machine's own.

    Raises:
        UsageError: another region holds one of the ranges.
    """
    with ExitStack() as stack:
        for found in (*network.service_ranges, *network.pod_ranges, *network.floating_ranges):
            if isinstance(found, IPv4Network) and found.subnet_of(LOOPBACK):
                try:
                    stack.enter_context(_claim(found))
                except OSError as error:
                    stack.close()
                    raise UsageError(f"another region on this machine has {found}", _advice()) from error
        yield


def _advice() -> str:
    """Names ranges that nobody has now."""
    for found in map(part, ADVISED):
        with suppress(OSError), _all_of(found):
            return f"give this one ranges of its own: {' '.join(found.options)}"
    return "end one that nobody needs"


@contextmanager
def spare() -> Iterator[Part]:
    """Holds a part that no other region of this machine has, until the end of the block.

    Raises:
        UsageError: every part is taken, or the system has only 127.0.0.1 of it.
    """
    for number in PARTS:
        found = part(number)
        with ExitStack() as stack:
            try:
                stack.enter_context(_all_of(found))
            except OSError:
                continue
            yield found
            return
    raise UsageError(f"{len(PARTS)} regions on this machine took what was free of {LOOPBACK}", "end those nobody needs")


@contextmanager
def _all_of(found: Part) -> Iterator[None]:
    """Raises: OSError."""
    with ExitStack() as stack:
        for each in found:
            stack.enter_context(_claim(each))
        yield


def _claim(found: Range) -> socket.socket:
    """Raises: OSError."""
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind((str(ip_network(found).network_address), PORT))
    except OSError:
        claim.close()
        raise
    return claim
