"""What crosses between the world and a region's link, on a machine that forwards: one table for each family, under the name of the link,
replaced as a whole and undone with it.

From outside nothing is led on to cluster IPs and pods: by the time it came to the node, a rule of the machine (Docker's, which hides
containers behind the machine's address) may have made it look like the machine's own. And pods go out only where that is asked for
(``--egress``), hidden behind the machine's address; what is answered at floating IPs and node ports, and what the node asks on behalf of Services,
comes from other addresses than theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_network
from itertools import count
from typing import Final

import msgspec

from pierhead.api.network import Range
from pierhead.client.pace import Pace, delay
from pierhead.client.troubles import Troubles
from pierhead.dataplane.netlink import ATTEMPTS, Netlink
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.errors import KernelError, ObjectMissing
from pierhead.forwarding.nftlayout import judged, within
from pierhead.wire import expressions as x
from pierhead.wire.expressions import Compare, Expression, Meta
from pierhead.wire.listing import dump_tables, read_tables
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Base, Chain, Family, Hook, Rule, Table, add, delete
from pierhead.wire.routes import IP

PAUSE, LONGEST = 0.5, 30.0
"""Seconds between two times that it is laid, doubled for who insists: two who both do are not to busy the machine."""
PATIENCE: Final = 30.0
"""Seconds for the nodes' first load."""
COMMENT: Final = "who crosses the border of a Pierhead region"


log = logging.getLogger(__name__)


class Border(msgspec.Struct, frozen=True):
    """Of one family."""

    node: IP
    services: tuple[Range, ...]
    pods: tuple[Range, ...]
    egress: bool = False
    """Whether pods go out."""


def lay(machine: Netlink, link: str, borders: Iterable[Border]) -> None:
    """In place of what there is of this link. ``machine``: a netfilter socket.

    Raises:
        KernelError: the kernel refused; nothing was done.
    """
    _replace(machine, lambda table: table.name == link, [each for border in borders for each in _table(link, border)])


def remove(machine: Netlink, link: str) -> None:
    _replace(machine, lambda table: table.name == link)


def sweep(machine: Netlink, links: Container[str]) -> None:
    """Takes away those whose link is gone: of regions that were killed, and their directory removed. ``links``: names of all there are."""
    _replace(machine, lambda table: table.comment == COMMENT and table.name not in links)


class Keeper:
    """Lays the border again whenever somebody else changed it: who loads a machine's own rules anew (``nft flush ruleset`` comes first
    there) means no harm, and would open it unseen."""

    def __init__(
        self, machine: Netlink, watch: RulesetWatch, link: str, borders: Sequence[Border], after: asyncio.Event
    ) -> None:
        """``machine``: the socket by which it was laid. ``watch`` has not begun, and does not ``after`` that: who listens makes every load of
        rules slower, on all of the machine."""
        self._machine, self._watch, self._link, self._borders, self._after = machine, watch, link, borders, after
        self._troubles, self._strangers = Troubles(), Pace()

    async def follow(self) -> None:
        """Until cancelled. What somebody did before it listens is mended when it does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._after.wait()
        self._watch.begin(self._machine.port)
        due = True
        while True:
            if not due:
                await self._watch.wait()
            if self._is_changed() or due:
                due = not self._lay()
                await asyncio.sleep(delay(self._strangers.again(), first=PAUSE, longest=LONGEST))

    def _is_changed(self) -> bool:
        """Or may be, for all we heard."""
        try:
            commits = self._watch.read()
        except KernelError:  # a notice that cannot be read
            return True
        by = {each.program for each in commits if any(table.name == self._link for table in each.tables)}
        if by:
            who = " and ".join(sorted(by - {""})) or "somebody"
            text = "table %s of this machine, which keeps others out, is laid again: %s changed it"
            log.warning(text, self._link, who)
        return bool(by) or not all(each.complete for each in commits)

    def _lay(self) -> bool:
        try:
            lay(self._machine, self._link, self._borders)
        except KernelError as error:
            if self._troubles.is_news(str(error)):
                log.warning(
                    "table %s of this machine, which keeps others out, is not as it should be: %s", self._link, error
                )
            return False
        self._troubles.over()
        return True


def _replace(machine: Netlink, is_old: Callable[[Table], bool], new: Sequence[Message] = ()) -> None:
    """One transaction. Who flushes all rules between the look and it makes it fail, and be tried again."""
    for attempt in count(1):
        old = [delete(table) for table in read_tables(machine.request(dump_tables())) if is_old(table)]
        try:
            machine.transact([*old, *new])
        except ObjectMissing:
            if attempt == ATTEMPTS:
                raise
        else:
            return


def _table(link: str, border: Border) -> Iterator[Message]:
    table = Table(Family.IP6 if border.node.version == 6 else Family.IP, link, COMMENT)
    cross = Chain(table, "cross", Base("filter", Hook.FORWARD, 0))
    yield from (add(table), add(cross))
    yield from (add(Rule(cross, found)) for found in _crossing(link, border))
    if border.egress:
        hide = Chain(table, "hide", Base("nat", Hook.POSTROUTING, 100))
        yield add(hide)
        for found in (ip_network(border.node), *border.pods):  # the node asks on behalf of Services
            yield add(Rule(hide, (*_other(Meta.OIFNAME, link), *within(_sender(border), found), x.masquerade())))


def _crossing(link: str, border: Border) -> Iterator[tuple[Expression, ...]]:
    comes = (*_other(Meta.IIFNAME, link), *_over(Meta.OIFNAME, link))
    goes = (*_over(Meta.IIFNAME, link), *_other(Meta.OIFNAME, link))
    if border.egress:  # only there: to ask for the state makes the machine follow connections
        yield (*comes, *judged(), x.verdict(x.ACCEPT))
    six = border.node.version == 6
    receiver = x.IP6_DADDR if six else x.IP_DADDR
    for found in (*border.services, *border.pods):
        yield (*comes, *within(receiver, found), x.verdict(x.DROP))
    if not border.egress:
        prohibited = x.reject(x.PROHIBITED_IP6 if six else x.PROHIBITED_IP)
        for found in border.pods:
            yield (*goes, *within(_sender(border), found), prohibited)


def _sender(border: Border) -> x.Load:
    return x.IP6_SADDR if border.node.version == 6 else x.IP_SADDR


def _over(way: Meta, link: str) -> tuple[Expression, ...]:
    return x.meta(way).into(), x.cmp(x.interface(link))


def _other(way: Meta, link: str) -> tuple[Expression, ...]:
    return x.meta(way).into(), x.cmp(x.interface(link), Compare.NOT_EQUAL)
