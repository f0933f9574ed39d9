"""What is made by netlink is what ``nft`` lists, and what ``nft`` made is read."""

from __future__ import annotations

import struct

import pytest

from namespaces import Namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.wire import datatypes as of
from pierhead.wire import expressions as x
from pierhead.wire import listing
from pierhead.wire.nftables import (
    Base,
    Chain,
    Element,
    Family,
    Hook,
    Rule,
    Set,
    SetFlag,
    Table,
    add,
    add_elements,
    delete,
    delete_elements,
    find_elements,
    flush,
    inline,
)

IP = Table(Family.IP, "test")
IP6 = Table(Family.IP6, "test")
ARP = Table(Family.ARP, "test")


def elements_of(kernel: Netlink, there: Set) -> list[listing.Held]:
    return [one for answer in kernel.request(listing.dump_elements(there)) for one in listing.read_elements(answer)]


def mark(value: int) -> bytes:
    return struct.pack("=I", value)


SETS = [
    (
        Set(IP, "eps", (of.MARK, of.NUMGEN), (of.IPV4_ADDR, of.INET_SERVICE), size=64),
        [Element(mark(1) + mark(0), b"\x0a\x00\x00\x01\x1f\x90\0\0")],
        "map eps { typeof meta mark . numgen random mod 65536 : ip daddr . th dport size 64 elements = { 0x00000001 . 0 : 10.0.0.1 . 8080 } }",
    ),
    (
        Set(IP6, "eps", (of.MARK, of.NUMGEN), (of.IPV6_ADDR, of.INET_SERVICE)),
        [Element(mark(1) + mark(0), b"\xfd" + bytes(14) + b"\x01\x1f\x90\0\0")],
        "map eps { typeof meta mark . numgen random mod 65536 : ip6 daddr . th dport elements = { 0x00000001 . 0 : fd00::1 . 8080 } }",
    ),
    (
        Set(IP, "services", (of.IPV4_ADDR, of.INET_PROTO, of.INET_SERVICE), (of.MARK,)),
        [Element(b"\x0a\x60\x00\x01\x06\0\0\0\0\x50\0\0", mark(0x200001))],
        "map services { type ipv4_addr . inet_proto . inet_service : mark elements = { 10.96.0.1 . 6 . 80 : 0x00200001 } }",
    ),
    (
        Set(IP, "counts", (of.MARK,), (of.VERDICT,)),
        [Element(mark(0x200000), x.goto("there")), Element(mark(0), x.DROP)],
        "map counts { type mark : verdict elements = { 0x00000000 : drop, 0x00200000 : goto there } }",
    ),
    (
        Set(IP, "traffic", (of.MARK, of.IPV4_ADDR), flags=SetFlag.DYNAMIC, size=9, timeout=3_600_000, counts=True),
        [],
        "set traffic { type mark . ipv4_addr size 9 flags dynamic,timeout counter timeout 1h }",
    ),
    (
        Set(IP, "held", (of.IPV4_ADDR,), flags=SetFlag.TIMEOUT),
        [Element(b"\x7f\x00\x00\x01", timeout=86_400_000)],
        "set held { type ipv4_addr flags timeout elements = { 127.0.0.1 timeout 1d expires",
    ),
    (
        Set(IP, "protocols", (of.INET_PROTO,), (of.INET_SERVICE,)),
        [Element(b"\x06", b"\x00\x50")],
        "map protocols { type inet_proto : inet_service elements = { 6 : 80 } }",
    ),
    (
        Set(IP, "links", (of.IFNAME,)),
        [Element(x.interface("eth0"))],
        'set links { type ifname elements = { "eth0" } }',
    ),
]


@pytest.mark.parametrize(("there", "elements", "shown"), SETS, ids=[str(there) for there, _, _ in SETS])
def test_a_set_is_listed_with_its_elements(
    namespace: Namespace, there: Set, elements: list[Element], shown: str
) -> None:
    kernel = namespace.open()
    kernel.transact([add(there.table), add(Chain(there.table, "there")), add(there), *add_elements(there, elements)])
    assert shown in " ".join(namespace.nft("list", "ruleset").split())
    assert sorted((one.key, one.data) for one in elements_of(kernel, there)) == sorted(
        (one.key, one.data) for one in elements
    )
    (state,) = kernel.request(listing.find_set(there))
    assert listing.read_set(state) == listing.SetState(there.table, there.name, len(elements))
    for one in elements:
        (asked,) = find_elements(there, [one.key])
        (answer,) = kernel.request(asked)
        (again,) = listing.read_elements(answer)
        assert (again.key, again.data) == (one.key, one.data)
        kernel.transact(delete_elements(there, [one.key]))
    (state,) = kernel.request(listing.find_set(there))
    assert listing.read_set(state).count == 0


