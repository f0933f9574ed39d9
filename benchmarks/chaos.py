"""Traffic while all that is ours changes and dies. Promised: of 50,000 new connections and 200 kept ones none fails during 10,000
changes of endpoints, a rewrite of all rules in the kernel, and ``kill -9`` of every process of ours with its successor's start.

The backends are external pods, on a host beside the machine: pods of ours would end with us. Endpoints change as users change them,
through the API: pods gain and lose the label that the Service selects, while four keep it. Then the same death once more, over
10,000 Services of 10 hand-written endpoints each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from benchmarks import Figure, traffic
from benchmarks.changes import Changes
from benchmarks.load import api
from benchmarks.namespaces import apart, ip, tell
from benchmarks.pods import NAMESPACE
from benchmarks.region import Region, free_port, ready, start, stop
from benchmarks.ways import SBIN
from benchmarks.ways import ip as ip_at
from pierhead.dataplane.netlink import Netlink
from pierhead.node import netns
from pierhead.node.netns import NetworkNamespace
from pierhead.wire import links
from pierhead.wire.links import End
from pierhead.wire.listing import ask_generation, dump_sets, read_generation, read_set
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import Family, Table

PORT, TARGET = 80, 8080
STAYING, COMING = 4, 60
"""External pods: endpoints all the time, and now and then."""
ELSEWHERE = "198.18.0.0/16"
ENDPOINTS = 10
LONG, PATIENCE = 200.0, 60.0
FLOATING = "10.98.0.1"
OURS = "/apis/pierhead.dev/v1"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
STRANGER = "stranger"
AGAIN = "killed and started again, to programmed"
TABLE = Table(Family.IP, "pierhead")


class Extent(NamedTuple):
    """How much of it all."""

    new: int
    """Connections, at least."""
    kept: int
    changes: int
    services: int
    """With endpoints by hand."""


FULL = Extent(new=50_000, kept=200, changes=10_000, services=10_000)


Report: TypeAlias = Sequence[traffic.Traffic]
"""To each address."""


def run(extent: Extent = FULL) -> Iterator[Figure]:
    if os.geteuid() != 0:
        print("chaos: not measured, only root can", file=sys.stderr)
        return
    yield from apart("benchmarks.chaos", *map(str, extent))


def measure(directory: Path, extent: Extent) -> None:
    with beside(directory):
        port = free_port()
        region = ready(up(directory, port), directory / "region", port)
        with asking(prepare(region), extent) as ended:
            region = change(region, extent.changes)
            fill(region, extent.services)
            name = f"{AGAIN}, at {extent.services:,} Services of {ENDPOINTS} endpoints"
            region = die(region, extent.services * ENDPOINTS + STAYING, name)
            report(extent.kept, *ended())
        stop(region.process)


@contextmanager
def asking(addresses: Sequence[str], extent: Extent) -> Iterator[Callable[[], tuple[Report, Report]]]:
    """New and kept connections to all of these, until what this gives is called."""
    share = len(addresses)
    with ExitStack() as stack:

        def going(
            kind: traffic.Kind, *, pause: int, clients: int, least: int = 0
        ) -> list[Callable[[], traffic.Traffic]]:
            return [
                stack.enter_context(
                    traffic.going(
                        kind, address, PORT, pause=pause, clients=clients // share, least=least // share, seconds=LONG
                    )
                )
                for address in addresses
            ]

        new = going("new", pause=5_000, clients=16, least=extent.new)
        kept = going("kept", pause=100_000, clients=extent.kept)
        yield lambda: ([ended() for ended in new], [ended() for ended in kept])


def change(region: Region, changes: int) -> Region:
    """The region after the endpoints of its Service have changed so often, and what else happened meanwhile."""
    begun = time.monotonic()
    with Changes(region, COMING) as made:
        made.reach(changes * 3 // 10)
        tell("all rules written again after somebody changed some", rewritten(region), "s")
        made.reach(changes * 6 // 10)
        region = die(region, STAYING, AGAIN)
        made.reach(changes)
    tell("changes of endpoints", made.seen, "1")
    tell("changes of endpoints a second", round(made.seen / (time.monotonic() - begun)), "1/s")
    return region


@contextmanager
def beside(directory: Path) -> Iterator[None]:
    """A host that has every address of ELSEWHERE and answers at each; this namespace is the machine and leads there."""
    there = netns.make(directory / "beside")
    ip("link set lo up")
    with Netlink.open(Protocol.ROUTE) as route, there.opened() as descriptor:
        route.perform([links.add_veth(End("wire"), End("wire", namespace=descriptor))])
    ip("address add 192.0.2.10/24 dev wire", "link set wire up", f"route add {ELSEWHERE} via 192.0.2.99")
    ip_at(
        there,
        "address add 192.0.2.99/24 dev wire",
        "link set wire up",
        "route add default via 192.0.2.10",
        f"route add local {ELSEWHERE} dev lo",
    )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with traffic.serving("0.0.0.0", TARGET, there.prefix):
        try:
            yield
        finally:
            netns.remove(there.path)


def up(directory: Path, port: int) -> subprocess.Popen[str]:
    return start(directory / "region", port, "--network", "namespace", "--endpoint-cidrs", ELSEWHERE)


def prepare(region: Region) -> Sequence[str]:
    """Pods and their Service, which answers: its cluster IP, and its floating IP, which is of a pool that came later."""
    for number in range(STAYING + COMING):
        region.call("POST", f"{NAMESPACE}/pods", external(number))
    region.call(
        "POST",
        f"{OURS}/floatingippools",
        {"metadata": {"name": "later"}, "spec": {"ranges": [f"{FLOATING}-10.98.0.14"]}},
    )
    region.call("POST", f"{OURS}/floatingips", {"metadata": {"name": "web"}, "spec": {"address": FLOATING}})
    ports = [{"port": PORT, "targetPort": TARGET}]
    spec = {"type": "LoadBalancer", "loadBalancerIP": FLOATING, "selector": {"app": "web"}, "ports": ports}
    made = region.call("POST", f"{NAMESPACE}/services", {"metadata": {"name": "web"}, "spec": spec})
    addresses = (made["spec"]["clusterIP"], FLOATING)
    deadline = time.monotonic() + PATIENCE
    while held(region) < STAYING or not all(map(answers, addresses)):
        if time.monotonic() > deadline:
            raise RuntimeError("the Service does not answer")
    return addresses


def answers(address: str) -> bool:
    return traffic.ask("connect", address, PORT, seconds=0.05).done > 0


def external(number: int) -> dict[str, Any]:
    """The first ones come and go."""
    labels = {"app": "web"} if number >= COMING else {}
    annotations = {"pierhead.dev/address": f"198.18.1.{number + 1}"}
    container = {"name": "elsewhere", "image": "host", "ports": [{"containerPort": TARGET}]}
    metadata = {"name": f"pod-{number}", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "spec": {"runtimeClassName": "external", "containers": [container]}}


def node(region: Region) -> NetworkNamespace:
    return NetworkNamespace(region.directory / "network" / "node")


def rewritten(region: Region) -> float:
    """Seconds until a chain is gone that somebody else puts into our table."""
    nft = [*node(region).prefix, "nft"]
    begun = time.monotonic()
    subprocess.run([*nft, f"add chain ip pierhead {STRANGER}"], check=True, env=SBIN)
    while STRANGER.encode() in subprocess.check_output([*nft, "list", "chains"], env=SBIN):
        if time.monotonic() > begun + PATIENCE:
            raise RuntimeError("a stranger's chain stays")
    return round(time.monotonic() - begun, 3)


def die(region: Region, least: int, name: str) -> Region:
    """Kills it, starts it again and waits for the first commit of the successor, which is of everything, and so of so many endpoints
    at least."""
    with node(region).open(Protocol.NETFILTER) as kernel:
        region.process.kill()
        region.process.wait()
        before = read_generation(kernel.request(ask_generation())[0]).number
        begun = time.monotonic()
        process = up(region.directory.parent, region.port)
        while read_generation(kernel.request(ask_generation())[0]).number == before:
            if time.monotonic() > begun + PATIENCE:
                raise RuntimeError("the successor programs nothing")
            time.sleep(0.001)
        tell(name, round(time.monotonic() - begun, 3), "s")
        tell(f"{name}, processor time", used(process), "s")
    if held(region) < least:
        raise RuntimeError(f"the successor holds {held(region)} endpoints, not {least}")
    return ready(process, region.directory, region.port)


def used(process: subprocess.Popen[str]) -> float:
    """Seconds of the processor so far."""
    spent = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def held(region: Region) -> int:
    """How many endpoints the kernel has."""
    with node(region).open(Protocol.NETFILTER) as kernel:
        sets = map(read_set, kernel.request(dump_sets(TABLE)))
        return next((found.count or 0 for found in sets if found.name == "endpoints"), 0)


def fill(region: Region, services: int) -> None:
    """Many Services, and their slices, of endpoints that nobody asks."""
    ports = [{"name": "http", "port": PORT}]
    service = {"metadata": {"name": "s-{n}"}, "spec": {"ports": ports}}
    by_hand = {
        "metadata": {"name": "s-{n}", "labels": {"kubernetes.io/service-name": "s-{n}"}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [f"198.18.2.{number + 1}"]} for number in range(ENDPOINTS)],
    }
    for path, body in ((f"{NAMESPACE}/services", service), (SLICES, by_hand)):
        api(region, "POST", path, requests=services, connections=16, body=body)
    deadline = time.monotonic() + PATIENCE
    while held(region) < services * ENDPOINTS:
        if time.monotonic() > deadline:
            raise RuntimeError("not everything is programmed")
        time.sleep(0.05)


def report(connections: int, new: Report, kept: Report) -> None:
    tell("new connections made", sum(each.done for each in new), "1")
    tell("new connections failed", sum(each.failures for each in new), "1")
    tell("new connections, the longest until its answer", slowest(new), "ms")
    tell("kept connections", connections, "1")
    tell("requests answered over kept connections", sum(each.done for each in kept), "1")
    tell("requests failed over kept connections", sum(each.failures for each in kept), "1")
    tell("requests over kept connections, the longest until its answer", slowest(kept), "ms")


def slowest(found: Report) -> float:
    return round(max(each.longest for each in found) / 1e3, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as found:
        measure(Path(found), Extent(*map(int, sys.argv[1:])))
