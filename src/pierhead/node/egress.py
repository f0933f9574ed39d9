"""The way of pods to the world (``--egress``): the machine forwards for them and hides them behind its own address. One table for each
family, laid on the machine under the name of the link, replaced as a whole, and undone with the link.

Whether a machine forwards is its owner's business: it is asked, and never set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import UsageError
from pierhead.forwarding.nftlayout import within
from pierhead.node.wiring import Side, Wiring
from pierhead.wire import expressions as x
from pierhead.wire.expressions import Compare, Meta
from pierhead.wire.listing import dump_tables, read_table
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Base, Chain, Family, Hook, Rule, Table, add, delete

SETTINGS: Final = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
"""Whether a machine forwards, by IP version."""
FAMILIES: Final = {4: Family.IP, 6: Family.IP6}
COMMENT: Final = "pods of a Pierhead region go out as this machine"


def check(versions: Iterable[int]) -> None:
    """Raises:
    UsageError: this machine does not forward.
    """
    for version in versions:
        if not is_forwarded(version):
            raise UsageError(
                f"--egress needs this machine to forward for its pods, and {SETTINGS[version]} is 0",
                f"if it may, write: sysctl -w {SETTINGS[version]}=1",
            )


def is_forwarded(version: int, settings: Path = Path("/proc/sys")) -> bool:
    """Whether this machine forwards packets of an IP version. ``settings``: without those of a family its kernel does not know it."""
    try:
        return (settings / SETTINGS[version].replace(".", "/")).read_text().strip() != "0"
    except FileNotFoundError:
        return False


def lay(machine: Netlink, wiring: Wiring) -> None:
    """``machine``: a netfilter socket.

    Raises:
        KernelError: the kernel refused; nothing was done.
    """
    machine.transact([message for side in wiring.sides for message in _table(side, wiring.link)])


def remove(machine: Netlink, link: str) -> None:
    held = map(read_table, machine.request(dump_tables()))
    machine.transact([delete(table) for table in held if table.name == link])


def _table(side: Side, link: str) -> Iterator[Message]:
    table = Table(FAMILIES[side.node.version], link, COMMENT)
    chain = Chain(table, "hide", Base("nat", Hook.POSTROUTING, 100))
    yield from (add(table), delete(table), add(table), add(chain))
    saddr = x.IP6_SADDR if side.node.version == 6 else x.IP_SADDR
    elsewhere = (x.meta(Meta.OIFNAME).into(), x.cmp(x.interface(link), Compare.NOT_EQUAL))
    for found in _hidden(side):
        yield add(Rule(chain, (*elsewhere, *within(saddr, found), x.masquerade())))


def _hidden(side: Side) -> Iterator[Range]:
    """Pods, and the node, which asks on behalf of Services."""
    yield ip_network(side.node)
    yield from (found for found in side.beyond if found not in side.own)
