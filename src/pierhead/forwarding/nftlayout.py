"""The nftables layout: constant chains and the sets they look into, for one family.

A packet meets, in this order: ``guard`` (who may come in at all), ``services`` (frontend → terms and id in the packet mark → a chain
for these terms → slot → translated), ``verdicts`` (what was not translated and must not pass), ``learn`` (counters, sticky clients),
``hide`` (masquerade) and ``clear`` (the mark). Only a connection's first packet carries a mark, so that every other one is done after
one comparison.

The mark: 12 bits terms, 1 bit "hide the client", 19 bits id. Terms are a number for (endpoints, affinity seconds), because the kernel
wants both as constants of a rule: there is one chain for each that occurs, whatever the number of Services.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

import msgspec

from pierhead.api.network import Range
from pierhead.forwarding.table import OCTETS
from pierhead.wire import expressions as x
from pierhead.wire.datatypes import (
    IFNAME,
    INET_PROTO,
    INET_SERVICE,
    IPV4_ADDR,
    IPV6_ADDR,
    MARK,
    NUMGEN,
    VERDICT,
)
from pierhead.wire.expressions import Compare, Ct, Expression, FibFlag, FibResult, Load, Meta, State, Status
from pierhead.wire.listing import Held
from pierhead.wire.netlink import Message
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
    inline,
)

VERSION: Final = 1
"""Of this layout: a table of another one is replaced as a whole."""
NAME: Final = "pierhead"

TERMS_SHIFT, HIDE, ID_MASK = 20, 1 << 19, (1 << 19) - 1
TERMS_MASK: Final = 0xFFF << TERMS_SHIFT
REFUSE, DROP, FIRST_TERMS = 1, 2, 3
TERMS: Final = 1 << 12

TRAFFIC_SIZE: Final = 65536
TRAFFIC_TIMEOUT: Final = 3_600_000
AFFINITY_SIZE: Final = 262144
"""Sticky clients of the node; one more is served without being remembered."""
AFFINITY_TIMEOUT: Final = 10_800_000
CAPACITY: Final = 262144
AT_ONCE: Final = 1024
"""Addresses that are read at once: a word for each octet takes sixty times the room of the octet."""

EVERYBODYS: Final[tuple[tuple[Range, ...], tuple[Range, ...]]] = (
    (IPv4Network("127.0.0.1/32"), IPv4Network("224.0.0.0/3")),
    (IPv6Network("::1/128"), IPv6Network("fe80::/10"), IPv6Network("ff00::/8")),
)
"""By family: loopback, link-local, multicast and broadcast addresses, which every host has."""
JUDGED: Final = struct.pack("=I", State.ESTABLISHED | State.RELATED)
"""The states of packets that were judged before."""


class Terms(NamedTuple):
    endpoints: int
    affinity: int
    """Seconds; 0: none."""

    @property
    def chain(self) -> str:
        return f"n{self.endpoints}" + (f"-{self.sticky}" if self.affinity else "")

    @property
    def sticky(self) -> str:
        """The chain that remembers where a client was led."""
        return f"sticky{self.affinity}"


class Ground(msgspec.Struct, frozen=True):
    """What the rules of one family must know of the node's network."""

    family: Family
    owner: str
    """The region's uid: a table of another one is never touched."""
    nodes: tuple[str, ...]
    """The node's own addresses, where node ports are served."""
    services: tuple[Range, ...]
    pods: tuple[Range, ...]
    uplinks: tuple[str, ...] = ()
    """Interfaces towards the world: from there nobody reaches cluster IPs and pods but ``peers``."""
    peers: tuple[Range, ...] = ()
    """Who is no stranger at an uplink: the region's other nodes."""
    sole: bool = False
    """The nodes have no addresses but ``nodes``. At any other that leads here, such as a floating IP of whichever pool, nobody is let
    in but by a Service."""
    capacity: int = CAPACITY
    """Endpoints, and frontends, that fit."""

    @property
    def six(self) -> bool:
        return self.family is Family.IP6

    @property
    def comment(self) -> str:
        return f"{self.owner} layout {VERSION} capacity {self.capacity}"


