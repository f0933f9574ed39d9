"""A node and its pods in namespaces, made in a process that has a namespace and mounts of its own, which plays the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from namespaces import Namespace

SETUP = """
import sys
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from subprocess import run
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import PierheadError
from pierhead.node import netns, wiring
from pierhead.node.podnetwork import Apart
from pierhead.node.wiring import Side, Wiring
from pierhead.wire import links, routes
from pierhead.wire.netlink import Protocol

directory, family, six = Path(sys.argv[1]), sys.argv[2], sys.argv[2] == "6"
machine = Netlink.open(Protocol.ROUTE)
ends = ("fd00:97::1", "fd00:97::2") if six else ("10.97.0.1", "10.97.0.2")
services, pods = map(ip_network, ("fd00:96::/112", "fd00:244::/112") if six else ("10.96.0.0/16", "10.244.0.0/16"))
plan = Wiring("ph-test", (Side(*map(ip_address, ends), (services,), (services, pods)),))
first, second = str(pods[1]), str(pods[2])
elsewhere = ip_network("fd00:5::/112" if six else "10.5.0.0/16")
other = Wiring("ph-test", (Side(*map(ip_address, ends), (pods,), (pods,), (elsewhere,)),))

def names():
    return [link.name for link in map(links.read, machine.request(links.dump()))]

def node():
    made = netns.make(directory / "node")
    wiring.lay(machine, made, plan)
    return made

def reaches(prefix, address):
    connect = f"import socket; socket.create_connection(({address!r}, 7), timeout=5)"
    return run([*prefix, sys.executable, "-c", connect], check=False).returncode == 0
"""


def play(namespace: Namespace, directory: Path, script: str, family: str) -> None:
    command = [*namespace.prefix, "unshare", "--mount", sys.executable, "-c", SETUP + script, str(directory), family]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


FAMILIES = pytest.mark.parametrize("family", ["4", "6"])


@FAMILIES
def test_pods_reach_each_other_and_the_machine_reaches_them(namespace: Namespace, tmp_path: Path, family: str) -> None:
    script = """
import subprocess
network = Apart(node(), ends[1:], directory / "pods")
prefix = {address: network.attach(f"uid-{address}", [address]) for address in (first, second)}
assert network.attach(f"uid-{first}", [first]) == prefix[first]
serve = f"import socket; s = socket.create_server(('', 7), family={10 if six else 2}); print('up', flush=True); s.accept(); s.accept()"
server = subprocess.Popen([*prefix[second], sys.executable, "-c", serve], stdout=subprocess.PIPE)
assert server.stdout.readline() == b"up\\n"
with server:
    try:
        assert reaches(prefix[first], second)
        assert reaches((), second)
    finally:
        server.kill()
"""
    play(namespace, tmp_path, script, family)


def test_low_ports_are_nobodys_privilege_in_a_pod(namespace: Namespace, tmp_path: Path) -> None:
    script = """
from subprocess import check_output
network = Apart(node(), ends[1:], directory / "pods")
lowest = check_output([*network.attach("uid", [first]), "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"])
assert lowest == b"0\\n", lowest
"""
    play(namespace, tmp_path, script, "4")


@FAMILIES
def test_the_address_of_a_pod_that_went_is_another_s_at_once(namespace: Namespace, tmp_path: Path, family: str) -> None:
    script = """
network = Apart(node(), ends[1:], directory / "pods")
for number in range(20):
    network.attach(f"uid-{number}", [first])
    network.detach(f"uid-{number}")
    network.detach(f"uid-{number}")
assert list((directory / "pods").iterdir()) == []
"""
    play(namespace, tmp_path, script, family)


@FAMILIES
def test_a_pod_that_a_killed_run_left_is_replaced_and_a_clean_end_leaves_nothing(
    namespace: Namespace, tmp_path: Path, family: str
) -> None:
    script = """
