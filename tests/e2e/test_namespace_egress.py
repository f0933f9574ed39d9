"""Mode ``namespace`` and the world beyond the machine: pods that go out as the machine, and firewalls that stand in between."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from e2e.backends import eventually, pod
from e2e.test_namespace import APP, AS_ROOT, OPTIONS, TOOLS, Machine
from e2e.test_untouched import seen
from netns import neighbour, network_namespace
from running import Region, running, start

WORLD, WORLD_6 = "192.0.2.99", "2001:db8::99"
PEER = """
import socket
with socket.create_server(("{}", 7), family={}, dualstack_ipv6={}) as server:
    print("up", flush=True)
    while True:
        client, address = server.accept()
        client.sendall(address[0].encode())
"""
"""Tells each client its own address."""
FORWARD = "echo 1 >/proc/sys/net/ipv4/ip_forward"
FORWARD_6 = "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
SIX = "ip address add 2001:db8::{}/64 dev {} nodad"
DOCKER = """
table ip filter {
    chain DOCKER-USER { }
    chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}
"""
FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority 10; policy accept;
        ct state { established, related } accept
        iifname "lo" accept
        reject with icmpx admin-prohibited
    }
}
"""
"""What there is of them before they know of the link."""


@contextmanager
def world(enter: Sequence[str], *, six: bool = False) -> Iterator[tuple[str, ...]]:
    """A host beside the machine that knows no way to nodes and pods, and what leads to it; the machine forwards."""
    with neighbour(tuple(enter)) as beside:
        subprocess.run([*enter, "sh", "-c", FORWARD], check=True)
        if six:
            for side, command in (
                (enter, SIX.format("10", "wire")),
                (beside, SIX.format("99", "end")),
                (enter, FORWARD_6),
            ):
                subprocess.run([*side, "sh", "-c", command], check=True)
        with subprocess.Popen(
            [*beside, sys.executable, "-c", PEER.format("::" if six else "", 10 if six else 2, six)],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout
            assert server.stdout.readline() == "up\n"
            try:
                yield beside
            finally:
                server.kill()


def with_a_pod(region: Region, enter: tuple[str, ...]) -> Machine:
    here = Machine(region, enter)
    here.apply(pod("p", 9376, APP))
    region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
    return here


def is_told(here: Machine, address: str, sender: str) -> bool:
    return here.ask(address, 7, by=here.node) == sender


def nft(enter: Sequence[str], text: str) -> None:
    subprocess.run([*enter, "nft", "-f", "-"], input=text, text=True, check=True, env=TOOLS)


@AS_ROOT
def test_pods_go_out_as_the_machine_where_that_is_asked_for(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, world(enter):
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            here = with_a_pod(region, enter)
            assert here.ask(WORLD, 7, by=here.pod("p")) == "OSError"
        assert seen(enter) == before
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as region:
            here = with_a_pod(region, enter)
            assert here.ask(WORLD, 7, by=here.pod("p")) == "192.0.2.10"
            assert here.ask("169.254.169.254", 80, by=here.pod("p")) == "OSError"
            (line,) = (line for line in region.lines if line.startswith("egress "))
            table = line.split()[2]
            listed = subprocess.run(
                [*enter, "nft", "list", "ruleset"], capture_output=True, text=True, env=TOOLS, check=True
            )
            assert f"table ip {table} {{" in listed.stdout
            region.process.kill()
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as again:
            here = with_a_pod(again, enter)
            assert here.ask(WORLD, 7, by=here.pod("p")) == "192.0.2.10"
        assert seen(enter) == before


@AS_ROOT
def test_without_it_they_reach_no_host_that_the_node_reaches(tmp_path: Path) -> None:
    """One beside the machine, that knows the way back to both: Services have endpoints there."""
    both = ("--service-cidr", "10.96.0.0/16,fd00:10:96::/112")
    ask_whom = (
        "ip address add fe80::10/64 dev wire nodad"  # without one, nobody is asked for who is beyond this machine
    )
    ways = "ip route add 10.0.0.0/8 via 192.0.2.10 && ip -6 route add fd00:10::/32 via 2001:db8::10"
    with network_namespace(mapped=False) as enter, world(enter, six=True) as beside:
        subprocess.run([*beside, "sh", "-c", ways], check=True)
        subprocess.run([*enter, "sh", "-c", ask_whom], check=True)
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, *both, enter=enter) as region:
            here = with_a_pod(region, enter)
            for address, node in ((WORLD, "::ffff:10.97.0.2"), (WORLD_6, "fd00:10:97::2")):
                eventually(partial(is_told, here, address, node), "the node is answered")
                assert here.ask(address, 7, by=here.pod("p")) in ("OSError", "PermissionError")
        assert seen(enter) == before


@AS_ROOT
def test_they_do_in_both_families(tmp_path: Path) -> None:
    both = ("--service-cidr", "10.96.0.0/16,fd00:10:96::/112", "--egress")
    with network_namespace(mapped=False) as enter, world(enter, six=True):
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, *both, enter=enter) as region:
            here = with_a_pod(region, enter)
            assert here.ask(WORLD, 7, by=here.pod("p")) == "::ffff:192.0.2.10"
            eventually(lambda: here.ask(WORLD_6, 7, by=here.pod("p")) == "2001:db8::10", "an answer in IPv6")
        assert seen(enter) == before


