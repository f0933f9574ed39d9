"""A table that is read back from the kernel: the same expressions, and the same way for every packet."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from compiled import GROUND, INSIDE, Kernel, is_local
from forwarded import NODE, cluster_ip, table_of
from namespaces import Namespace
from pierhead.dataplane import held
from pierhead.dataplane.nftables import Nftables
from pierhead.forwarding import nftcompare
from pierhead.forwarding.diff import diff, whole
from pierhead.forwarding.nft import PROTOCOLS
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Sent, Step, Unwalkable, fates
from pierhead.forwarding.nftwords import words
from pierhead.forwarding.table import ForwardingTable
from pierhead.forwarding.trace import trace
from pierhead.wire import datatypes as of
from pierhead.wire import expressions as x
from pierhead.wire import instructions, listing
from pierhead.wire.nftables import Base, Chain, Family, Hook, Rule, Set, SetFlag, Table, add
from scenarios import ROWS, Row

TABLE = Table(Family.IP, "test")
NAT = Chain(TABLE, "nat", Base("nat", Hook.PREROUTING, -100))
HIDE = Chain(TABLE, "hide", Base("nat", Hook.POSTROUTING, 100))
RAW = Chain(TABLE, "raw", Base("filter", Hook.PREROUTING, -300))
IN = Chain(TABLE, "in", Base("filter", Hook.INPUT, 0, drops=True))
PLAIN = Chain(TABLE, "plain")
MARKS = Set(TABLE, "marks", (of.MARK,), (of.IPV4_ADDR, of.INET_SERVICE))
VERDICTS = Set(TABLE, "verdicts", (of.MARK,), (of.VERDICT,))
CLIENTS = Set(TABLE, "clients", (of.IPV4_ADDR,), (of.MARK,), SetFlag.DYNAMIC, size=10, timeout=60_000)
RULES = [
    Rule(PLAIN, (*x.concat(x.IP_SADDR, x.L4PROTO, x.DPORT), x.counter(), x.verdict(x.RETURN))),
    Rule(PLAIN, (x.meta(x.Meta.IIFNAME).into(), x.cmp(x.interface("eth0"), x.Compare.NOT_EQUAL), x.verdict(x.DROP))),
    Rule(PLAIN, (x.IP_DADDR.into(), x.bitwise(b"\xff\xff\0\0"), x.cmp(b"\x0a\x60\0\0"), x.reject(3))),
    Rule(PLAIN, (x.DPORT.into(), x.cmp(b"\x04\0", x.Compare.GREATER_OR_EQUAL), x.verdict(x.ACCEPT))),
    Rule(PLAIN, (x.L4PROTO.into(), x.cmp(b"\x06"), x.reset())),
    Rule(PLAIN, (x.ct(x.Ct.STATE).into(), x.bitwise(b"\2\0\0\0", b"\1\0\0\0"), x.cmp(bytes(4)), x.verdict(x.ACCEPT))),
    Rule(PLAIN, (x.ct(x.Ct.DST_IP, x.ORIGINAL).into(), x.cmp(b"\x0a\0\0\1"), x.verdict(x.ACCEPT))),
    Rule(PLAIN, (x.immediate(b"\1\0\0\0"), x.set_meta(x.Meta.MARK), x.set_ct(x.Ct.MARK))),
    Rule(PLAIN, (x.MARK.into(), x.lookup(VERDICTS, into=0))),
    Rule(PLAIN, (x.MARK.into(), x.lookup(MARKS, inverse=False), x.numgen(7).into(9))),
    Rule(PLAIN, (x.IP_SADDR.into(), x.jhash(1, 4, 5, 77).into(9), x.verdict(x.RETURN))),
    Rule(PLAIN, (x.fib(x.FibFlag.DADDR, x.FibResult.TYPE).into(), x.cmp(x.LOCAL), x.verdict(x.RETURN))),
    Rule(PLAIN, (x.IP_SADDR.into(), x.MARK.into(9), x.update(CLIENTS, data=9, timeout=30_000))),
    Rule(PLAIN, (x.IP_SADDR.into(), x.MARK.into(9), x.update(CLIENTS, data=9, add=True))),
    Rule(NAT, (x.MARK.into(), x.lookup(MARKS, into=1), x.L4PROTO.into(13), x.dnat(2, 1, 9))),
    Rule(NAT, (x.immediate(b"\x0a\0\0\1"), x.dnat(2))),
    Rule(HIDE, (x.immediate(b"\x0a\0\0\1"), x.snat(2))),
    Rule(HIDE, (x.masquerade(x.NatFlag.FULLY_RANDOM),)),
    Rule(HIDE, (x.masquerade(),)),
    Rule(RAW, (x.notrack(),)),
    Rule(IN, (x.verdict(x.jump("plain")),)),
]


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_the_kernel_tells_of_a_rule_what_it_was_told(rule: Rule, namespace: Namespace) -> None:
    there = namespace.open()
    made = [add(found) for found in (TABLE, MARKS, CLIENTS, VERDICTS, PLAIN, NAT, HIDE, RAW, IN)]
    there.transact([*made, add(rule)])
    (told,) = there.request(listing.dump_rules(TABLE))
    assert listing.read_instructions(told) == instructions.read(b"".join(rule.expressions))


def test_a_packet_is_led_through_it_as_through_what_was_compiled(namespace: Namespace) -> None:
    """The whole table of scenarios, one after the other in one kernel: what is held comes from changes, what is compiled from scratch."""
    kernel, held_by = Nftables([GROUND], namespace.open()), namespace.open()

    async def scenario() -> None:
        before = ForwardingTable()
        for row in ROWS:
            table, compiled = table_of(*row.objects), Kernel()
            compiled.hold(table)
            await kernel.commit(diff(before, table) if before.rules else whole(table))
            before = table
            there = held.read(held_by, compiled.rules.table)
            assert there is not None
            check(row, table, compiled, there)

    asyncio.run(scenario())


def check(row: Row, table: ForwardingTable, compiled: Kernel, there: Ruleset) -> None:
    """Three answers to one question: of the table, of its rules, and of the kernel's."""
    packet, link = row.packet, "" if row.packet.source == NODE else "veth1"
    sent = Sent(
        ip_address(packet.source), ip_address(packet.address), PROTOCOLS[packet.protocol], packet.port, link=link
    )
    ours, theirs = list(fates(compiled.rules, sent, is_local)), list(fates(there, sent, is_local))
    assert nftcompare.same(ours, theirs), (row.title, nftcompare.differences(compiled.rules, ours, there, theirs))
    assert nftcompare.differences(compiled.rules, ours, there, theirs) == []
    said = trace(table, packet, INSIDE)
    assert {fate.verdict for fate in theirs} == {said.verdict}, row.title
    if said.verdict == "forward":
        assert {(str(fate.destination), fate.port) for fate in theirs} == {
            (found.address, found.port) for found in said.endpoints
        }


