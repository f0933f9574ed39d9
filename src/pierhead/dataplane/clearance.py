"""What goes before our rules are written anew: the kernel's table as it is found, whoever changed it, makes room for ours."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from pierhead.errors import KernelError, NotSupported, ObjectBusy, ObjectExists, ObjectMissing
from pierhead.forwarding.nftlayout import NAME, Layout
from pierhead.forwarding.nftmodel import INLINE
from pierhead.wire.listing import dump_chains, dump_sets, read_chain, read_set
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Chain, Family, Set, Table, delete, flush

Ask: TypeAlias = Callable[[Message], Sequence[Message]]
IN_THE_WAY: Final[tuple[type[KernelError], ...]] = (ObjectBusy, ObjectExists, ObjectMissing, NotSupported)
"""How the kernel refuses rules among which somebody else put something: a set or a chain of another kind under a name of ours."""


def check(layout: Layout, known: Mapping[Family, Table]) -> None:
    """Raises: ObjectExists: a table of our name is not ours."""
    for table in (layout.table, *layout.beside):
        if table.family in known:
            check_owner(known[table.family], layout.ground.owner)


def check_owner(held: Table, owner: str) -> None:
    """Raises: ObjectExists."""
    if not held.comment.startswith(f"{owner} "):
        whose = f"{held.comment.partition(' ')[0]!r}" if held.comment else "somebody else"
        raise ObjectExists(errno.EEXIST, str(held), f"belongs to {whose}; to give it up: nft delete {held}")


def keeps(layout: Layout, known: Mapping[Family, Table]) -> bool:
    """Whether the table stays, and with it what traffic taught. One of another layout goes as a whole, and so does one with flags: a
    dormant one takes no chain of which the hook is missing in the transaction that wakes it."""
    held = known.get(layout.table.family)
    return held is not None and held.comment == layout.ground.comment and not held.flags


def removed(layout: Layout, known: Mapping[Family, Table]) -> Iterator[Message]:
    """All of it goes."""
    yield from (delete(table) for table in (*layout.beside, layout.table) if table.family in known)


def cleared(layout: Layout, chains: Collection[str], known: Mapping[Family, Table], ask: Ask) -> Iterator[Message]:
    """Takes away what is there, but for what traffic taught. ``chains``: names of those made on demand that shall stand.

    Sets go, for the kernel walks one that is only emptied as if nothing had happened, once for each rule that is bound to it; somebody
    else's too, and before the chains, to which their elements may lead.
    """
    if not keeps(layout, known):
        yield from removed(layout, known)
        return
    yield from (delete(table) for table in layout.beside if table.family in known)
    yield flush(layout.table)
    kept = {there.name for there in layout.kept}
    for found in map(read_set, ask(dump_sets(layout.table))):
        if found.name not in kept and not found.name.startswith(INLINE):
            yield delete(Set(layout.table, found.name, ()))
    ours = {*layout.plain_chains, *layout.base_chains(), *chains}
    for chain in map(read_chain, ask(dump_chains(layout.table))):
        if chain.table.name == NAME and chain.name not in ours:
            yield delete(Chain(layout.table, chain.name))