class Layout:
    """The names and shapes of everything in the table."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        six = ground.six
        address = IPV6_ADDR if six else IPV4_ADDR
        self.table = table = Table(ground.family, NAME, ground.comment)
        asked = ground.uplinks and not six
        self.beside = (Table(Family.ARP, NAME, ground.comment),) if asked else ()
        """Tables in which nothing depends on Services: made anew as a whole."""
        self.saddr, self.daddr = (x.IP6_SADDR, x.IP6_DADDR) if six else (x.IP_SADDR, x.IP_DADDR)
        frontend = (address, INET_PROTO, INET_SERVICE)
        capacity = ground.capacity
        self.endpoints = Set(table, "endpoints", (MARK, NUMGEN), (address, INET_SERVICE), size=capacity)
        self.frontends = Set(table, "frontends", frontend, (MARK,), size=capacity)
        self.strangers = Set(table, "strangers", frontend, (MARK,))
        self.guarded = Set(table, "guarded", frontend, (VERDICT,))
        self.terms = Set(table, "terms", (MARK,), (VERDICT,))
        self.learning = Set(table, "learning", (MARK,), (VERDICT,))
        self.cluster_ips = Set(table, "cluster-ips", (address,))
        self.nodes = Set(table, "nodes", (address,))
        self.uplinks = Set(table, "uplinks", (IFNAME,))
        self.hairpin = Set(table, "hairpin", (address, address))
        self.affinity = Set(
            table, "affinity", (address, MARK), (address, INET_SERVICE), SetFlag.DYNAMIC,
            size=AFFINITY_SIZE, timeout=AFFINITY_TIMEOUT,
        )  # fmt: skip
        self.traffic = Set(
            table, "traffic", (MARK, address, INET_SERVICE), (), SetFlag.DYNAMIC,
            size=TRAFFIC_SIZE, timeout=TRAFFIC_TIMEOUT, counts=True,
        )  # fmt: skip
        self._anonymous = 0

    @property
    def kept(self) -> tuple[Set, ...]:
        """What traffic taught: a rewrite leaves it alone."""
        return self.affinity, self.traffic

    @property
    def programmed(self) -> tuple[Set, ...]:
        """Filled by changes of the table."""
        return (
            self.endpoints, self.frontends, self.strangers, self.guarded, self.terms, self.learning, self.cluster_ips,
            self.hairpin, self.nodes, self.uplinks,
        )  # fmt: skip

    def base_chains(self) -> dict[str, Chain]:
        table, nat, plain = self.table, "nat", "filter"
        return {
            chain.name: chain
            for chain in (
                Chain(table, "guard-pre", Base(plain, Hook.PREROUTING, -110)),
                Chain(table, "guard-out", Base(plain, Hook.OUTPUT, -110)),
                Chain(table, "nat-pre", Base(nat, Hook.PREROUTING, -100)),
                Chain(table, "nat-out", Base(nat, Hook.OUTPUT, -100)),
                Chain(table, "in", Base(plain, Hook.INPUT, 0)),
                Chain(table, "forward", Base(plain, Hook.FORWARD, 0)),
                Chain(table, "out", Base(plain, Hook.OUTPUT, 0)),
                Chain(table, "hide", Base(nat, Hook.POSTROUTING, 100)),
                Chain(table, "clear", Base(plain, Hook.POSTROUTING, 101)),
            )
        }

    @property
    def plain_chains(self) -> dict[str, Chain]:
        return {name: Chain(self.table, name) for name in ("services", "verdicts", "learn")}

    def skeleton(self) -> list[Message]:
        """Everything that does not depend on Services; sets and chains that are there already are left as they are, and the chains
        must hold no rules."""
        chains = self.plain_chains | self.base_chains()
        found = [add(self.table), *map(add, (*self.programmed, *self.kept)), *map(add, chains.values())]
        for name, rule in self._rules():
            found.append(add(Rule(chains[name], rule)))
        done = (Element(mark(known << TERMS_SHIFT), x.RETURN) for known in (REFUSE, DROP))
        found += add_elements(self.terms, done)
        found += add_elements(self.nodes, (Element(packed(node)) for node in self.ground.nodes))
        found += add_elements(self.uplinks, (Element(x.interface(name)) for name in self.ground.uplinks))
        return [*found, *self._unasked()]

    def _unasked(self) -> Iterator[Message]:
        """At an uplink nobody is told by ARP who answers for a cluster IP."""
        for table in self.beside:
            chain = Chain(table, "in", Base("filter", Hook.INPUT, 0))
            yield add(table)
            yield add(chain)
            for name in self.ground.uplinks:
                there = x.meta(Meta.IIFNAME).into(), x.cmp(x.interface(name))
                asks = x.payload(x.Base.NETWORK, 6, 2).into(), x.cmp(REQUEST)
                for closed in self.ground.services:
                    yield add(
                        Rule(
                            chain, (*there, *asks, *within(x.payload(x.Base.NETWORK, 24, 4), closed), x.verdict(x.DROP))
                        )
                    )

    def terms_chain(self, terms: Terms, number: int) -> list[Message]:
        """The chain that picks one of so many endpoints, and the elements that lead to it. ``sticky_chain`` must be there."""
        chain = Chain(self.table, terms.chain)
        here = mark(number << TERMS_SHIFT)
        found = [add(chain)]
        if terms.affinity:
            key = (self.saddr.into(1), x.MARK.into(self._after), mask(ID_MASK, self._after))
            found += self._dnat(chain, (*key, x.lookup(self.affinity, into=1)))
            found += add_elements(self.learning, [Element(here, x.jump(terms.sticky))])
        second = x.register(1)
        pick = (x.MARK.into(), mask(ID_MASK), x.numgen(terms.endpoints).into(second))
        found += self._dnat(chain, (*pick, x.lookup(self.endpoints, into=1)))
        return found + add_elements(self.terms, [Element(here, x.goto(chain.name))])

    def sticky_chain(self, seconds: int) -> list[Message]:
        """The chain that remembers where a client was led; each connection counts the seconds anew."""
        chain = Chain(self.table, f"sticky{seconds}")
        word, data, port = (4, 8, 12) if self.ground.six else (1, 4, 5)
        rule = (
            self.saddr.into(), x.MARK.into(x.register(word)), mask(ID_MASK, x.register(word)),
            self.daddr.into(x.register(data)), x.DPORT.into(x.register(port)),
            x.update(self.affinity, data=x.register(data), timeout=seconds * 1000),
        )  # fmt: skip
        return [add(chain), add(Rule(chain, rule))]

    def guard_chain(self, name: str, sources: Sequence[Range]) -> list[Message]:
        """Whoever is in none of these ranges is dropped."""
        chain = Chain(self.table, name)
        rules = [(*within(self.saddr, source), x.verdict(x.RETURN)) for source in sources]
        return [add(chain), *(add(Rule(chain, rule)) for rule in (*rules, (x.verdict(x.DROP),)))]

    @property
    def _after(self) -> int:
        """The register behind an address."""
        return x.register(4 if self.ground.six else 1)

    def _dnat(self, chain: Chain, choose: Sequence[Expression]) -> list[Message]:
        self._anonymous += 1
        protocols = inline(self.table, (INET_PROTO,), self._anonymous)
        rule = (x.L4PROTO.into(), x.lookup(protocols), *choose, x.dnat(self.ground.family, 1, self._after))
        elements = add_elements(protocols, [Element(b"\x06"), Element(b"\x11")])
        return [add(protocols), *elements, add(Rule(chain, rule))]

    def _rules(self) -> Iterator[tuple[str, tuple[Expression, ...]]]:
        for chain in ("guard-pre", "guard-out"):
            yield chain, (*judged(), x.verdict(x.RETURN))
        yield from self._at_uplinks()
        frontend = x.concat(self.daddr, x.L4PROTO, x.DPORT)
        for chain in ("guard-pre", "guard-out"):
            yield chain, (*frontend, x.lookup(self.guarded, into=0))
        for chain in ("nat-pre", "nat-out"):
            yield chain, (x.verdict(x.jump("services")),)
        follow = (x.set_meta(Meta.MARK), x.MARK.into(), mask(TERMS_MASK), x.lookup(self.terms, into=0))
        stranger = (*self._outside_pods(self.saddr), *from_node(Compare.NOT_EQUAL))
        yield "services", (*stranger, *frontend, x.lookup(self.strangers, into=1), *follow)
        yield "services", (*frontend, x.lookup(self.frontends, into=1), *follow)
        yield from self._verdicts()
        yield from self._learn()
        yield from self._hide()
        yield "clear", (*unmarked(), x.verdict(x.RETURN))
        yield "clear", (*judged(), x.verdict(x.RETURN))
        yield "clear", (*translated(), x.immediate(mark(0)), x.set_meta(Meta.MARK))

    def _at_uplinks(self) -> Iterator[tuple[str, tuple[Expression, ...]]]:
        """From there strangers reach neither cluster IPs nor pods, and nobody is told who answers for a cluster IP."""
        there = (x.meta(Meta.IIFNAME).into(), x.lookup(self.uplinks))
        unknown = tuple(part for peer in self.ground.peers for part in within(self.saddr, peer, Compare.NOT_EQUAL))
        for closed in (*self.ground.services, *self.ground.pods):
            yield "guard-pre", (*there, *unknown, *within(self.daddr, closed), x.verdict(x.DROP))
        if self.ground.six:
            asks = (
                x.L4PROTO.into(), x.cmp(bytes((ICMPV6,))),
                x.payload(x.Base.TRANSPORT, 0, 1).into(), x.cmp(bytes((SOLICITATION,))),
            )  # fmt: skip
            target = x.payload(x.Base.TRANSPORT, 8, 16)
            for closed in self.ground.services:
                yield "guard-pre", (*there, *asks, *within(target, closed), x.verdict(x.DROP))

    def _verdicts(self) -> Iterator[tuple[str, tuple[Expression, ...]]]:
        refuse = x.reject(x.PORT_UNREACHABLE_IP6 if self.ground.six else x.PORT_UNREACHABLE_IP)
        marked = (x.MARK.into(), mask(TERMS_MASK))
        yield "verdicts", (*marked, x.cmp(mark(REFUSE << TERMS_SHIFT)), refuse)
        yield "verdicts", (*marked, x.cmp(mark(DROP << TERMS_SHIFT)), x.verdict(x.DROP))
        yield "verdicts", (*translated(), x.verdict(x.goto("learn")))
        yield "verdicts", (self.daddr.into(), x.lookup(self.cluster_ips), refuse)
        for found in self.ground.services:
            yield "verdicts", (*within(self.daddr, found), x.verdict(x.DROP))
        for chain in ("in", "forward", "out"):
            yield chain, (*judged(), x.verdict(x.RETURN))
        # A verdict on the way out would be an error of the sender's call: at the node's own addresses it comes on the way in, where no
        # packet has a mark any more.
        yield "out", (self.daddr.into(), x.lookup(self.nodes), x.verdict(x.goto("learn")))
        for chain in ("in", "forward", "out"):
            yield chain, (x.verdict(x.jump("verdicts")),)
        if self.ground.sole:
            untranslated = (x.ct(Ct.STATUS).into(), mask(Status.DNAT), x.cmp(mark(0)))
            ordinary = [
                part for found in EVERYBODYS[self.ground.six] for part in within(self.daddr, found, Compare.NOT_EQUAL)
            ]
            others = (self.daddr.into(), x.lookup(self.nodes, inverse=True))
            yield "in", (*untranslated, *ordinary, *others, refuse)

    def _learn(self) -> Iterator[tuple[str, tuple[Expression, ...]]]:
        yield "learn", (*unmarked(), x.verdict(x.RETURN))
        address = x.register(1)
        port = 5 if self.ground.six else 2
        key = (x.MARK.into(), mask(ID_MASK), self.daddr.into(address), x.DPORT.into(x.register(port)))
        yield "learn", (*translated(), *key, x.update(self.traffic))
        yield "learn", (*translated(), x.MARK.into(), mask(TERMS_MASK), x.lookup(self.learning, into=0))

    def _hide(self) -> Iterator[tuple[str, tuple[Expression, ...]]]:
        """Who must not be seen by the endpoint, because its answers would not come back here or would go past the translation."""
        yield "hide", (x.ct(Ct.STATUS).into(), mask(Status.DNAT), x.cmp(mark(0)), x.verdict(x.RETURN))
        # What the node sends to itself comes back by itself.
        yield "hide", (x.meta(Meta.OIFNAME).into(), x.cmp(x.interface("lo")), x.verdict(x.RETURN))
        yield "hide", (x.MARK.into(), mask(HIDE), x.cmp(mark(0), Compare.NOT_EQUAL), x.masquerade())
        yield "hide", (*x.concat(self.saddr, self.daddr), x.lookup(self.hairpin), x.masquerade())
        yield "hide", (*self._outside_pods(self.saddr), *from_node(), x.masquerade())
        original = x.ct(Ct.DST_IP6 if self.ground.six else Ct.DST_IP, x.ORIGINAL)
        inside = original.into(), x.lookup(self.cluster_ips)
        yield "hide", (*self._outside_pods(self.saddr), *inside, x.masquerade())
        yield "hide", (*self._outside_pods(self.daddr), x.masquerade())

    def _outside_pods(self, address: Load) -> tuple[Expression, ...]:
        return tuple(part for pods in self.ground.pods for part in within(address, pods, Compare.NOT_EQUAL))


def led(found: Held) -> tuple[int, bytes]:
    """Of an element of ``affinity``: the id, and where its clients are led."""
    assert isinstance(found.data, bytes)
    return int.from_bytes(found.key[-4:], sys.byteorder), found.data


ICMPV6, SOLICITATION = 58, 135
REQUEST: Final = b"\0\1"
"""ARP's operation."""


