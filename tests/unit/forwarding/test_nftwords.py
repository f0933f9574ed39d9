"""Rules in words: what people read who look for the one that decides."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from compiled import GROUND, Kernel, is_local
from forwarded import OUTSIDE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Looked, Sent, Step, fates
from pierhead.forwarding.nftwords import element, words
from pierhead.wire import datatypes as of
from pierhead.wire import expressions as x
from pierhead.wire import instructions
from pierhead.wire.expressions import Compare
from pierhead.wire.netlink import be32
from pierhead.wire.nftables import Family, Set, Table, add

TABLE = Table(Family.IP6, "t")
CLIENTS = Set(TABLE, "clients", (of.IPV6_ADDR, of.INET_SERVICE), (of.IPV6_ADDR, of.INET_SERVICE))
SERVICES = GROUND.services[0]


def said(*rule: x.Expression) -> str:
    held = Ruleset(TABLE)
    held.apply([add(CLIENTS)])
    return words(Step("c", 1, instructions.read(b"".join(rule)), (), done=False, verdict=None), held)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ((x.verdict(x.goto("n2")),), "go to n2"),
        ((x.IP_SADDR.into(), x.cmp(b"\x0a\0\0\1"), x.verdict(x.DROP)), "its source is 10.0.0.1: drop it"),
        (
            (x.IP_DADDR.into(), x.bitwise(b"\xff\xff\0\0"), x.cmp(b"\x0a\x60\0\0", Compare.NOT_EQUAL), x.reject(3)),
            "its destination is not in 10.96.0.0/16: refuse it",
        ),
        ((x.IP6_SADDR.into(), x.cmp(bytes(15) + b"\1"), x.masquerade()), "its source is ::1: its source becomes the node's address"),
        ((x.L4PROTO.into(), x.cmp(b"\x11"), x.verdict(x.ACCEPT)), "its protocol is udp: let it pass"),
        ((x.DPORT.into(), x.cmp(b"\4\0", Compare.LESS), x.verdict(x.DROP)), "its port is below 1024: drop it"),
        ((x.meta(x.Meta.IIFNAME).into(), x.cmp(x.interface("up0")), x.verdict(x.DROP)), "the link it came by is up0: drop it"),
        (
            (x.ct(x.Ct.STATE).into(), x.bitwise(b"\6\0\0\0"), x.cmp(bytes(4), Compare.NOT_EQUAL), x.verdict(x.RETURN)),
            "its connection is established or related: back to the chain before",
        ),
        ((x.ct(x.Ct.STATUS).into(), x.bitwise(b"\x20\0\0\0"), x.cmp(bytes(4)), x.reset()), "its connection is not translated: refuse it"),
        ((x.ct(x.Ct.STATE).into(), x.cmp(b"\1\0\0\0"), x.verdict(x.DROP)), "its connection is invalid: drop it"),
        ((*x.concat(x.IP6_SADDR, x.DPORT), x.lookup(CLIENTS, inverse=True), x.verdict(x.DROP)), "not in clients: drop it"),
        (
            (x.fib(x.FibFlag.SADDR, x.FibResult.TYPE).into(), x.cmp(x.LOCAL, Compare.NOT_EQUAL), x.verdict(x.DROP)),
            "its source is not the node's own: drop it",
        ),
        (
            (*x.concat(x.IP6_SADDR, x.DPORT), x.lookup(CLIENTS, into=1), x.dnat(10)),
            "in clients: its destination becomes what clients holds",
        ),
        ((x.expression("limit"), x.verdict(x.DROP)), "limit (not known here): drop it"),
        ((x.expression("meta", be32(2, 24), be32(1, 1)), x.cmp(b"\1"), x.verdict(x.DROP)), "meta 24 is 01: drop it"),
        ((x.payload(x.Base.TRANSPORT, 8, 2).into(), x.cmp(b"\1\2"), x.counter()), "its bytes from 8 on is 0102: go on"),
    ],
)  # fmt: skip
def test_a_rule(rule: tuple[x.Expression, ...], expected: str) -> None:
    assert said(*rule) == expected


def way(source: str, link: str, address: str) -> dict[str, str]:
    """What each rule said about a packet's first fate."""
    kernel = Kernel(replace(GROUND, uplinks=("up0",)))
    balanced = service(type="LoadBalancer", ingress=[VIP], loadBalancerSourceRanges=["10.0.0.0/8"])
    kernel.hold(table_of(balanced, slice_of("web", endpoint(11))))
    found = next(fates(kernel.rules, Sent(ip_address(source), ip_address(address), 6, 8080, link=link), is_local))
    return {str(step): words(step, kernel.rules) for step in found.why}


def test_the_way_to_an_endpoint() -> None:
    said = way(pod(20), "veth1", cluster_ip())
    frontend, terms = said["services 2"].split(", ")
    assert frontend.startswith(f"{cluster_ip()} . tcp . 8080 → 0x003")
    assert frontend.endswith(" is in frontends")
    assert terms == "0x00300000 is in terms: go to n1"
    assert said["n1 1"].endswith(f" . 0 → {pod(11)}:9376 is in endpoints: its destination becomes {pod(11)}:9376")


def test_where_a_set_had_nothing_the_rule_ends() -> None:
    assert way(pod(20), "veth1", cluster_ip(77))["services 2"] == f"{cluster_ip(77)} . tcp . 8080 is not in frontends"


def test_a_stranger_at_an_uplink() -> None:
    inside = f"its destination is in {SERVICES}"
    assert list(way(OUTSIDE, "up0", cluster_ip()).values())[-1] == f"up0 is in uplinks, {inside}: drop it"


def test_a_stranger_who_is_not_welcome() -> None:
    said = way(OUTSIDE, "up0", VIP)
    assert said["guard-pre 4"] == f"{VIP} . tcp . 8080 is in guarded: jump to guard1"
    assert said["guard1 2"] == "drop it"


def test_an_address_of_ip6_has_brackets_before_its_port() -> None:
    held = Ruleset(TABLE)
    held.apply([add(CLIENTS)])
    key, data = (ip_address(address).packed + b"\0\x50\0\0" for address in ("fd00::1", "fd00::2"))
    assert element(Looked("clients", key, data, found=True), held) == "[fd00::1]:80 → [fd00::2]:80"
