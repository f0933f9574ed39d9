"""``AddressRange``: consecutive addresses of one IP family, as a pool of floating IPs gives them out."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

import msgspec

from pierhead.api.network import Range
from pierhead.api.rules import Address, address, cidr, invalid_value, invalid_values, ip_address, network
from pierhead.errors import Cause

RANGE_TEXT = "must be a CIDR, an IP address, or FIRST-LAST, (e.g. 192.0.2.0/28, 192.0.2.7 or 192.0.2.10-192.0.2.20, 2001:db8::/112)"


class AddressRange(msgspec.Struct, frozen=True):
    """Addresses ``first`` to ``last``, as numbers."""

    version: int
    """4 or 6."""
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def ends(self) -> tuple[Address, Address]:
        return self.address(self.first), self.address(self.last)

    def address(self, number: int) -> Address:
        return IPv4Address(number) if self.version == 4 else IPv6Address(number)

    def __contains__(self, found: Address) -> bool:
        return found.version == self.version and self.first <= int(found) <= self.last

    def overlaps(self, other: AddressRange) -> bool:
        return self.version == other.version and self.first <= other.last and other.first <= self.last


def of_network(block: Range) -> AddressRange:
    """The whole of a network."""
    first = int(block.network_address)
    return AddressRange(block.version, first, first + block.num_addresses - 1)


def parse(text: str) -> AddressRange | None:
    """What a CIDR, an address or ``FIRST-LAST`` gives out; None when the text is none of them.

    In IPv4 a prefix shorter than /31 keeps its first and last address (RFC 3021): routers take them for the network's own
    and for its broadcast address.
    """
    low, dash, high = text.partition("-")
    if dash:
        return _between(low, high)
    if "/" in text:
        return None if cidr(text) else _block(text)
    found = address(text)
    return None if found is None or ip_address(text) else AddressRange(found.version, int(found), int(found))


def _between(low: str, high: str) -> AddressRange | None:
    first, last = address(low), address(high)
    if first is None or last is None or ip_address(low) or ip_address(high):
        return None
    if first.version != last.version or int(first) > int(last):
        return None
    return AddressRange(first.version, int(first), int(last))


def _block(text: str) -> AddressRange | None:
    found = network(text)
    if found is None:
        return None
    start, length = found
    low = int(start)
    high = low + (1 << (start.max_prefixlen - length)) - 1
    kept = start.version == 4 and length < 31
    return AddressRange(start.version, low + kept, high - kept)


def range_causes(path: str, texts: Sequence[str]) -> list[Cause]:
    """What is wrong with the ranges of one pool: malformed ones; if there are none, other families and overlaps."""
    found = [parse(text) for text in texts]
    malformed = [place for place, one in enumerate(found) if one is None]
    if malformed:
        return [invalid_value(f"{path}[{place}]", texts[place], _why(texts[place])) for place in malformed]
    ranges = [one for one in found if one is not None]
    causes: list[Cause] = []
    for place, one in enumerate(ranges):
        if one.version != ranges[0].version:
            text = f"must be of the same IP family as {path}[0]: a pool has one"
            causes += invalid_values(f"{path}[{place}]", texts[place], [text])
    for (earlier, one), (later, other) in combinations(enumerate(ranges), 2):
        if one.overlaps(other):
            causes.append(
                invalid_value(f"{path}[{later}]", texts[later], f"overlaps {path}[{earlier}] ({texts[earlier]})")
            )
    return causes


def _why(text: str) -> str:
    """The most telling thing to say about a text that is no range."""
    low, dash, high = text.partition("-")
    if dash:
        first, last = address(low), address(high)
        if first is not None and last is not None and first.version == last.version and int(first) > int(last):
            return "must not end before it begins"
        return RANGE_TEXT
    if "/" in text and network(text):
        return next(iter(cidr(text)), RANGE_TEXT)
    return next(iter(ip_address(text)), RANGE_TEXT) if address(text) else RANGE_TEXT
