"""Routes to floating IPs, which follow the pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from typing import Final

from pierhead.api.kinds import FLOATING_IP_POOL
from pierhead.api.network import Range
from pierhead.api.views import FloatingIPPool
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.client.troubles import Troubles
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import KernelError, UsageError
from pierhead.node import wiring
from pierhead.node.netns import NetworkNamespace
from pierhead.node.wiring import Wiring

log = logging.getLogger(__name__)


PAUSE: Final = 5.0
"""Seconds before what could not be laid is tried again: nobody tells us when it can be."""


async def follow(informers: Informers, lay: Callable[[tuple[Range, ...]], bool]) -> None:
    """Tells what all pools hold, as networks, at first and whenever one has changed, and again for as long as ``lay`` says that not all of
    it is done. Until cancelled."""
    pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
    changed = asyncio.Event()
    end = pools.subscribe(lambda _: changed.set())
    try:
        await pools.synced.wait()
        while True:
            changed.clear()
            held = {found for pool in pools.list() for found in _networks(pool.spec.ranges)}
            done = lay(tuple(sorted(held, key=str)))
            with suppress(TimeoutError):
                async with asyncio.timeout(None if done else PAUSE):
                    await changed.wait()
    finally:
        end()


class PoolRoutes:
    """Those of the machine. ``plan``: the wiring with these floating IPs in place of others. ``machine``: a routing socket."""

    def __init__(self, machine: Netlink, node: NetworkNamespace, plan: Callable[[tuple[Range, ...]], Wiring]) -> None:
        self._machine, self._node, self._plan = machine, node, plan
        self._wanted: tuple[Range, ...] = ()
        self._laid: tuple[Range, ...] | None = None
        """None: unknown."""
        self._led: frozenset[Range] = frozenset()
        self._troubles = Troubles()

    async def follow(self, informers: Informers) -> None:
        """Until cancelled."""
        await follow(informers, self.lay)

    @property
    def link(self) -> str:
        """What the machine's end is called."""
        return self._plan(()).link

    @property
    def led(self) -> frozenset[Range]:
        """Where the machine's routes over it lead."""
        return self._led

    def mend(self) -> bool:
        """Lays again what was laid last, if anything of it is missing; says whether that was so.

        Raises:
            KernelError: the kernel refused.
        """
        if self._laid is None:
            return False  # whoever follows the pools is about to lay all of it
        if self._laid == self._wanted and wiring.is_laid(self._machine, self._node, self._plan(self._laid)):
            return False
        free = tuple(filter(self._is_free, self._wanted))
        if free == self._laid and wiring.is_laid(self._machine, self._node, self._plan(free)):
            return False
        wiring.lay(self._machine, self._node, self._plan(free), wholly=False)
        self._laid = free
        return True

    def number(self) -> int:
        """The index of the machine's end.

        Raises:
            KernelError: there is none.
        """
        return wiring.number(self._machine, self._plan(()))

    def lay(self, wanted: tuple[Range, ...]) -> bool:
        """Leads to these floating IPs and to no others. What the machine uses itself stays with it. False: not all of it is done."""
        if wanted == self._laid:
            return True
        self._wanted, self._led = wanted, frozenset(wiring.taken(self._plan(wanted)))
        try:
            free = tuple(filter(self._is_free, wanted))
            if free != self._laid:
                self._laid = None
                wiring.lay(self._machine, self._node, self._plan(free))
        except KernelError as error:
            if self._troubles.is_news(str(error)):
                log.warning("this machine's routes to floating IPs are not yet what the pools hold: %s", error)
            return False
        self._laid = free
        self._troubles.over()
        return free == wanted

    def _is_free(self, found: Range) -> bool:
        """Whatever else of the region's the machine may have come to use: that keeps no floating IPs away. The API lets no pool have
        what the region uses itself; whoever writes to its store is not asked there."""
        plan = self._plan((found,))
        try:
            _check_apart(found, wiring.taken(self._plan(())))
            wiring.check_ranges(
                self._machine, plan.link, [each for side in plan.sides for each in side.beyond if each == found]
            )
        except UsageError as error:
            if self._troubles.is_news(str(error), str(found)):
                log.warning("floating IPs %s are not reached: %s", found, error)
            return False
        self._troubles.over(str(found))
        return True


def _check_apart(found: Range, taken: Iterable[Range]) -> None:
    """Raises: UsageError."""
    for other in taken:
        if other.version == found.version and other.overlaps(found):
            raise UsageError(f"the region has {other} for itself", "take other ranges: kubectl edit fippool")


def _networks(texts: tuple[str, ...]) -> Iterator[Range]:
    """A network as a whole: its first and last address, which nobody is given, are led nowhere else."""
    for text in texts:
        low, dash, high = text.partition("-")
        match (ip_address(low), ip_address(high)) if dash else ip_network(text, strict=False):
            case (IPv4Address() as first, IPv4Address() as last):
                yield from summarize_address_range(first, last)
            case (IPv6Address() as first, IPv6Address() as last):
                yield from summarize_address_range(first, last)
            case IPv4Network() | IPv6Network() as found:
                yield found
