"""Whether a packet meets in the kernel's table what it would meet in ours, and what of it differs."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from compiled import Kernel, is_local
from forwarded import OUTSIDE, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.forwarding import nftcompare
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Fate, Sent, fates
from pierhead.wire import expressions as x
from pierhead.wire import instructions
from pierhead.wire.expressions import DROP
from pierhead.wire.nftables import TableFlag

PACKET = Sent(ip_address(pod(20)), ip_address(cluster_ip()), 6, 8080, link="veth1")
FRONTEND = f"{cluster_ip()} . tcp . 8080"


def kernel(*numbers: int, affinity: str = "None") -> Kernel:
    """With a Service ``web`` in front of these pods, and one before it that has other ids."""
    found = Kernel()
    other = service("other", clusterIP=cluster_ip(2), sessionAffinity=affinity)
    web = service(sessionAffinity=affinity), slice_of("web", *map(endpoint, numbers))
    found.hold(table_of(other, *web))
    return found


def walked(rules: Ruleset) -> list[Fate]:
    return list(fates(rules, PACKET, is_local))


def told(ours: Kernel, theirs: Kernel) -> list[str]:
    return nftcompare.differences(ours.rules, walked(ours.rules), theirs.rules, walked(theirs.rules))


def agree(ours: Kernel, theirs: Kernel) -> bool:
    return nftcompare.same(walked(ours.rules), walked(theirs.rules), ("affinity",))


def test_what_came_another_way_is_the_same_however_it_is_numbered() -> None:
    ours, theirs = kernel(1, 2), kernel(3, 4, 5)
    theirs.hold(table_of(service(), slice_of("web", endpoint(2), endpoint(1))))
    assert agree(ours, theirs)


def test_a_table_that_sleeps_is_said_to() -> None:
    ours, theirs = kernel(1), kernel(1)
    theirs.rules.table = replace(theirs.rules.table, flags=TableFlag.DORMANT)
    assert not agree(ours, theirs)
    assert told(ours, theirs) == ["the table is switched off (flags dormant): packets meet none of its chains"]


def test_whom_traffic_has_taught_the_kernel_to_lead_is_led_right() -> None:
    ours, theirs = kernel(1, 2, affinity="ClientIP"), kernel(1, 2, affinity="ClientIP")
    theirs.sticky = True
    for found in walked(theirs.rules)[:1]:
        for one in found.learnt:
            theirs.rules.sets[one.there].elements[one.key] = one.data
    assert agree(ours, theirs)


def led(where: int) -> list[str]:
    """What differs where traffic has taught the kernel to lead clients there, and somebody has taken the rule away that hides them."""
    ours, theirs = kernel(1, 2, affinity="ClientIP"), kernel(1, 2, affinity="ClientIP")
    learnt = walked(theirs.rules)[0].learnt
    for one in (one for one in learnt if one.there == "affinity"):
        assert isinstance(one.data, bytes)
        theirs.rules.sets[one.there].elements[one.key] = ip_address(pod(where)).packed + one.data[4:]
    theirs.rules.chains["hide"].rules.clear()
    found = walked(theirs.rules)
    return nftcompare.differences(ours.rules, walked(ours.rules), theirs.rules, found, ("affinity",))


def test_what_traffic_taught_is_named_only_where_it_leads_wrong() -> None:
    assert not any(one.startswith("affinity") for one in led(1))
    assert any(one.startswith("affinity holds ") for one in led(3))


def without_frontend(theirs: Kernel) -> None:
    theirs.rules.sets["frontends"].elements.clear()


def without_slot(theirs: Kernel) -> None:
    elements = theirs.rules.sets["endpoints"].elements
    del elements[min(elements)]


def with_a_guard(theirs: Kernel) -> None:
    rule = instructions.read(b"".join((x.IP_SADDR.into(), x.cmp(ip_address(pod(20)).packed), x.verdict(DROP))))
    theirs.rules.chains["guard-pre"].rules.insert(1, rule)


def without_a_rule(theirs: Kernel) -> None:
    theirs.rules.chains["nat-pre"].rules.clear()


def without_a_chain(theirs: Kernel) -> None:
    del theirs.rules.chains["nat-pre"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without_frontend, f"frontends lacks {FRONTEND}"),
        (without_slot, "endpoints lacks "),
        (with_a_guard, f"chain guard-pre has a rule that is not ours, its 2.: its source is {pod(20)}: drop it"),
        (without_a_rule, "chain nat-pre lacks our rule 1: jump to services"),
        (without_a_chain, "there is no chain nat-pre"),
    ],
)
def test_what_somebody_did_to_it_is_named(harm: Callable[[Kernel], None], said: str) -> None:
    ours, theirs = kernel(1, 2), kernel(1, 2)
    harm(theirs)
    assert not agree(ours, theirs)
    assert told(ours, theirs)[0].startswith(said)


def test_what_is_there_and_should_not_be_is_named() -> None:
    ours, theirs = Kernel(), kernel(1, 2)
    assert not agree(ours, theirs)
    assert any(one.startswith(f"frontends holds {FRONTEND} → ") for one in told(ours, theirs))


def test_endpoints_that_are_others_differ_though_every_element_is_there() -> None:
    ours, theirs = kernel(1, 2), kernel(1, 3)
    assert not agree(ours, theirs)
    assert told(ours, theirs) == []


def test_a_stranger_and_a_pod_are_two_packets() -> None:
    ours = kernel(1)
    there = Sent(ip_address(OUTSIDE), PACKET.destination, 6, 8080, link="veth1")
    assert not nftcompare.same(walked(ours.rules), list(fates(ours.rules, there, is_local)))
