"""Firewalls of the machine that may stand between it, or the world, and its nodes. They are somebody else's: they are named, with the line
to type, and never changed.

What rules do with a packet nobody can tell by looking at them. A firewall counts as shut if its last word is to drop, and no rule of it
names the link. One of ``iptables-legacy`` is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final

from pierhead.dataplane.netlink import Netlink
from pierhead.node.wiring import Wiring
from pierhead.wire.listing import dump_chains, dump_rules, dump_tables, read_chain, read_tables
from pierhead.wire.nftables import Chain, Family, Hook, Table

FIREWALLD: Final = "firewalld"
"""Its table: it lets packets fall through to a rule that rejects them, so that its policy says nothing."""
DOCKER: Final = "DOCKER-USER"
"""The chain that Docker leaves to others, in front of its own."""


def shut(machine: Netlink, hook: Hook, wiring: Wiring) -> Iterator[str]:
    """Who may drop what comes by the link, each with the line to type. ``machine``: a netfilter socket.

    Raises:
        KernelError: it may not be asked.
    """
    families = {Family.INET, *(Family.IP6 if side.node.version == 6 else Family.IP for side in wiring.sides)}
    for table in read_tables(machine.request(dump_tables())):
        if table.family in families and table.name != wiring.link:
            chains = [
                found
                for found in map(read_chain, machine.request(dump_chains(table)))
                if found.table.name == table.name
            ]
            last = next((chain for chain in chains if _drops(chain, hook)), None)
            if last and not _names(machine, table, wiring.link):
                yield f"{last} may drop it: {_remedy(last, {found.name for found in chains}, wiring.link)}"


def _drops(chain: Chain, hook: Hook) -> bool:
    base = chain.base
    if base is None or (base.kind, base.hook) != ("filter", hook):
        return False
    return base.drops or chain.table.name == FIREWALLD


def _names(machine: Netlink, table: Table, link: str) -> bool:
    return any(link.encode() in message.body for message in machine.request(dump_rules(table)))


def _remedy(last: Chain, chains: Set[str], link: str) -> str:
    """``chains``: names of all in its table."""
    table, comes = last.table, last.base is not None and last.base.hook is Hook.INPUT
    if table.name == FIREWALLD:
        return f"firewall-cmd --zone=trusted --add-interface={link}"
    if table.name != "filter":
        place = f"{table.family.name.lower()} {table.name} {last.name}"
        ways = ("iifname",) if comes else ("iifname", "oifname")
        return " && ".join(f"nft insert rule {place} {way} {link} accept" for way in ways)
    command = "ip6tables" if table.family is Family.IP6 else "iptables"
    if comes:
        return f"{command} -I INPUT -i {link} -j ACCEPT"
    chain = DOCKER if DOCKER in chains else "FORWARD"
    return " && ".join(f"{command} -I {chain} -{way} {link} -j ACCEPT" for way in "io")