EPS = SETS[0][0]
EPS6 = SETS[1][0]
SERVICES = SETS[2][0]
COUNTS = SETS[3][0]
HAIRPIN = Set(IP, "hairpin", (of.IPV4_ADDR, of.IPV4_ADDR))
TRAFFIC = Set(IP, "traffic", (of.MARK, of.IPV4_ADDR, of.INET_SERVICE), flags=SetFlag.DYNAMIC, timeout=60_000)
AFFINITY = Set(
    IP, "affinity", (of.IPV4_ADDR, of.MARK), (of.IPV4_ADDR, of.INET_SERVICE), flags=SetFlag.DYNAMIC, timeout=60_000
)
OF_MARK = (x.MARK.into(), x.bitwise(mark(0xFFFFF)))
TRANSLATED = (x.ct(x.Ct.STATUS).into(), x.bitwise(mark(x.Status.DNAT)), x.cmp(mark(0), x.Compare.NOT_EQUAL))
NEW = (x.ct(x.Ct.STATE).into(), x.bitwise(mark(x.State.NEW)), x.cmp(mark(0), x.Compare.NOT_EQUAL))

RULES = [
    (
        IP,
        (*OF_MARK, x.numgen(2).into(9), x.lookup(EPS, into=1), x.dnat(2, 1, 9)),
        "dnat ip to meta mark & 0x000fffff . numgen random mod 2 map @eps",
    ),
    (
        IP6,
        (*OF_MARK, x.numgen(3).into(9), x.lookup(EPS6, into=1), x.dnat(10, 1, 2)),
        "dnat ip6 to meta mark & 0x000fffff . numgen random mod 3 map @eps",
    ),
    (
        IP,
        (*x.concat(x.IP_DADDR, x.L4PROTO, x.DPORT), x.lookup(SERVICES, into=1), x.set_meta(x.Meta.MARK)),
        "meta mark set ip daddr . meta l4proto . th dport map @services",
    ),
    (IP, (x.MARK.into(), x.bitwise(mark(0xFFF00000)), x.lookup(COUNTS, into=0)), "meta mark & 0xfff00000 vmap @counts"),
    (IP, (*x.concat(x.IP_SADDR, x.IP_DADDR), x.lookup(HAIRPIN), x.verdict(x.ACCEPT)), "ip saddr . ip daddr @hairpin accept"),
    (IP, (*x.concat(x.IP_SADDR, x.IP_DADDR), x.lookup(HAIRPIN, inverse=True), x.verdict(x.DROP)), "ip saddr . ip daddr != @hairpin drop"),
    (
        IP,
        (*OF_MARK, x.IP_DADDR.into(9), x.DPORT.into(10), x.update(TRAFFIC)),
        "update @traffic { meta mark & 0x000fffff . ip daddr . th dport }",
    ),
    (
        IP,
        (*x.concat(x.IP_SADDR, x.MARK), x.IP_DADDR.into(2), x.DPORT.into(13), x.update(AFFINITY, data=2, timeout=5000)),
        "update @affinity { ip saddr . meta mark timeout 5s : ip daddr . th dport }",
    ),
    (IP, (*NEW, x.verdict(x.jump("there"))), "ct state new jump there"),
    (IP, (*TRANSLATED, x.verdict(x.RETURN)), "ct status dnat return"),
    (IP, (x.ct(x.Ct.DIRECTION).into(), x.cmp(bytes([x.REPLY])), x.verdict(x.ACCEPT)), "ct direction reply accept"),
    (
        IP,
        (x.ct(x.Ct.DST_IP, x.ORIGINAL).into(), x.cmp(b"\x0a\x60\x00\x01"), x.verdict(x.ACCEPT)),
        "ct original ip daddr 10.96.0.1 accept",
    ),
    (IP, (x.fib(x.FibFlag.DADDR, x.FibResult.TYPE).into(), x.cmp(x.LOCAL), x.counter()), "fib daddr type local counter packets 0 bytes 0"),
    (IP, (x.meta(x.Meta.IIFNAME).into(), x.cmp(x.interface("eth0")), x.verdict(x.DROP)), 'iifname "eth0" drop'),
    (IP, (x.meta(x.Meta.OIFNAME).into(), x.cmp(x.interface("lo"), x.Compare.NOT_EQUAL), x.verdict(x.DROP)), 'oifname != "lo" drop'),
    (IP, (x.IP_DADDR.into(), x.bitwise(b"\xff\xf0\0\0"), x.cmp(b"\x0a\x60\0\0"), x.verdict(x.DROP)), "ip daddr 10.96.0.0/12 drop"),
    (IP6, (x.IP6_DADDR.into(), x.bitwise(b"\xff" * 7 + bytes(9)), x.cmp(b"\xfd" + bytes(15)), x.verdict(x.DROP)), "ip6 daddr fd00::/56 drop"),
    (IP, (x.L4PROTO.into(), x.cmp(b"\x06"), x.reset()), "reject with tcp reset"),
    (IP, (x.IP_SADDR.into(2), x.jhash(2, 4, 8, 5).into(), x.set_meta(x.Meta.MARK)), "meta mark set jhash ip saddr mod 8 seed 0x5"),
    (IP, (x.immediate(mark(0)), x.set_meta(x.Meta.MARK)), "meta mark set 0x00000000"),
    (IP, (x.immediate(mark(7)), x.set_ct(x.Ct.MARK)), "ct mark set 0x00000007"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "expressions", "shown"), RULES, ids=[shown for _, _, shown in RULES])
