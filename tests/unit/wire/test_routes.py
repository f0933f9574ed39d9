"""Links, addresses, routes, rules and neighbours: read as they were given, and malformed where a part is missing."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.errors import AnswerMalformed
from pierhead.wire import links, routes
from pierhead.wire.links import UNKNOWN, End
from pierhead.wire.netlink import Flag, Message, attribute, i32, nested, text, u32
from pierhead.wire.routes import Address, Neighbour, Route, RouteKind, Rule

indexes = st.integers(1, 0x7FFFFFFF)
numbers = st.integers(0, 0xFFFFFFFF)
macs = st.binary(min_size=6, max_size=6)
Version = Literal[4, 6]
versions: st.SearchStrategy[Version] = st.sampled_from((4, 6))


def networks(version: Version) -> st.SearchStrategy[routes.Network]:
    longest = 32 if version == 4 else 128
    return st.tuples(st.ip_addresses(v=version), st.integers(0, longest)).map(lambda of: ip_network(of, strict=False))


addresses = st.builds(
    Address,
    indexes,
    st.one_of(
        st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(ip_interface),
        st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(ip_interface),
    ),
    st.booleans(),
    st.booleans(),
)
some_routes = versions.flatmap(
    lambda version: st.builds(
        Route,
        networks(version),
        st.just(0) | indexes,
        st.none() | st.ip_addresses(v=version),
        st.sampled_from(RouteKind),
        st.integers(1, 0xFFFFFFFF),
        st.none() | st.ip_addresses(v=version),
        st.booleans(),
        numbers,
        st.integers(0, 255),
    )
)
rules = versions.flatmap(
    lambda version: st.builds(
        Rule,
        st.just(version),
        numbers,
        st.integers(1, 0xFFFFFFFF),
        st.none() | networks(version),
        st.none() | networks(version),
        st.sampled_from(["", "eth0", "vethhost"]),
        st.just(0),
        st.just(0),
    )
)
neighbours = st.builds(Neighbour, indexes, st.ip_addresses(), st.just(b"") | macs, st.booleans())


@given(addresses)
def test_an_address_is_read_as_it_was_given(what: Address) -> None:
    assert routes.read_address(routes.add(what)) == what


@given(some_routes)
def test_a_route_is_read_as_it_was_given(what: Route) -> None:
    assert routes.read_route(routes.add(what)) == what


@given(rules, numbers, st.integers(1, 0xFFFFFFFF))
def test_a_rule_is_read_as_it_was_given(what: Rule, mark: int, mask: int) -> None:
    marked = Rule(what.version, what.priority, what.table, what.source, what.destination, what.link, mark, mask)
    assert [routes.read_rule(routes.add(rule)) for rule in (what, marked)] == [what, marked]


@given(neighbours)
def test_a_neighbour_is_read_as_it_was_given(what: Neighbour) -> None:
    assert routes.read_neighbour(routes.add(what)) == what


@given(st.one_of(addresses, some_routes, neighbours))
def test_making_replacing_and_deleting_differ_in_their_header_only(what: Address | Route | Neighbour) -> None:
    add, put, delete = routes.add(what), routes.put(what), routes.delete(what)
    assert add.body == put.body == delete.body
    assert (add.kind, put.kind, delete.kind) == (add.kind, add.kind, add.kind + 1)
    assert (add.flags, put.flags, delete.flags) == (Flag.CREATE | Flag.EXCLUSIVE, Flag.CREATE | Flag.REPLACE, 0)
    assert {add.subject, put.subject, delete.subject} == {str(what)}


@pytest.mark.parametrize(
    ("route", "scope"),
    [
        (Route(ip_network("10.96.0.0/16"), 1, kind=RouteKind.LOCAL), 254),
        (Route(ip_network("10.96.0.0/16"), 2), 253),
        (Route(ip_network("10.96.0.0/16"), 2, ip_address("10.0.0.1")), 0),
        (Route(ip_network("fd00::/64"), 2), 0),
    ],
)
def test_how_far_away_a_destination_is(route: Route, scope: int) -> None:
    assert routes.add(route).body[6] == scope


def test_a_route_of_another_kind_is_passed_over() -> None:
    given_ = bytearray(routes.add(Route(ip_network("10.0.0.0/8"), 2)).body)
    given_[7] = 11
    assert routes.read_route(Message(24, bytes(given_))) is None
    given_[0] = 128
    assert routes.read_route(Message(24, bytes(given_))) is None


@pytest.mark.parametrize(
    "read", [routes.read_address, routes.read_route, routes.read_rule, routes.read_neighbour, links.read]
)
@pytest.mark.parametrize("cut", [0, 7, 14])
def test_a_header_cut_short_is_malformed(read: Callable[[Message], object], cut: int) -> None:
    with pytest.raises(AnswerMalformed):
        read(Message(24, bytes([2, 33] + [0] * 30)[:cut]))


def test_an_address_of_a_wrong_length_is_malformed() -> None:
    with pytest.raises(AnswerMalformed):
        routes.read_neighbour(Message(28, bytes(12) + text(1, "abcd")))


# -- links --------------------------------------------------------------------------------------------------


def test_a_pair_is_one_message_with_both_ends_in_it() -> None:
    """Each end has a header and a name; the far one says in which namespace it is to be."""
    message = links.add_veth(End("vea", master=7, mtu=1400), End("eth0", 5, b"\2\0\0\0\0\1"))
    far = bytes(16) + bytes.fromhex("0900030065746830000000000a000100020000000001000008001c0005000000")  # fmt: skip
    near = bytes(16) + text(3, "vea") + u32(4, 1400) + u32(10, 7)
    assert message.body == near + nested(18, text(1, "veth"), nested(2, attribute(1, far)))
    assert (message.kind, message.subject) == (16, "link vea")


def test_a_link_goes_by_number_or_by_name() -> None:
    assert links.delete(3).body == bytes(4) + b"\3\0\0\0" + bytes(8)
    assert links.delete("one").body == bytes(16) + text(3, "one")
    assert (links.delete(3).subject, links.delete("one").subject) == ("link number 3", "link one")


def test_what_somebody_writes_on_a_link_is_read_there() -> None:
    written = links.set_alias("one", "mine")
    assert written.body == bytes(16) + text(3, "one") + text(20, "mine")
    assert links.read(written).alias == "mine"


def test_switching_changes_the_one_flag_only() -> None:
    assert links.switch(3, up=True).body[8:] == b"\1\0\0\0\1\0\0\0"
    assert links.switch(3, up=False).body[8:] == b"\0\0\0\0\1\0\0\0"


def test_a_namespace_without_an_id_here_is_unknown() -> None:
    assert links.read_namespace(Message(88, bytes(4) + i32(1, -1))) == UNKNOWN
    assert links.read_namespace(Message(88, bytes(4))) == UNKNOWN
    assert links.read_namespace(Message(88, bytes(4) + i32(1, 6))) == 6


def test_a_link_without_a_name_is_malformed() -> None:
    with pytest.raises(AnswerMalformed, match="name"):
        links.read(Message(16, bytes(16)))