@AS_ROOT
@pytest.mark.parametrize("then", [OPTIONS, ("--network", "loopback")], ids=["in the same mode", "in another one"])
def test_what_a_killed_region_left_of_it_goes_with_a_start_that_does_not_want_it(
    tmp_path: Path, then: Sequence[str]
) -> None:
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "sh", "-c", FORWARD], check=True)
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as region:
            region.process.kill()
        with running(tmp_path / "d", *then, enter=enter):
            assert "nat hook postrouting" not in "".join(seen(enter))
        assert seen(enter) == before


@AS_ROOT
def test_who_loads_the_machines_own_rules_anew_does_not_open_the_border(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, running(tmp_path / "d", *OPTIONS, enter=enter) as region:
        before = seen(enter)
        nft(enter, "flush ruleset\ntable inet own { chain c { type filter hook input priority 0; policy accept; }; }")
        nft(enter, "delete table inet own")
        eventually(lambda: seen(enter) == before, "the border is laid again")
        assert region.process.stdout
        told = next(line for line in region.process.stdout if "is laid again" in line)
        assert told.endswith("which keeps others out, is laid again: nft changed it\n")


@AS_ROOT
def test_whether_the_machine_forwards_is_its_owners_business(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        with pytest.raises(
            AssertionError, match=r"ip_forward is 0\n  if it may, write: sysctl -w net.ipv4.ip_forward=1"
        ):
            start(tmp_path / "d", *OPTIONS, "--egress", enter=enter)
        assert seen(enter) == before


@AS_ROOT
def test_a_firewall_between_pods_and_the_world_is_named_with_the_line_to_type(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, world(enter):
        nft(enter, DOCKER)
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as region:
            here = with_a_pod(region, enter)
            (told,) = (line for line in region.lines if "what pods send to the world" in line)
            link = told.split()[-3]
            assert "chain FORWARD of table ip filter may drop it: iptables -I DOCKER-USER -i ph-" in told
            assert told.endswith(f"&& iptables -I DOCKER-USER -o {link} -j ACCEPT")
            assert here.ask(WORLD, 7, by=here.pod("p")) == "TimeoutError"
        nft(
            enter,
            f"add rule ip filter DOCKER-USER iifname {link} accept\nadd rule ip filter DOCKER-USER oifname {link} accept",
        )
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as region:
            here = with_a_pod(region, enter)
            assert not [line for line in region.lines if "what pods send" in line]
            assert here.ask(WORLD, 7, by=here.pod("p")) == "192.0.2.10"


@AS_ROOT
def test_tables_of_the_machine_that_no_packet_of_ours_meets_are_nobodys_business(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "sh", "-c", FORWARD], check=True)
        nft(enter, "table netdev x { chain c { type filter hook ingress device lo priority 0; policy accept; }; }")
        nft(enter, "table inet y { chain c { type filter hook ingress device lo priority 0; policy accept; }; }")
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            assert not [line for line in region.lines if "what " in line]
            here = with_a_pod(region, enter)
            address = region.kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIP}")
            eventually(lambda: here.ask(address, 9376).startswith("p"), "the machine reaches the pod")
        assert seen(enter) == before


@AS_ROOT
@pytest.mark.parametrize(
    ("which", "told"), [("", ["lost, and no firewall is seen that drops it: nft list ruleset"]), ("numgen inc mod 2 == 0", [])],
    ids=["each", "every other"],
)  # fmt: skip
def test_who_drops_where_nobody_would_look_is_not_guessed_and_one_lost_packet_is_no_firewall(
    tmp_path: Path, which: str, told: list[str]
) -> None:
    rule = f"ip daddr 10.97.0.1 tcp flags & (syn | ack) == syn {which} drop"
    with network_namespace(mapped=False) as enter:
        nft(enter, f"table ip odd {{ chain c {{ type filter hook input priority 0; policy accept; {rule}; }}; }}")
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            found = [line.partition("and so to the API: ")[2] for line in region.lines if "what pods send" in line]
    assert [line.partition(";")[0] for line in found] == told


@AS_ROOT
def test_a_firewall_between_pods_and_the_machine_is_tried_and_named(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        nft(enter, FIREWALLD)
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            here = with_a_pod(region, enter)
            (told,) = (line for line in region.lines if "and so to the API" in line)
            assert (
                "chain filter_INPUT of table inet firewalld may drop it: firewall-cmd --zone=trusted --add-interface=ph-"
                in told
            )
            address = region.kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIP}")
            eventually(lambda: here.ask(address, 9376).startswith("p"), "the machine reaches the pod")
        assert seen(enter) == before


@AS_ROOT
def test_a_firewall_that_lets_in_who_goes_to_the_api_is_none(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        rules = "iif lo accept; ct state established accept; tcp dport 6443 accept"
        nft(enter, f"table inet host {{ chain c {{ type filter hook input priority 0; policy drop; {rules}; }}; }}")
        with running(tmp_path / "d", *OPTIONS, "--listen", "127.0.0.1:6443", enter=enter) as region:
            assert not [line for line in region.lines if "what pods send" in line]


@AS_ROOT
def test_each_firewall_is_named_with_the_line_that_opens_it(tmp_path: Path) -> None:
    hooks = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; policy drop; }}; " for hook in ("input", "forward")
    )
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "sh", "-c", FORWARD], check=True)
        nft(enter, f"table inet host {{ {hooks} }}")
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            told = [line for line in region.lines if "may drop it" in line]
        assert [line.partition(":")[0].partition("what ")[2] for line in told] == [
            "hosts outside send to floating IPs and node ports", "pods send to this machine, and so to the API",
        ]  # fmt: skip
        for line in told:
            subprocess.run([*enter, "sh", "-c", line.partition("may drop it: ")[2]], check=True)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            assert not [line for line in region.lines if "may drop it" in line]
