"""What the kernel holds of our table, read as one state: a ``Ruleset`` that packets can be led through."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator

from pierhead.dataplane.netlink import ATTEMPTS, Netlink
from pierhead.errors import GenerationPassed, ObjectMissing
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.wire.listing import (
    ask_generation,
    dump_chains,
    dump_elements,
    dump_rules,
    dump_sets,
    dump_tables,
    read_chain,
    read_generation,
    read_set,
    read_tables,
)
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Chain, Family, Set, Table


def read(netlink: Netlink, table: Table, *, without: Collection[str] = ()) -> Ruleset | None:
    """The table of this family and name, or None when there is none. ``without``: sets whose elements are left out.

    Raises:
        KernelError: it may not be read, or is changed all the time.
    """
    for _ in range(ATTEMPTS):
        before = _generation(netlink)
        try:
            found = _read(netlink, table, without)
        except ObjectMissing:  # it went while it was read
            continue
        if _generation(netlink) == before:
            return found
    raise GenerationPassed(errno.ERESTART, str(table), "others change it all the time")


def neighbours(netlink: Netlink, table: Table) -> list[Chain]:
    """The chains of other tables that meet the same packets.

    Raises:
        KernelError: they may not be read.
    """
    families = (Family.INET, table.family)
    found = [read_chain(one) for family in families for one in netlink.request(dump_chains(Table(family, "")))]
    return [chain for chain in found if chain.base and (chain.table.family, chain.table.name) != _named(table)]


def _read(netlink: Netlink, table: Table, without: Collection[str]) -> Ruleset | None:
    """Raises: ObjectMissing."""
    there = next((one for one in read_tables(netlink.request(dump_tables())) if _named(one) == _named(table)), None)
    if there is None:
        return None
    found = Ruleset(there)
    found.apply(_told(netlink, there, without))
    return found


def _told(netlink: Netlink, table: Table, without: Collection[str]) -> Iterator[Message]:
    """In the order in which one refers to the other."""
    yield from netlink.request(dump_chains(table))
    sets = netlink.request(dump_sets(table))
    yield from sets
    for name in (read_set(one).name for one in sets):
        if name not in without:
            yield from netlink.request(dump_elements(Set(table, name, ())))
    yield from netlink.request(dump_rules(table))


def _generation(netlink: Netlink) -> int:
    return read_generation(netlink.request(ask_generation())[0]).number


def _named(table: Table) -> tuple[Family, str]:
    return table.family, table.name
