"""nftables' messages: the bytes that the kernel was seen to take and ``nft`` to list, and how elements fill messages."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.errors import AnswerMalformed
from pierhead.wire import datatypes as of
from pierhead.wire import expressions as x
from pierhead.wire import listing
from pierhead.wire.netlink import Flag, Message, attributes, be32, each, nested, number, text
from pierhead.wire.nftables import (
    Base,
    Chain,
    Element,
    Family,
    Hook,
    Kind,
    Rule,
    Set,
    SetFlag,
    Table,
    add,
    add_columns,
    add_elements,
    columns,
    delete,
    delete_columns,
    delete_elements,
    flush,
    inline,
)

TABLE = Table(Family.IP, "t")
MARKS = Set(TABLE, "m", (of.MARK,), (of.IPV4_ADDR,))

keys = st.binary(min_size=1, max_size=24)
verdicts = st.sampled_from([x.ACCEPT, x.DROP, x.RETURN, x.jump("there"), x.goto("elsewhere")])
words = st.integers(0, 2**32 - 1)
slots = st.tuples(words, words, st.binary(min_size=4, max_size=4), st.integers(0, 65535))
elements = st.builds(Element, keys, st.none() | keys | verdicts, st.just(0) | st.integers(1, 1 << 40))


def terms(message: Message) -> dict[int, bytes]:
    return attributes(message.body[4:])


def of_list(messages: list[Message]) -> list[bytes]:
    return [one for message in messages for _, one in each(terms(message)[3])]


# -- golden bytes -------------------------------------------------------------------------------------------


def test_a_slot_of_the_endpoint_map() -> None:
    """36 bytes: the key's two words in host order, the address and the port as on the wire, the port padded."""
    there = Set(TABLE, "eps", (of.MARK, of.NUMGEN), (of.IPV4_ADDR, of.INET_SERVICE))
    (message,) = add_elements(there, [Element(struct.pack("=II", 1, 2), b"\x0a\0\0\1\x1f\x90\0\0")])
    assert message.body.hex(" ", 4).split() == [
        *("02000000", "06000100", "74000000", "08000200", "65707300", "28000380"),
        *("24000180", "10000180", "0c000100", "01000000", "02000000", "10000280", "0c000100", "0a000001", "1f900000"),
    ]


@pytest.mark.parametrize(
    ("parts", "number", "length", "order"),
    [
        ((of.MARK,), 0x13, 4, of.Order.HOST),
        ((of.INET_SERVICE,), 0xD, 2, of.Order.NETWORK),
        ((of.MARK, of.NUMGEN), 0x4C4, 8, of.Order.NONE),
        ((of.IPV4_ADDR, of.INET_SERVICE), 0x1CD, 8, of.Order.NONE),
        ((of.IPV4_ADDR, of.INET_PROTO, of.INET_SERVICE), 0x730D, 12, of.Order.NONE),
        ((of.IPV6_ADDR, of.INET_SERVICE), 0x20D, 20, of.Order.NONE),
        ((of.VERDICT,), 0xFFFFFF00, 16, of.Order.NONE),
    ],
)
def test_types_as_nft_numbers_them(parts: tuple[of.Type, ...], number: int, length: int, order: of.Order) -> None:
    assert (of.number_of(parts), of.length_of(parts), of.order_of(parts)) == (number, length, order)


def test_a_sets_remarks_are_those_that_nft_writes() -> None:
    """The first sixty bytes of what ``nft`` 1.0.6 keeps for ``typeof meta mark . numgen random mod 65536 : …``."""
    there = Set(TABLE, "eps", (of.MARK, of.NUMGEN), (of.IPV4_ADDR, of.INET_SERVICE), size=262144)
    assert terms(add(there))[13].hex().startswith(
        "000400000000010400000000033400040d000000012c000e0004090000000106000403000000011a0004"
        "170000000112000401000000010400000100020400000000"
    )  # fmt: skip
    assert terms(add(MARKS))[13].hex() == "000401000000010402000000"  # fmt: skip