def test_what_a_stranger_deleted_is_named(namespace: Namespace) -> None:
    table, compiled, held_by = table_of(*ROWS[0].objects), Kernel(), namespace.open()
    compiled.hold(table)
    asyncio.run(Nftables([GROUND], namespace.open()).commit(whole(table)))
    namespace.nft(f"delete element ip pierhead frontends {{ {cluster_ip()} . tcp . 8080 }}")
    there = held.read(held_by, compiled.rules.table)
    assert there is not None
    sent = Sent(ip_address(NODE), ip_address(cluster_ip()), 6, 8080)
    ours, theirs = list(fates(compiled.rules, sent, is_local)), list(fates(there, sent, is_local))
    assert {fate.verdict for fate in theirs} == {"reject"}
    said = nftcompare.differences(compiled.rules, ours, there, theirs)
    assert said == [f"frontends lacks {cluster_ip()} . tcp . 8080"]


def test_a_table_that_is_not_there(namespace: Namespace) -> None:
    assert held.read(namespace.open(), TABLE) is None


def test_who_else_meets_the_packets_is_named(namespace: Namespace) -> None:
    there = namespace.open()
    there.transact([add(TABLE), add(PLAIN), add(IN)])
    namespace.nft("add table inet firewall; add chain inet firewall input { type filter hook input priority 0; }")
    assert [str(chain) for chain in held.neighbours(there, TABLE)] == ["chain input of table inet firewall"]


@pytest.mark.parametrize(
    "rule",
    [
        "ip saddr { 127.0.0.1-127.0.0.9, 127.9.0.0-127.9.0.7 } drop",
        "ether saddr 00:00:00:00:00:01 drop",
        "limit rate 1/second drop",
        "ip ttl 1 drop",
        "tcp flags syn drop",
    ],
)
def test_a_strangers_rule_that_nobody_here_can_follow_ends_the_walk(rule: str, namespace: Namespace) -> None:
    table, compiled, held_by = table_of(*ROWS[0].objects), Kernel(), namespace.open()
    compiled.hold(table)
    asyncio.run(Nftables([GROUND], namespace.open()).commit(whole(table)))
    namespace.nft(f"insert rule ip pierhead guard-out {rule}")
    there = held.read(held_by, compiled.rules.table)
    assert there is not None
    with pytest.raises(Unwalkable):
        list(fates(there, Sent(ip_address(NODE), ip_address(cluster_ip()), 6, 8080), is_local))
    said = [words(Step("c", 1, one, (), done=False, verdict=None), there) for one in there.chains["guard-out"].rules]
    assert said[0].endswith(": drop it")
