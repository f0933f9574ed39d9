"""What one change asks of the kernel, however much is there: no time is measured, the messages are counted."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
from collections.abc import Sequence

import pytest

from compiled import GROUND
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.errors import GenerationPassed, NoRoom, ObjectMissing
from pierhead.forwarding.assign import Assignment
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, SetBackends, SetRule, whole
from pierhead.forwarding.nftlayout import Layout, mark, packed
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName
from pierhead.wire.listing import dump_elements, read_elements
from pierhead.wire.netlink import Message, be32
from pierhead.wire.nftables import Element, Kind, add_elements, header

SIZES = [10, 1_000]
AFFINITY = Layout(GROUND).affinity


class Noted(Netlink):
    """A kernel in which nothing is and everything succeeds; what it was asked is kept."""

    port = 1

    def __init__(self) -> None:
        self.transactions: list[Sequence[Message]] = []
        self.questions: list[int] = []
        self.threads: list[int] = []
        """Where each transaction was made."""

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        self.transactions.append(messages)
        self.threads.append(threading.get_ident())
        return [self.generation]

    def request(self, message: Message) -> list[Message]:
        self.questions.append(message.kind)
        return [self.generation] if message.kind == Kind.GETGEN else []

    @property
    def generation(self) -> Message:
        return Message(Kind.NEWGEN, header(0) + be32(1, len(self.threads)))

    def elements(self) -> list[tuple[Kind, int]]:
        """What the last transaction did, and to how many."""
        changes = [found for found in self.transactions[-1] if found.kind in (Kind.NEWSETELEM, Kind.DELSETELEM)]
        return [(Kind(found.kind), len(list(read_elements(found)))) for found in changes]


def key(service: int) -> PortKey:
    return PortKey(ServiceName("default", f"web{service}"), "http", "TCP", "IPv4")


def leading(service: int, *numbers: int, affinity: int = 0) -> Backends:
    found = tuple(Endpoint(f"10.244.{service >> 8}.{service & 255}", number) for number in numbers)
    return Backends(found, (), found, affinity)


def table(services: int) -> ForwardingTable:
    addresses = {service: f"10.96.{service >> 8}.{service & 255}" for service in range(services)}
    rules = {Frontend("TCP", addresses[n], 80): Rule(key(n), "cluster", "Cluster") for n in addresses}
    return ForwardingTable(rules, {key(n): leading(n, 1, 2, 3) for n in addresses})


def programmed(services: int, *commits: Sequence[Change]) -> Noted:
    """What was asked by the last of the commits, after a full load."""
    kernel = Noted()

    async def run() -> None:
        dataplane = Nftables([GROUND], kernel)
        await dataplane.commit(whole(table(services)))
        for changes in commits:
            kernel.transactions.clear()
            kernel.questions.clear()
            await dataplane.commit(changes)

    asyncio.run(run())
    return kernel


def test_a_load_is_one_transaction_of_full_messages() -> None:
    kernel = programmed(2_000)
    (messages,) = kernel.transactions
    fixed = programmed(0)
    assert len(messages) - len(fixed.transactions[0]) < 15
    assert sum(count for kind, count in kernel.elements() if kind is Kind.NEWSETELEM) > 10_000


@pytest.mark.parametrize("services", SIZES)
def test_another_endpoint_is_one_slot_in_one_transaction(services: int) -> None:
    kernel = programmed(services, [SetBackends(key(7), leading(7, 1, 2, 4))])
    assert kernel.elements() == [(Kind.DELSETELEM, 1), (Kind.NEWSETELEM, 1)]
    assert kernel.questions == []


@pytest.mark.parametrize("services", SIZES)
def test_one_endpoint_more_or_fewer_is_a_slot_and_its_frontends(services: int) -> None:
    more, fewer = [SetBackends(key(7), leading(7, 1, 2, 3, 4))], [SetBackends(key(7), leading(7, 1, 2, 3))]
    kernel = programmed(services, more, fewer, more, fewer)
    assert sorted(kernel.elements()) == [(Kind.NEWSETELEM, 1), (Kind.DELSETELEM, 1)]
    kernel = programmed(services, more, fewer, more)
    assert kernel.questions == []
    assert len(kernel.elements()) <= 4


def test_the_collector_has_nothing_to_walk_in_endpoints() -> None:
    endpoint = Endpoint("10.244.0.1", 80)
    backends = Backends((endpoint,), (), (endpoint,))
    assert not any(
        map(gc.is_tracked, (endpoint, backends, SetBackends(key(1), backends), Rule(key(1), "cluster", "Cluster")))
    )


class Slow(Noted):
    """One that takes a load no sooner than it may."""

    def __init__(self) -> None:
        super().__init__()
        self.loading, self.may = threading.Event(), threading.Event()

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        self.loading.set()
        assert self.may.wait(10)
        return super().transact(messages, generation=generation)


def test_who_is_cancelled_while_a_load_is_under_way_leaves_no_one_at_the_socket() -> None:
    async def scenario() -> None:
        slow = Slow()
        load = asyncio.create_task(Nftables([GROUND], slow).commit(whole(table(100))))
        await asyncio.to_thread(slow.loading.wait, 10)
        load.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not load.done()
        slow.may.set()
        with pytest.raises(asyncio.CancelledError):
            await load
        assert len(slow.transactions) == 1

    asyncio.run(scenario())


class Sticking(Noted):
    """One that remembers a client of the third endpoint of a Service."""

    def request(self, message: Message) -> list[Message]:
        if message.body != dump_elements(AFFINITY).body:
            return super().request(message)
        held = Assignment().take(key(7), "Cluster")
        assert held is not None
        client = packed("10.244.0.9") + mark(held.id)
        return add_elements(AFFINITY, [Element(client, packed("10.244.0.7") + b"\0\3\0\0")])


def forgetting(messages: Sequence[Message]) -> bool:
    return any((found.kind, found.subject) == (Kind.DELSETELEM, str(AFFINITY)) for found in messages)


class Fleeting(Sticking):
    """One whose sticky clients are gone whenever they are to be forgotten, and there again."""

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        if forgetting(messages):
            raise ObjectMissing(errno.ENOENT, str(AFFINITY), "there is no such client")
        return super().transact(messages, generation=generation)


def test_a_commit_that_cannot_make_clients_forget_has_failed() -> None:
    async def scenario() -> None:
        dataplane = Nftables([GROUND], Fleeting())
        await dataplane.commit(whole(table(0)))
        rule = Rule(key(7), "cluster", "Cluster")
        sticky, fewer = leading(7, 1, 2, 3, affinity=30), leading(7, 1, 2, affinity=30)
        await dataplane.commit([SetBackends(key(7), sticky), SetRule(Frontend("TCP", "10.96.0.7", 80), rule)])
        with pytest.raises(OSError, match="no such client"):
            await dataplane.commit([SetBackends(key(7), fewer)])

    asyncio.run(scenario())


class Meddled(Sticking):
    """One in which somebody else takes a rule of ours away just before we change anything, or before we have clients forgotten."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late, self.meddled = late, False

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        if generation is not None and not self.meddled and forgetting(messages) == self.late:
            self.meddled = True
            raise GenerationPassed(errno.ERESTART, "nftables", "somebody was faster")
        return super().transact(messages, generation=generation)

    def request(self, message: Message) -> list[Message]:
        if message.kind == Kind.GETRULE and self.meddled:
            return [Message(Kind.NEWRULE, header(0) + be32(1, 1))]
        return super().request(message)

    @property
    def generation(self) -> Message:
        return Message(Kind.NEWGEN, header(0) + be32(1, len(self.threads) + self.meddled))