def mark(value: int) -> bytes:
    """As registers and elements have it: in host order."""
    return struct.pack("=I", value)


def mask(bits: int, register: int = 1) -> Expression:
    return x.bitwise(mark(bits), source=register, into=register)


def within(address: Load, found: Range, how: Compare = Compare.EQUAL) -> tuple[Expression, ...]:
    """Goes on if the address is in the range (``NOT_EQUAL``: is not)."""
    whole = found.prefixlen == found.max_prefixlen
    narrow = () if whole else (x.bitwise(found.netmask.packed),)
    return address.into(), *narrow, x.cmp(found.network_address.packed, how)


def from_node(how: Compare = Compare.EQUAL) -> tuple[Expression, ...]:
    """Goes on if the node itself is the sender (``NOT_EQUAL``: is not), under whichever of its addresses: it talks to one of its own
    from that very one."""
    return x.fib(FibFlag.SADDR, FibResult.TYPE).into(), x.cmp(x.LOCAL, how)


def judged() -> tuple[Expression, ...]:
    """Only packets of connections that were let through before."""
    return x.ct(Ct.STATE).into(), x.bitwise(JUDGED), x.cmp(mark(0), Compare.NOT_EQUAL)


def translated() -> tuple[Expression, ...]:
    return x.ct(Ct.STATUS).into(), mask(Status.DNAT), x.cmp(mark(0), Compare.NOT_EQUAL)


def unmarked() -> tuple[Expression, ...]:
    return x.MARK.into(), x.cmp(mark(0))


def packed(address: str) -> bytes:
    """The bytes of an address in its canonical form."""
    return ip_address(address).packed if ":" in address else bytes(map(OCTETS.__getitem__, address.split(".")))


def packed_all(addresses: Sequence[str]) -> bytes:
    """The bytes of these addresses of one family, one after the other; quick, because a full load has a hundred thousand."""
    if not addresses or ":" in addresses[0]:
        return b"".join(map(packed, addresses))
    parts = [addresses[start : start + AT_ONCE] for start in range(0, len(addresses), AT_ONCE)]
    return b"".join([bytes(map(OCTETS.__getitem__, ".".join(part).split("."))) for part in parts])
