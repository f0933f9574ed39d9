"""Ending UDP flows that are on an endpoint which no longer serves, so that their next datagram is led anew.

Connection tracking keeps a flow where its first datagram went. TCP is left alone: an open connection outlives every change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectMissing
from pierhead.forwarding.nft import Flow
from pierhead.wire import conntrack
from pierhead.wire.nftables import Family

UDP: Final = 17
ONE_BY_ONE: Final = 4
"""Frontends whose flows are asked for each by itself: the kernel looks through all flows each time, and tells few. It takes 7 ms for that,
and 13 µs for each flow that it tells."""
BATCH: Final = 500
"""Deletions sent at once: more do not fit into a stock send buffer."""


def stale(
    flows: Iterable[conntrack.Flow], serving: Mapping[Flow, frozenset[Flow]], *, whole: bool = False
) -> Iterator[conntrack.Flow]:
    """Those to one of these frontends whose answers come from a socket that is none of the frontend's. ``whole``: there are no other
    frontends, and who was led on by one is stale too."""
    for flow in flows:
        to = flow.original.destination, flow.original.destination_port
        stay = serving.get(to, frozenset((to,)) if whole else None)
        answers = flow.reply.source, flow.reply.source_port
        if stay is not None and flow.original.protocol == UDP and answers not in stay:
            yield flow


def clean(netlink: Netlink, family: Family, serving: Mapping[Flow, frozenset[Flow]], *, whole: bool = False) -> int:
    """Ends the stale flows, as `stale` has them, and says how many there were.

    Raises:
        KernelError: they could not be read or ended.
    """
    asked = [None] if whole or len(serving) > ONE_BY_ONE else list(serving)
    told = (answer for to in asked for answer in netlink.request(conntrack.dump(family, UDP, to)))
    found = list(stale(map(conntrack.read, told), serving, whole=whole))
    for start in range(0, len(found), BATCH):
        messages = [conntrack.delete(family, flow) for flow in found[start : start + BATCH]]
        netlink.perform(messages, forgiving=(ObjectMissing,))
    return len(found)