def test_a_rule_is_listed(namespace: Namespace, table: Table, expressions: tuple[bytes, ...], shown: str) -> None:
    chain = Chain(table, "first", Base("nat", Hook.PREROUTING, -100))
    sets = [there for there in (EPS, EPS6, SERVICES, COUNTS, HAIRPIN, TRAFFIC, AFFINITY) if there.table == table]
    kernel = namespace.open()
    made = [add(table), add(Chain(table, "there")), add(chain), *(add(there) for there in sets)]
    kernel.transact([*made, add(Rule(chain, expressions, "why"))])
    listed = namespace.nft("list", "chain", table.family.name.lower(), "test", "first").splitlines()
    assert listed[3].strip() == f'{shown} comment "why"'


@pytest.mark.parametrize(
    ("table", "hook", "statement", "shown"),
    [
        (IP, Hook.INPUT, x.reject(x.PORT_UNREACHABLE_IP), "reject"),
        (IP6, Hook.INPUT, x.reject(x.PORT_UNREACHABLE_IP6), "reject"),
        (IP, Hook.PREROUTING, x.notrack(), "notrack"),
    ],
)
def test_a_statement_is_listed_where_it_is_allowed(
    namespace: Namespace, table: Table, hook: Hook, statement: bytes, shown: str
) -> None:
    chain = Chain(table, "rules", Base("filter", hook, 0))
    namespace.open().transact([add(table), add(chain), add(Rule(chain, (statement,)))])
    assert namespace.nft("list", "ruleset").splitlines()[3].strip() == shown


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ((x.masquerade(),), "masquerade"),
        ((x.masquerade(x.NatFlag.FULLY_RANDOM),), "masquerade fully-random"),
        ((x.immediate(b"\x0a\0\0\1"), x.snat(2)), "snat to 10.0.0.1"),
    ],
)
def test_another_source_is_listed(namespace: Namespace, statement: tuple[bytes, ...], shown: str) -> None:
    chain = Chain(IP, "rules", Base("nat", Hook.POSTROUTING, 100))
    namespace.open().transact([add(IP), add(chain), add(Rule(chain, (*TRANSLATED, *statement)))])
    assert namespace.nft("list", "ruleset").splitlines()[3].strip() == f"ct status dnat {shown}"


def test_a_rule_may_have_a_set_of_its_own(namespace: Namespace) -> None:
    chain, protocols = Chain(IP, "rules"), inline(IP, (of.INET_PROTO,), 1)
    elements = add_elements(protocols, [Element(b"\x06"), Element(b"\x11")])
    rule = Rule(chain, (x.L4PROTO.into(), x.lookup(protocols), x.verdict(x.ACCEPT)))
    namespace.open().transact([add(IP), add(chain), add(protocols), *elements, add(rule)])
    assert "meta l4proto { 6, 17 } accept" in namespace.nft("list", "ruleset")