def test_a_set_says_what_it_is() -> None:
    found = terms(add(Set(TABLE, "s", (of.MARK,), flags=SetFlag.DYNAMIC, size=9, timeout=60_000, counts=True)))
    assert number(found[3]) == SetFlag.DYNAMIC | SetFlag.TIMEOUT
    assert attributes(found[9]) == {1: b"\0\0\0\x09"}
    assert number(found[11]) == 60_000
    assert attributes(found[17])[1] == b"counter\0"
    assert number(terms(add(MARKS))[3]) == SetFlag.MAP
    assert number(terms(add(inline(TABLE, (of.MARK,), 3)))[10]) == 3


@pytest.mark.parametrize(("word", "number"), [(0, 1), (1, 9), (2, 10), (3, 11), (4, 2), (5, 13), (8, 3), (15, 23)])
def test_registers_as_nft_numbers_them(word: int, number: int) -> None:
    assert x.register(word) == number


def test_a_concatenations_parts_begin_at_whole_words() -> None:
    placed = [
        number(attributes(attributes(attributes(one)[1])[2])[1]) for one in x.concat(x.IP6_DADDR, x.L4PROTO, x.DPORT)
    ]
    assert placed == [1, 2, 13]


# -- elements -----------------------------------------------------------------------------------------------


@given(st.lists(elements, min_size=1, max_size=40))
def test_elements_are_read_as_they_were_given(given_: list[Element]) -> None:
    found = [one for message in add_elements(MARKS, given_) for one in listing.read_elements(message)]
    assert [Element(one.key, one.data, one.timeout) for one in found] == given_


@given(st.lists(keys, min_size=1, max_size=40))
def test_keys_are_enough_to_delete(given_: list[bytes]) -> None:
    found = [one for message in delete_elements(MARKS, given_) for one in listing.read_elements(message)]
    assert [(one.key, one.data) for one in found] == [(key, None) for key in given_]


@given(st.lists(slots, max_size=40))
def test_columns_are_the_elements_at_once(given_: list[tuple[int, int, bytes, int]]) -> None:
    there = Set(TABLE, "eps", (of.MARK, of.NUMGEN), (of.IPV4_ADDR, of.INET_SERVICE))
    ids, numbers, addresses, ports = zip(*given_, strict=True) if given_ else ((), (), (), ())
    count = len(given_)
    keys_ = columns(there.key, struct.pack(f"={count}I", *ids), struct.pack(f"={count}I", *numbers))
    data = columns(there.data, b"".join(addresses), struct.pack(f"!{count}H", *ports))
    each = [struct.pack("=II", id_, number) for id_, number, _, _ in given_]
    led = [address + struct.pack("!H2x", port) for _, _, address, port in given_]
    assert add_columns(there, keys_, data) == add_elements(there, map(Element, each, led))
    assert delete_columns(there, keys_) == delete_elements(there, each)


@given(st.integers(0, 6000), st.integers(1, 16).map(lambda words: words * 4))
def test_messages_are_full_but_for_the_last(count: int, length: int) -> None:
    given_ = [Element(i.to_bytes(length, "big"), b"data") for i in range(count)]
    messages = add_elements(MARKS, given_)
    sizes = [len(terms(message)[3]) for message in messages]
    one = max((len(nested(1, element)) for element in of_list(messages[:1])), default=0)
    assert sum(len(of_list([message])) for message in messages) == count
    assert all(0xFFFF - 4 - one < size <= 0xFFFF - 4 for size in sizes[:-1])
    if length == 4:
        assert add_columns(MARKS, b"".join(one.key for one in given_), b"data" * count) == messages


def test_no_elements_are_no_message() -> None:
    assert add_elements(MARKS, []) == []
    assert delete_elements(MARKS, []) == []


# -- messages -----------------------------------------------------------------------------------------------

CHAIN = Chain(TABLE, "c")


