"""The ruleset's notices: who committed what to which tables; one's own commits are not heard."""

from __future__ import annotations

import asyncio
import struct

from namespaces import Namespace
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.wire import datatypes
from pierhead.wire.nftables import Element, Family, Set, Table, add, add_elements

TABLE = Table(Family.IP, "test")
MARKS = Set(TABLE, "marks", (datatypes.MARK,))


def test_the_one_who_changed_the_ruleset_is_named_with_the_tables_that_he_changed(namespace: Namespace) -> None:
    kernel = namespace.open()
    kernel.transact([add(TABLE), add(MARKS)])
    with RulesetWatch(namespace.socket()) as watch:
        watch.begin(kernel.port)
        assert watch.read() == []
        namespace.nft("add", "table", "ip6", "foreign")
        (foreign,) = watch.read()
        assert (foreign.program, set(foreign.tables), foreign.complete) == ("nft", {Table(Family.IP6, "foreign")}, True)
        assert foreign.pid
        namespace.nft("add table inet mixed; add element ip test marks { 3 }")
        namespace.nft("delete", "table", "ip", "test")
        mixed, ours = watch.read()
        assert mixed.tables == {Table(Family.INET, "mixed"), TABLE}
        assert ours.tables == {TABLE}


def test_ones_own_commits_are_not_heard(namespace: Namespace) -> None:
    kernel, other = namespace.open(), namespace.open()
    with RulesetWatch(namespace.socket()) as watch:
        kernel.transact([add(TABLE)])
        watch.begin(kernel.port)
        kernel.transact([add(MARKS)])
        kernel.transact(add_elements(MARKS, [Element(bytes(4))]))
        assert watch.read() == []
        other.transact(add_elements(MARKS, [Element(b"\1\0\0\0")]))
        assert [found.tables for found in watch.read()] == [frozenset((TABLE,))]


def test_nothing_is_heard_before_it_begins(namespace: Namespace) -> None:
    kernel = namespace.open()
    with RulesetWatch(namespace.socket()) as watch:
        namespace.nft("add", "table", "ip", "foreign")
        kernel.transact([add(TABLE)])
        watch.begin(kernel.port)
        assert watch.read() == []


def test_ones_own_load_does_not_drown_a_notice(namespace: Namespace) -> None:
    kernel = namespace.open()
    kernel.transact([add(TABLE), add(MARKS)])
    with RulesetWatch(namespace.socket()) as watch:
        watch.begin(kernel.port)
        elements = [Element(struct.pack("=I", i)) for i in range(5_000)]
        kernel.transact(add_elements(MARKS, elements))
        namespace.nft("add", "table", "ip", "foreign")
        assert [found.complete for found in watch.read()] == [True]


def test_notices_that_were_lost_are_said_to_be(namespace: Namespace) -> None:
    kernel, other = namespace.open(), namespace.open()
    kernel.transact([add(TABLE)])
    with RulesetWatch(namespace.socket()) as watch:
        watch.begin(kernel.port)
        for i in range(2000):
            other.transact([add(Table(Family.IP, f"t{i}"))])
        (lost,) = watch.read()
        assert (lost.program, lost.pid, lost.complete) == ("", 0, False)
        namespace.nft("add", "table", "ip", "foreign")
        (unsure,) = watch.read()
        assert not unsure.complete
        namespace.nft("delete", "table", "ip", "test")
        (last,) = watch.read()
        assert (last.program, set(last.tables), last.complete) == ("nft", {TABLE}, True)


def test_who_comes_after_a_loss_is_not_named_for_what_another_one_did(namespace: Namespace) -> None:
    """Of a commit whose end was lost the tables are known, and by whom they were changed is not."""
    kernel, other = namespace.open(), namespace.open()
    kernel.transact([add(TABLE), add(MARKS)])
    with RulesetWatch(namespace.socket()) as watch:
        watch.begin(kernel.port)
        other.transact(add_elements(MARKS, [Element(struct.pack("=I", i)) for i in range(20_000)]))
        assert [(found.program, set(found.tables), found.complete) for found in watch.read()] == [("", {TABLE}, False)]
        namespace.nft("add", "table", "ip", "foreign")
        (unsure,) = watch.read()
        assert (unsure.program, unsure.pid, unsure.complete) == ("", 0, False)


def test_it_can_be_waited_for(namespace: Namespace) -> None:
    kernel = namespace.open()
    kernel.transact([add(TABLE)])

    async def waited() -> None:
        with RulesetWatch(namespace.socket()) as watch:
            watch.begin(kernel.port)
            waiting = asyncio.create_task(watch.wait())
            await asyncio.to_thread(namespace.nft, "add", "table", "ip", "foreign")
            async with asyncio.timeout(5):
                await waiting
            assert len(watch.read()) == 1

    asyncio.run(waited())
