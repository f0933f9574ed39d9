"""Routes to floating IPs, which follow the pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)

from pierhead.api.kinds import FLOATING_IP_POOL
from pierhead.api.network import Range
from pierhead.api.views import FloatingIPPool
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import KernelError, UsageError
from pierhead.node import wiring
from pierhead.node.netns import NetworkNamespace
from pierhead.node.wiring import Wiring

log = logging.getLogger(__name__)


async def follow(informers: Informers, lay: Callable[[tuple[Range, ...]], None]) -> None:
    """Tells what all pools hold, as networks, at first and whenever one has changed. Until cancelled."""
    pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
    changed = asyncio.Event()
    end = pools.subscribe(lambda _: changed.set())
    try:
        await pools.synced.wait()
        while True:
            changed.clear()
            lay(tuple(sorted({found for pool in pools.list() for found in _networks(pool.spec.ranges)}, key=str)))
            await changed.wait()
    finally:
        end()


class PoolRoutes:
    """Those of the machine. ``plan``: the wiring with these floating IPs in place of others. ``machine``: a routing socket."""

    def __init__(self, machine: Netlink, node: NetworkNamespace, plan: Callable[[tuple[Range, ...]], Wiring]) -> None:
        self._machine, self._node, self._plan = machine, node, plan
        self._laid: tuple[Range, ...] | None = None

    async def follow(self, informers: Informers) -> None:
        """Until cancelled."""
        await follow(informers, self._lay)

    def _lay(self, wanted: tuple[Range, ...]) -> None:
        if wanted == self._laid:
            return
        try:
            wiring.lay(self._machine, self._node, self._plan(tuple(filter(self._is_free, wanted))))
        except KernelError as error:
            log.warning("this machine's routes to floating IPs stay as they were: %s", error)
        else:
            self._laid = wanted

    def _is_free(self, found: Range) -> bool:
        """What the machine uses itself stays with it."""
        try:
            wiring.check(self._machine, self._plan((found,)))
        except UsageError as error:
            log.warning("floating IPs %s are not reached: %s", found, error)
            return False
        return True


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
