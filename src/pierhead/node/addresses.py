"""The addresses of a node's pods."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from pierhead.api.network import Range
from pierhead.errors import PierheadError


class Exhausted(PierheadError):
    """Every address of the range is in use."""


class Addresses:
    """Hands out the addresses of the first range in turn, so that one that was given back rests while all others are used: a client that
    still knows a pod that went does not find another one there."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        """``ranges``: one for each family; none of the others is smaller than the first."""
        range, *self._others = ranges
        self._range = range
        self._first = int(range.network_address) + 1
        self._count = range.num_addresses - 2
        self._next = 0
        self._held: set[str] = set()

    def keep(self, address: str) -> bool:
        """Takes an address that a pod has already; False when it is another's by now, or not of this range."""
        try:
            number = int(ip_address(address)) - self._first
        except ValueError:
            return False
        if address in self._held or not 0 <= number < self._count or ip_address(address) not in self._range:
            return False
        self._held.add(address)
        self._next = max(self._next, number + 1)
        return True

    def take(self) -> str:
        """Raises:
        Exhausted: there is none left.
        """
        for _ in range(self._count):
            address = str(self._range[1 + self._next % self._count])
            self._next += 1
            if address not in self._held:
                self._held.add(address)
                return address
        raise Exhausted(f"all {self._count} addresses of {self._range} are in use")

    def every(self, address: str) -> tuple[str, ...]:
        """With those that go with it: at the same place in the ranges of other families."""
        number = int(ip_address(address)) - self._first
        return address, *(str(other[1 + number]) for other in self._others)

    def give_back(self, address: str) -> None:
        self._held.discard(address)