@pytest.mark.parametrize("late", [False, True])
def test_a_change_that_became_a_rewrite_is_not_followed_by_its_own_afterthoughts(late: bool) -> None:
    kernel = Meddled(late=late)

    async def scenario() -> None:
        dataplane = Nftables([GROUND], kernel)
        rule = Rule(key(7), "cluster", "Cluster")
        sticky, fewer = leading(7, 1, 2, 3, affinity=30), leading(7, 1, 2, affinity=30)
        held = ForwardingTable({Frontend("TCP", "10.96.0.7", 80): rule}, {key(7): sticky})
        await dataplane.commit(whole(held))
        kernel.transactions.clear()
        await dataplane.commit([SetBackends(key(7), fewer)])

    asyncio.run(scenario())
    *first, written = kernel.transactions
    assert len(first) == late
    assert any(found.kind == Kind.NEWSET for found in written)


class Full(Noted):
    """One in which there is no room for a change, but for a load."""

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        if generation is not None:
            raise NoRoom(errno.ENFILE, "map endpoints", "it is full")
        return super().transact(messages, generation=generation)


@pytest.mark.parametrize("kernel", [Full(), Meddled(late=False), Meddled(late=True)], ids=["full", "meddled", "late"])
def test_a_rewrite_keeps_the_loop_as_free_as_a_load_does(kernel: Noted) -> None:
    async def scenario() -> None:
        dataplane = Nftables([GROUND], kernel)
        rule = Rule(key(7), "cluster", "Cluster")
        sticky, fewer = leading(7, 1, 2, 3, affinity=30), leading(7, 1, 2, affinity=30)
        await dataplane.commit(whole(ForwardingTable({Frontend("TCP", "10.96.0.7", 80): rule}, {key(7): sticky})))
        await dataplane.commit([SetBackends(key(7), fewer)])

    asyncio.run(scenario())
    load, *_, rewrite = kernel.threads
    assert threading.get_ident() not in (load, rewrite)