@pytest.mark.parametrize(
    ("table", "base", "shown"),
    [
        (IP, Base("nat", Hook.PREROUTING, -100), "type nat hook prerouting priority dstnat; policy accept;"),
        (IP, Base("filter", Hook.INPUT, 0, drops=True), "type filter hook input priority filter; policy drop;"),
        (IP6, Base("filter", Hook.FORWARD, -5), "type filter hook forward priority filter - 5; policy accept;"),
        (IP6, Base("nat", Hook.POSTROUTING, 100), "type nat hook postrouting priority srcnat; policy accept;"),
        (IP, Base("route", Hook.OUTPUT, -150), "type route hook output priority mangle; policy accept;"),
        (ARP, Base("filter", Hook.INPUT, 0), "type filter hook input priority filter; policy accept;"),
        (ARP, Base("filter", Hook.OUTPUT, 0), "type filter hook output priority filter; policy accept;"),
    ],
    ids=str,
)
def test_a_base_chain_is_listed_and_read(namespace: Namespace, table: Table, base: Base, shown: str) -> None:
    kernel, chain = namespace.open(), Chain(table, "rules", base)
    kernel.transact([add(table), add(chain)])
    assert shown in namespace.nft("list", "ruleset")
    assert [listing.read_chain(found) for found in kernel.request(listing.dump_chains(table))] == [chain]


def test_what_nft_made_is_read(namespace: Namespace) -> None:
    """Also where it is of a kind that we never make."""
    namespace.nft(
        'table inet foreign { comment "theirs"; set s { type ipv4_addr; counter; elements = { 10.0.0.1 counter packets 3 bytes 180 }; };'
        ' map v { type mark : verdict; elements = { 1 : jump c }; }; chain c { accept comment "all"; }; }'
    )
    kernel = namespace.open()
    table = Table(Family.INET, "foreign", "theirs")
    assert [listing.read_table(found) for found in kernel.request(listing.dump_tables())] == [table]
    names = {listing.read_set(found).name for found in kernel.request(listing.dump_sets(table))}
    assert names == {"s", "v"}
    assert elements_of(kernel, Set(table, "s", (of.IPV4_ADDR,))) == [listing.Held(b"\x0a\0\0\1", None, 0, 0, 3, 180)]
    assert [one.data for one in elements_of(kernel, Set(table, "v", (of.MARK,), (of.VERDICT,)))] == [x.jump("c")]
    (rule,) = (listing.read_rule(found) for found in kernel.request(listing.dump_rules(table)))
    assert rule.comment == "all"
    kernel.transact([delete(rule)])
    assert kernel.request(listing.dump_rules(table)) == []


def test_flushing_empties_and_deleting_takes_away(namespace: Namespace) -> None:
    kernel, chain, other = namespace.open(), Chain(IP, "rules"), Chain(IP, "other")
    rules = [add(Rule(chain, (x.verdict(x.DROP),))), add(Rule(other, (x.verdict(x.DROP),)))]
    marks = Set(IP, "marks", (of.MARK,))
    kernel.transact([add(IP), add(chain), add(other), *rules, add(marks), *add_elements(marks, [Element(mark(1))])])
    kernel.transact([flush(chain), flush(marks)])
    assert [listing.read_rule(found).chain for found in kernel.request(listing.dump_rules(IP))] == [other]
    assert "0x" not in namespace.nft("list", "ruleset")
    kernel.transact([flush(IP), delete(chain), delete(marks)])
    assert namespace.nft("list", "ruleset").split() == ["table", "ip", "test", "{", "chain", "other", "{", "}", "}"]
    kernel.transact([delete(IP)])
    assert namespace.nft("list", "ruleset") == ""


def test_a_set_is_rewritten_in_one_transaction(namespace: Namespace) -> None:
    kernel, marks = namespace.open(), Set(IP, "marks", (of.MARK,), (of.IPV4_ADDR,))
    kernel.transact(
        [add(IP), add(marks), *add_elements(marks, [Element(mark(1), bytes(4)), Element(mark(2), bytes(4))])]
    )
    kernel.transact([flush(marks), *add_elements(marks, [Element(mark(1), b"\1\1\1\1")])])
    assert [(one.key, one.data) for one in elements_of(kernel, marks)] == [(mark(1), b"\1\1\1\1")]
