"""The ruleset's notices: who committed, and which generation it made; nothing else is heard."""

from __future__ import annotations

import struct

from namespaces import Namespace
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.wire import datatypes
from pierhead.wire.listing import ask_generation, read_generation
from pierhead.wire.nftables import Element, Family, Set, Table, add, add_elements

TABLE = Table(Family.IP, "test")
MARKS = Set(TABLE, "marks", (datatypes.MARK,))


def test_the_one_who_changed_the_ruleset_is_named(namespace: Namespace) -> None:
    kernel = namespace.open()
    kernel.transact([add(TABLE)])
    with RulesetWatch(namespace.socket()) as watch:
        assert watch.read() == []
        before = read_generation(kernel.request(ask_generation())[0]).number
        namespace.nft("add", "table", "ip", "foreign")
        (notice,) = watch.read()
        assert (notice.number, notice.program) == (before + 1, "nft")


def test_ones_own_commit_is_known_by_its_generation(namespace: Namespace) -> None:
    """Made for one generation it makes the next, and that is all that there is between them."""
    kernel = namespace.open()
    with RulesetWatch(namespace.socket()) as watch:
        before = read_generation(kernel.request(ask_generation())[0]).number
        kernel.transact([add(TABLE), add(MARKS)], generation=before)
        kernel.transact(add_elements(MARKS, [Element(bytes(4))]), generation=before + 1)
        assert [notice.number for notice in watch.read()] == [before + 1, before + 2]


def test_a_load_does_not_drown_the_notice(namespace: Namespace) -> None:
    kernel = namespace.open()
    kernel.transact([add(TABLE), add(MARKS)])
    with RulesetWatch(namespace.socket()) as watch:
        elements = [Element(struct.pack("=I", i)) for i in range(5_000)]
        kernel.transact(add_elements(MARKS, elements))
        assert len(watch.read()) == 1


def test_notices_that_were_lost_are_a_gap(namespace: Namespace) -> None:
    kernel = namespace.open()
    with RulesetWatch(namespace.socket()) as watch:
        for i in range(2000):
            kernel.transact([add(Table(Family.IP, f"t{i}"))])
        heard = [notice.number for notice in watch.read()]
        kernel.transact([add(TABLE)])
        (last,) = watch.read()
        assert last.number - heard[-1] > 1