class Asked(Sticking):
    """One that knows where it was asked for its clients."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def request(self, message: Message) -> list[Message]:
        if message.body == dump_elements(AFFINITY).body:
            self.asked.append(threading.get_ident())
        return super().request(message)


WEB = Frontend("TCP", "10.96.0.7", 80)
FORGETTING: dict[str, Change] = {
    "fewer endpoints": SetBackends(key(7), leading(7, 1, 2, affinity=30)),
    "no endpoints": SetBackends(key(7), leading(7, affinity=30)),
    "no affinity": SetBackends(key(7), leading(7, 1, 2, 3)),
    "another policy": SetRule(WEB, Rule(key(7), "cluster", "Local")),
    "no backends": RemoveBackends(key(7)),
    "no Service": RemoveRule(WEB),
}


@pytest.mark.parametrize("change", FORGETTING)
def test_clients_are_made_to_forget_while_the_loop_is_free(change: str) -> None:
    kernel = Asked()

    async def scenario() -> None:
        dataplane = Nftables([GROUND], kernel)
        rule, sticky = Rule(key(7), "cluster", "Cluster"), leading(7, 1, 2, 3, affinity=30)
        await dataplane.commit(whole(ForwardingTable({WEB: rule}, {key(7): sticky})))
        kernel.asked.clear()
        await dataplane.commit([FORGETTING[change]])

    asyncio.run(scenario())
    assert kernel.asked != []
    assert threading.get_ident() not in kernel.asked


def test_what_was_read_when_another_one_was_faster_is_not_taken_for_ours() -> None:
    """Somebody who comes between our rules and our reading of them has made another generation."""

    class Passed(Noted):
        others = 0

        @property
        def generation(self) -> Message:
            return Message(Kind.NEWGEN, header(0) + be32(1, len(self.threads) + self.others))

        def request(self, message: Message) -> list[Message]:
            self.others += message.kind == Kind.GETRULE and not self.others
            return super().request(message)

    kernel = Passed()

    async def scenario() -> None:
        dataplane = Nftables([GROUND], kernel)
        await dataplane.commit(whole(table(3)))
        await dataplane.commit(())
        await dataplane.commit(())

    asyncio.run(scenario())
    assert len(kernel.transactions) == 2