@pytest.mark.parametrize(
    ("message", "kind", "flags", "subject", "named"),
    [
        (add(TABLE), Kind.NEWTABLE, Flag.CREATE, "table ip t", {}),
        (add(TABLE, fresh=True), Kind.NEWTABLE, Flag.CREATE | Flag.EXCLUSIVE, "table ip t", {}),
        (add(CHAIN), Kind.NEWCHAIN, Flag.CREATE, "chain c of table ip t", {3: b"c\0"}),
        (add(Rule(CHAIN, ())), Kind.NEWRULE, Flag.CREATE | Flag.APPEND, "a rule of chain c of table ip t", {2: b"c\0"}),
        (delete(TABLE), Kind.DELTABLE, 0, "table ip t", {}),
        (delete(CHAIN), Kind.DELCHAIN, 0, "chain c of table ip t", {3: b"c\0"}),
        (delete(MARKS), Kind.DELSET, 0, "map m of table ip t", {2: b"m\0"}),
        (delete(Rule(CHAIN, (), handle=5)), Kind.DELRULE, 0, "a rule of chain c of table ip t", {2: b"c\0", 3: bytes(7) + b"\5"}),
        (flush(TABLE), Kind.DELRULE, 0, "table ip t", {}),
        (flush(CHAIN), Kind.DELRULE, 0, "chain c of table ip t", {2: b"c\0"}),
        (flush(MARKS), Kind.DELSETELEM, 0, "map m of table ip t", {2: b"m\0"}),
        (listing.dump_elements(MARKS), Kind.GETSETELEM, Flag.DUMP, "map m of table ip t", {2: b"m\0"}),
    ],
)  # fmt: skip
def test_a_message_names_its_object(
    message: Message, kind: Kind, flags: int, subject: str, named: dict[int, bytes]
) -> None:
    assert (message.kind, message.flags, message.subject) == (kind, flags, subject)
    assert message.body[:4] == b"\2\0\0\0"
    found = terms(message)
    assert found.pop(1) == b"t\0"
    found.pop(4, None)
    assert found == named


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
tables = st.builds(Table, st.sampled_from(Family), names, st.just("") | names)
bases = st.builds(
    Base, st.sampled_from(["nat", "filter", "route"]), st.sampled_from(Hook), st.integers(-400, 400), st.booleans()
)


@given(tables)
def test_a_table_is_read_as_it_was_given(table: Table) -> None:
    assert listing.read_table(add(table)) == table


@given(tables, names, st.none() | bases)
def test_a_chain_is_read_as_it_was_given(table: Table, name: str, base: Base | None) -> None:
    if table.family is Family.ARP and base and base.hook not in (Hook.INPUT, Hook.OUTPUT):
        return
    chain = Chain(Table(table.family, table.name), name, base)
    assert listing.read_chain(add(chain)) == chain


# -- what cannot be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read", [listing.read_table, listing.read_chain, listing.read_set, listing.read_rule, listing.read_generation]
)
@pytest.mark.parametrize("body", [b"", b"\2\0\0\0", b"\2\0\0\0\x09\0\1\0"])
def test_what_lacks_a_part_is_malformed(read: Callable[[Message], object], body: bytes) -> None:
    with pytest.raises(AnswerMalformed):
        read(Message(Kind.NEWTABLE, body))


def test_a_family_that_nobody_knows_is_malformed() -> None:
    with pytest.raises(AnswerMalformed, match="family"):
        listing.read_table(Message(Kind.NEWTABLE, b"\x63\0\0\0" + text(1, "t")))


def test_a_foreign_remark_is_no_comment() -> None:
    body = b"\2\0\0\0" + text(1, "t") + b"\x08\0\6\0" + b"\x09\xff\0\0"
    assert listing.read_table(Message(Kind.NEWTABLE, body)) == TABLE


def test_a_chain_at_a_hook_of_which_we_know_nothing_has_no_base() -> None:
    hook = nested(4, be32(1, 5), be32(2, 0))
    told = Message(Kind.NEWCHAIN, b"\1\0\0\0" + text(1, "t") + text(3, "c") + hook + text(7, "filter"))
    assert listing.read_chain(told) == Chain(Table(Family.INET, "t"), "c")


def test_of_the_tables_those_of_families_that_we_do_not_know_are_left_out() -> None:
    told = [Message(Kind.NEWTABLE, family + b"\0\0\0" + text(1, "t")) for family in (b"\5", b"\2", b"\x63")]
    assert [*listing.read_tables(told)] == [TABLE]
