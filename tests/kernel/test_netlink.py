"""The socket: transactions hold or leave nothing, refusals name what they are about, questions are answered."""

from __future__ import annotations

import struct
import sys

import pytest

from namespaces import Namespace
from netns import ORDINARY
from pierhead.errors import (
    GenerationPassed,
    KernelError,
    ObjectBusy,
    ObjectExists,
    ObjectMissing,
)
from pierhead.wire import datatypes, links
from pierhead.wire.listing import (
    ask_generation,
    dump_elements,
    dump_tables,
    read_elements,
    read_generation,
    read_key,
    read_table,
)
from pierhead.wire.netlink import Message, Protocol
from pierhead.wire.nftables import Chain, Element, Family, Rule, Set, Table, add, add_elements, delete, delete_elements

TABLE = Table(Family.IP, "test", "who made it")
MARKS = Set(TABLE, "marks", (datatypes.MARK,), (datatypes.IPV4_ADDR, datatypes.INET_SERVICE), size=1 << 18)


def marks(count: int) -> list[Element]:
    return [Element(struct.pack("=I", i), struct.pack("!II", i, 80 << 16)) for i in range(count)]


def test_a_transaction_is_done_when_it_returns(namespace: Namespace) -> None:
    held = namespace.open()
    held.transact([add(TABLE), add(MARKS), *add_elements(MARKS, marks(3))])
    assert [read_table(found) for found in held.request(dump_tables())] == [TABLE]
    listed = namespace.nft("list", "map", "ip", "test", "marks")
    assert "0x00000002 : 0.0.0.2 . 80" in listed


def test_a_refused_message_undoes_the_whole_transaction(namespace: Namespace) -> None:
    held = namespace.open()
    with pytest.raises(ObjectMissing, match=r"^a rule of chain nowhere of table ip test: No such file or directory$"):
        held.transact([add(TABLE), add(Rule(Chain(TABLE, "nowhere"), ())), add(MARKS)])
    assert namespace.nft("list", "ruleset") == ""


def test_an_empty_transaction_is_nothing(namespace: Namespace) -> None:
    held = namespace.open()
    held.transact([])
    assert read_generation(held.request(ask_generation())[0]).number == 1


@pytest.mark.parametrize(
    ("wrong", "kind", "subject"),
    [
        ([add(TABLE, fresh=True)], ObjectExists, "table ip test"),
        ([add(Set(TABLE, "marks", (datatypes.IPV4_ADDR,)))], ObjectExists, "set marks of table ip test"),
        (
            add_elements(MARKS, [Element(bytes(4), bytes(8)), Element(bytes(4), b"\1" * 8)]),
            ObjectExists,
            "map marks of table ip test",
        ),
        (delete_elements(MARKS, [bytes(4)]), ObjectMissing, "map marks of table ip test"),
        ([delete(Chain(TABLE, "used"))], ObjectBusy, "chain used of table ip test"),
        ([delete(Table(Family.IP6, "test"))], ObjectMissing, "table ip6 test"),
    ],
)
def test_refusals_say_what_they_are_about(
    namespace: Namespace, wrong: list[Message], kind: type[KernelError], subject: str
) -> None:
    held = namespace.open()
    held.transact([add(TABLE), add(MARKS)])
    namespace.nft("add chain ip test used; add chain ip test user; add rule ip test user jump used")
    with pytest.raises(kind) as refused:
        held.transact(wrong)
    assert refused.value.subject == subject
    assert refused.value.errno


def test_of_many_elements_the_refused_one_is_named(namespace: Namespace) -> None:
    held = namespace.open()
    held.transact([add(TABLE), add(MARKS), *add_elements(MARKS, marks(3))])
    wrong = [*marks(2), Element(struct.pack("=I", 2), b"\1" * 8), *marks(1)]
    with pytest.raises(ObjectExists) as refused:
        held.transact(add_elements(MARKS, wrong))
    assert read_key(refused.value.attribute) == struct.pack("=I", 2)


def test_a_transaction_made_for_another_generation_is_refused(namespace: Namespace) -> None:
    held = namespace.open()
    held.transact([add(TABLE)])
    seen = read_generation(held.request(ask_generation())[0]).number
    namespace.nft("add", "table", "ip", "foreign")
    with pytest.raises(GenerationPassed):
        held.transact([add(MARKS)], generation=seen)
    assert "marks" not in namespace.nft("list", "ruleset")
    held.transact([add(MARKS)], generation=read_generation(held.request(ask_generation())[0]).number)


def test_a_hundred_thousand_elements(namespace: Namespace) -> None:
    """One transaction where the send buffer can be forced, which a user namespace does not let its root do."""
    held, messages = namespace.open(), add_elements(MARKS, marks(100_000))
    held.transact([add(TABLE), add(MARKS)])
    for part in [[message] for message in messages] if namespace.mapped else [messages]:
        held.transact(part)
    found = [one for answer in held.request(dump_elements(MARKS)) for one in read_elements(answer)]
    assert sorted((one.key, one.data) for one in found) == sorted((key, data) for key, data, _ in marks(100_000))


STOCK = """
import struct
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import MessageTooLong
from pierhead.wire import datatypes
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import Element, Family, Set, Table, add, add_elements

table = Table(Family.IP, "test")
marks = Set(table, "marks", (datatypes.MARK,))
messages = add_elements(marks, [Element(struct.pack("=I", i)) for i in range(50_000)])
with Netlink.open(Protocol.NETFILTER) as held:
    held.transact([add(table), add(marks)])
    try:
        held.transact(messages)
    except MessageTooLong as error:
        print(error)
        for message in messages:
            held.transact([message])
    print("held")
"""


def test_what_is_longer_than_the_send_buffer_is_not_sent_at_all(namespace: Namespace) -> None:
    """A user namespace has the stock buffer: the parts fit, the whole does not."""
    said = namespace.run(sys.executable, "-c", STOCK).splitlines()
    assert said[-1] == "held"
    assert said[:-1] == (["a transaction of 13 messages: Message too long"] if namespace.mapped else [])
    assert namespace.nft("list", "set", "ip", "test", "marks").count("0x") == 50_000


UNPRIVILEGED = """
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import NotPermitted
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import Family, Table, add

with Netlink.open(Protocol.NETFILTER) as held:
    try:
        held.transact([add(Table(Family.IP, "test"))])
    except NotPermitted as error:
        print(error)
"""


def test_who_may_not_is_told_so(namespace: Namespace) -> None:
    said = namespace.run(*ORDINARY, sys.executable, "-c", UNPRIVILEGED)
    assert said == "the transaction: Operation not permitted\n"


def test_all_of_what_is_performed_is_tried(namespace: Namespace) -> None:
    held = namespace.open(Protocol.ROUTE)
    with pytest.raises(ObjectExists, match="link one"):
        held.perform([links.add_bridge("one"), links.add_bridge("one"), links.add_bridge("two")])
    assert {links.read(found).name for found in held.request(links.dump())} == {"lo", "one", "two"}


def test_refusals_that_were_expected_are_forgiven(namespace: Namespace) -> None:
    held = namespace.open(Protocol.ROUTE)
    held.perform([links.delete("nobody"), links.add_bridge("one")], forgiving=(ObjectMissing,))
    assert links.read(held.request(links.find("one"))[0]).kind == "bridge"
    with pytest.raises(ObjectMissing, match="link nobody"):
        held.request(links.find("nobody"))
