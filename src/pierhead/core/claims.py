"""Claims: keys of the store that say who has an address or a port, taken and given back in the commit of the write that decides it.

The value of a claim is the store key of its holder. Nothing is reserved: what is free now may be taken when the commit comes,
which then fails as a whole and is decided anew. So two writers never get one address, and a crash leaks none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pierhead.api import Tree
from pierhead.api.strategy import Write
from pierhead.api.views import FloatingIPPool
from pierhead.core.floating import FloatingIPs


class Allocation(msgspec.Struct, frozen=True):
    """What goes into the commit of a write besides its object."""

    take: tuple[str, ...] = ()
    """Claims that have to be absent."""
    release: tuple[str, ...] = ()
    """Claims to give back, those of them which the object holds."""
    renew: tuple[str, ...] = ()
    """Claims written again, held or not, so that whoever decided by them decides anew."""
    unchanged: tuple[tuple[str, int], ...] = ()
    """Keys, each with the revision at which it still has to be; 0: absent."""
    none_since: tuple[tuple[str, int], ...] = ()
    """Prefixes, each with the revision after which no key under it may have been written; 0: at all."""

    def __add__(self, other: Allocation) -> Allocation:
        return Allocation(
            self.take + other.take,
            self.release + other.release,
            self.renew + other.renew,
            self.unchanged + other.unchanged,
            self.none_since + other.none_since,
        )


class Ground(FloatingIPs, Protocol):
    """What a decision about claims reads: what is stored, all as of one moment, and chance."""

    def holder(self, key: str) -> str | None:
        """The store key of the object that holds this claim."""
        ...

    def holders(self, prefix: str) -> Sequence[tuple[str, str]]:
        """The claims that start with ``prefix``, in order, and who holds each."""
        ...

    def revision(self, key: str = "") -> int:
        """Of a key, 0 when it is absent; without a key, of the whole store."""
        ...

    def pools(self) -> Sequence[FloatingIPPool]: ...

    def pick(self, count: int, /) -> int:
        """Chance: a number in ``range(count)``."""
        ...


class Claimant:
    """What the writes of one kind take and give back. This one: nothing.

    Of a create and an update of the main resource ``allocate`` comes before validation and ``claim`` after it; of an update of
    the status ``claim`` alone. Both may change ``obj`` in place, and raise ApiError 422 or 500. ``old`` is None at creation.
    """

    def allocate(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        """Fills in what the object leaves to the server to give out."""
        return Allocation()

    def claim(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        """What this object, in which nothing is wrong by itself, asks of others."""
        return Allocation()

    def leave(self, obj: Tree | None, old: Tree, ground: Ground) -> Allocation:
        """The same for an object on its way out: ``obj`` is what waits for its finalizers, None when it goes for good.

        Raises:
            ApiError: 409 while others depend on it.
        """
        return Allocation()
