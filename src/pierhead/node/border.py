"""What crosses between the world and a region's link, on a machine that forwards: one table for each family, under the name of the link,
replaced as a whole and undone with it.

From outside nothing is led on to cluster IPs and pods: by the time it came to the node, a rule of the machine (Docker's, which hides
containers behind the machine's address) may have made it look like the machine's own. And pods go out only where that is asked for
(``--egress``), hidden behind the machine's address; what is answered at floating IPs and node ports, and what the node asks on behalf of Services,
comes from other addresses than theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

import msgspec

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.forwarding.nftlayout import judged, within
from pierhead.wire import expressions as x
from pierhead.wire.expressions import Compare, Expression, Meta
from pierhead.wire.listing import dump_tables, read_table
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Base, Chain, Family, Hook, Rule, Table, add, delete
from pierhead.wire.routes import IP

COMMENT: Final = "who crosses the border of a Pierhead region"


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
    machine.transact([*_gone(machine, link), *(message for border in borders for message in _table(link, border))])


def remove(machine: Netlink, link: str) -> None:
    machine.transact([*_gone(machine, link)])


def _gone(machine: Netlink, link: str) -> Iterator[Message]:
    held = map(read_table, machine.request(dump_tables()))
    return (delete(table) for table in held if table.name == link)


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