before = names()
made = node()
Apart(made, ends[1:], directory / "pods").attach("left", [first])
assert "ph-test" in names()
again = Apart(made, ends[1:], directory / "pods")
again.attach("left", [first])
again.close()
wiring.remove(machine, plan.link)
wiring.remove(machine, plan.link)
netns.remove(directory / "node")
assert names() == before
assert list(directory.iterdir()) == []
assert str(directory) not in Path("/proc/self/mounts").read_text()
"""
    play(namespace, tmp_path, script, family)


@FAMILIES
def test_what_is_right_of_a_link_stays_and_the_rest_is_mended(
    namespace: Namespace, tmp_path: Path, family: str
) -> None:
    """Told by the indexes: a link that was made anew has others."""
    script = """
def seen(kernel):
    there = [(link.index, link.name, link.up) for link in map(links.read, kernel.request(links.dump())) if link.name != "lo"]
    addresses = {a for a in map(routes.read_address, kernel.request(routes.dump_addresses())) if not a.interface.is_link_local}
    ours = {r for r in map(routes.read_route, kernel.request(routes.dump_routes(int(family)))) if r and r.protocol == routes.STATIC}
    return there, addresses, ours

made = node()
with made.open(Protocol.ROUTE) as inside:
    ends_before = seen(machine), seen(inside)
    index = ends_before[0][0][0][0]
    wiring.lay(machine, made, plan)
    assert (seen(machine), seen(inside)) == ends_before
    machine.perform([routes.delete(next(r for r in ends_before[0][2] if r.destination == services))])
    machine.perform([routes.add(routes.Route(elsewhere, index))])
    inside.perform([links.switch("up0", up=False)])
    assert (seen(machine), seen(inside)) != ends_before
    wiring.lay(machine, made, plan)
    assert (seen(machine), seen(inside)) == ends_before
    wiring.lay(machine, made, other)
    wiring.lay(machine, made, plan)
    assert (seen(machine), seen(inside)) == ends_before
    inside.perform([links.delete("up0")])
    wiring.lay(machine, made, plan)
    assert [part[1:] for part in seen(machine)[0]] == [part[1:] for part in ends_before[0][0]]
"""
    play(namespace, tmp_path, script, family)


@FAMILIES
def test_what_other_routes_lead_from_now_on_is_led_all_the_time(
    namespace: Namespace, tmp_path: Path, family: str
) -> None:
    script = """
class Noted(Netlink):
    done = []
    def perform(self, messages, **more):
        self.done += [each.subject for each in messages]
        super().perform(messages, **more)

made, halves = node(), tuple(services.subnets())
split = Wiring("ph-test", (Side(*map(ip_address, ends), halves, (*halves, pods)),))
with Noted.open(Protocol.ROUTE) as kernel:
    wiring.lay(kernel, made, split)
    come, gone = [kernel.done.index(str(routes.Route(half))) for half in halves], kernel.done.index(str(routes.Route(services)))
    assert max(come) < gone
    assert set(wiring.besides(kernel, other)) == set(halves)
    assert not wiring.besides(kernel, plan)
"""
    play(namespace, tmp_path, script, family)


@FAMILIES
def test_what_fails_half_way_leaves_nothing(namespace: Namespace, tmp_path: Path, family: str) -> None:
    script = """
before = names()
made = netns.make(directory / "node")
broken = Wiring("ph-test", (Side(*map(ip_address, ends), (services,), (services, services)),))
with suppress(PierheadError):
    wiring.lay(machine, made, broken)
    raise SystemExit("a route was made twice")
assert names() == before
"""
    play(namespace, tmp_path, script, family)


def test_ranges_that_the_machine_uses_are_named(namespace: Namespace, tmp_path: Path) -> None:
    script = """
run(["ip", "route", "add", "10.96.128.0/17", "dev", "lo"], check=True)
try:
    wiring.check(machine, plan)
