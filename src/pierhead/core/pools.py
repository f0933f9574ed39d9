"""Pools of numbers: the addresses of a service range and the node ports, each with a band for those who choose by hand.

A pool has no memory. What is taken is asked of the claims; which free number comes next is a matter of chance, first in the upper
band, then (when that is full) in the lower one, where hand-picked numbers collide least with given ones.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

import msgspec

from pierhead.api.network import Range

Pick: TypeAlias = Callable[[int], int]
"""Chance: a number in ``range(n)``."""
Taken: TypeAlias = Callable[[int], bool]


class Pool(msgspec.Struct, frozen=True):
    """Numbers ``first`` to ``last``; those from ``dynamic`` on are given out first."""

    first: int
    last: int
    dynamic: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def next_free(self, taken: Taken, pick: Pick) -> int | None:
        """None: the pool is full. Looks onward from a random place, so a search ends at once unless the band is crowded."""
        for low, high in ((self.dynamic, self.last), (self.first, self.dynamic - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = pick(size)
            for step in range(size):
                number = low + (start + step) % size
                if not taken(number):
                    return number
        return None


def _band(size: int, share: int, limit: int) -> int:
    """KEP-3070 and KEP-3668: a share of the whole, at least 16, at most ``limit``; none where all is small."""
    return 0 if size <= 16 else min(max(16, size // share), limit)


def addresses(network: Range) -> Pool:
    """Without the network's own address and, in IPv4, its broadcast address."""
    start, size = int(network.network_address), network.num_addresses
    last = start + size - (2 if network.version == 4 else 1)
    return Pool(start + 1, last, start + max(1, _band(size, 16, 256)))


def ports(numbers: range) -> Pool:
    return Pool(numbers.start, numbers.stop - 1, numbers.start + _band(len(numbers), 32, 128))


def address_of(network: Range, number: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if network.version == 4 else IPv6Address(number)
