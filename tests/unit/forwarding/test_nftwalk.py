"""Where a walk through rules goes on, and where it ends because nobody here knows what they would do."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from compiled import Kernel, is_local
from forwarded import NODE, OUTSIDE, cluster_ip
from pierhead.forwarding.nftwalk import Sent, Unwalkable, fates
from pierhead.wire import expressions as x
from pierhead.wire import instructions
from pierhead.wire.expressions import Base, Meta, Verdict

OUT = Sent(ip_address(NODE), ip_address(OUTSIDE), 6, 80)
TTL = x.payload(Base.NETWORK, 8, 1)
FLAGS = x.payload(Base.TRANSPORT, 13, 1)
LINK = x.meta(Meta.OIFNAME)


def walked(*rule: x.Expression, sent: Sent = OUT) -> str:
    """What becomes of a packet where this rule of somebody else's is the first that it meets."""
    found = Kernel()
    found.rules.chains["guard-out"].rules.insert(0, instructions.read(b"".join(rule)))
    (fate,) = fates(found.rules, sent, is_local)
    return fate.verdict


@pytest.mark.parametrize(
    "rule",
    [
        (TTL.into(), x.cmp(b"\1")),
        (FLAGS.into(), x.cmp(b"\2")),
        (x.payload(Base.LINK, 6, 6).into(), x.cmp(bytes(6))),
        (LINK.into(), x.cmp(x.interface("eth0"))),
        (x.verdict(Verdict(3)),),
    ],
    ids=["ttl", "flags", "link layer", "the link it leaves by", "queue"],
)
def test_it_ends_at_what_is_not_known_of_the_packet(rule: tuple[x.Expression, ...]) -> None:
    with pytest.raises(Unwalkable):
        walked(*rule, x.verdict(x.DROP))


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ((x.payload(Base.NETWORK, 9, 1).into(), x.cmp(b"\6"), x.verdict(x.DROP)), "drop"),
        ((x.payload(Base.NETWORK, 9, 1).into(), x.cmp(b"\x11"), x.verdict(x.DROP)), "pass"),
        ((x.DPORT.into(), x.cmp(b"\0\x50"), x.verdict(x.DROP)), "drop"),
        ((LINK.into(), x.cmp(x.interface("lo")), x.verdict(x.DROP)), "pass"),
        ((LINK.into(), x.DPORT.into(), x.cmp(b"\0\x50"), x.verdict(x.DROP)), "drop"),
        ((x.verdict(Verdict(-1)),), "pass"),
    ],
    ids=["its protocol", "another protocol", "its port", "another link", "a register used again", "continue"],
)
def test_it_goes_on_where_enough_is_known(rule: tuple[x.Expression, ...], verdict: str) -> None:
    assert walked(*rule) == verdict


def test_what_the_node_sends_to_itself_leaves_by_lo() -> None:
    """Nobody has the address, which our own rules drop."""
    here = Sent(ip_address(NODE), ip_address(cluster_ip()), 6, 80)
    for link, verdict in (("eth0", "drop"), ("lo", "reject")):
        assert walked(LINK.into(), x.cmp(x.interface(link)), x.reject(3), sent=here) == verdict
