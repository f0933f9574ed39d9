"""The nodes of this process, each with a name and a part of the pod range that are its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pierhead.api.network import Network, Range
from pierhead.errors import UsageError

ALONE, SEVERAL = "node-1", "node"
"""What a node is called, and what the names of several begin with, where nobody says otherwise."""
SMALLEST = 8
"""Addresses in a node's part of the pod range, the first and the last among them, which no pod gets."""


class Placed(NamedTuple):
    """One node and where it stands."""

    name: str
    zone: str
    pod_ranges: tuple[Range, ...]
    """One for each family, the primary family first."""


def place(network: Network, zones: Sequence[str], name: str = "") -> tuple[Placed, ...]:
    """One node for each zone, in this order. ``name``: of the one node, or what the names of several begin with.

    Which part of the pod range is whose follows from the order of the zones alone, so that a region which starts again
    as it was gives its pods their addresses back.

    Raises:
        UsageError: the pod range is too small for so many nodes.
    """
    parts = _parts(network, len(zones))
    if len(zones) == 1:
        return (Placed(name or ALONE, zones[0], parts[0]),)
    base = name or SEVERAL
    return tuple(Placed(f"{base}-{zone}", zone, part) for zone, part in zip(zones, parts, strict=False))


def numbered(network: Network, zones: Sequence[str]) -> tuple[Placed, ...]:
    """A node for each of these zones, which may come more than once: node-1, node-2 and so on.

    Raises:
        UsageError: as `place`.
    """
    parts = _parts(network, len(zones))
    every = enumerate(zip(zones, parts, strict=False), 1)
    return tuple(Placed(f"{SEVERAL}-{number}", zone, part) for number, (zone, part) in every)


def _parts(network: Network, count: int) -> list[tuple[Range, ...]]:
    """At least ``count``, each with a part of every pod range."""
    return list(zip(*(_split(found, count) for found in network.pod_ranges), strict=False))


def _split(whole: Range, count: int) -> list[Range]:
    """At least ``count`` parts of one size: a power of two."""
    bits = (count - 1).bit_length()
    if whole.num_addresses >> bits < SMALLEST:
        nodes = "a node" if count == 1 else f"{count} nodes"
        fewer = "" if count == 1 else ", or fewer zones"
        longest = whole.max_prefixlen - (SMALLEST - 1).bit_length() - bits
        raise UsageError(f"--pod-cidr {whole} is too small for {nodes}", f"take a prefix of at most /{longest}{fewer}")
    return list(whole.subnets(prefixlen_diff=bits))