except PierheadError as error:
    assert str(error) == "10.96.0.0/16 overlaps with this machine's route to 10.96.128.0/17 (lo)", error
else:
    raise SystemExit("nothing was said")
"""
    play(namespace, tmp_path, script, "4")


def test_a_pod_that_cannot_be_detached_keeps_no_other_one_and_its_failure_is_one_line(
    namespace: Namespace, tmp_path: Path
) -> None:
    script = """
import logging
from pierhead.errors import KernelError

said = []

class Said(logging.Handler):
    def emit(self, record):
        said.append((record.getMessage(), record.exc_info))

class Stubborn(Netlink):
    broken = False
    def perform(self, messages, **more):
        super().perform(messages, **more)
        if self.broken:
            raise KernelError(12, str(len(list((directory / "pods").iterdir()))), "no memory")

made = node()
made.open = lambda protocol: made.within(lambda: Stubborn.open(protocol))
network = Apart(made, ends[1:], directory / "pods")
for number, address in enumerate((first, second, str(pods[3]))):
    network.attach(f"uid-{number}", [address])
Stubborn.broken = True
logging.getLogger().addHandler(Said())
network.close()
assert said == [("pods whose network was not taken away in good order: 3 (3: no memory)", None)], said
assert not (directory / "pods").exists()
assert str(directory / "pods") not in Path("/proc/self/mounts").read_text()
"""
    play(namespace, tmp_path, script, "4")


POOLS = """
from msgspec.structs import replace
from pierhead.region.poolroutes import PoolRoutes

first, second = map(ip_network, ("10.98.0.0/28", "10.99.0.0/28"))
made = node()
(side,) = plan.sides

def with_these(found):
    return replace(plan, sides=(replace(side, own=(*side.own, *found), beyond=(*side.beyond, *found)),))

pools = PoolRoutes(machine, made, with_these)

def led():
    there = (found.destination for found in map(routes.read_route, machine.request(routes.dump_routes(4))) if found)
    return {found for found in there if found in (first, second)}

def route(verb, range):
    run(["ip", "route", verb, range, "dev", "lo"], check=True)
"""


def test_a_route_of_the_machine_keeps_away_the_floating_ips_that_it_meets_and_no_others(
    namespace: Namespace, tmp_path: Path
) -> None:
    script = """
route("add", "10.96.128.0/17")
route("add", "10.99.0.8/29")
assert not pools.lay((first, second))
assert led() == {first}
route("del", "10.99.0.8/29")
assert pools.lay((first, second))
assert led() == {first, second}
"""
    play(namespace, tmp_path, POOLS + script, "4")


def test_what_the_region_uses_itself_is_led_nowhere_as_a_floating_ip(namespace: Namespace, tmp_path: Path) -> None:
    """The machine's end of the link is where pods find the API. The API takes no such pool; laying does not rely on it."""
    script = """
def own():
    with made.open(Protocol.ROUTE) as inside:
        there = filter(None, map(routes.read_route, inside.request(routes.dump_routes(4))))
        return {str(found.destination) for found in there if found.kind is routes.RouteKind.LOCAL and found.protocol == routes.STATIC}

before = own()
inner = tuple(map(ip_network, ("10.97.0.1/32", "10.97.0.0/30", "10.96.7.0/24", "10.244.0.9/32")))
assert not pools.lay((first, *inner))
assert led() == {first}
assert own() == before | {str(first)}, own()
assert pools.lay((first,))
"""
    play(namespace, tmp_path, POOLS + script, "4")


def test_routes_to_floating_ips_that_could_not_be_laid_are_laid_the_next_time(
    namespace: Namespace, tmp_path: Path
) -> None:
    script = """
assert pools.lay((first,))
netns.remove(made.path)
assert not pools.lay((second,))
node()
assert pools.lay((first,))
assert led() == {first}
"""
    play(namespace, tmp_path, POOLS + script, "4")
