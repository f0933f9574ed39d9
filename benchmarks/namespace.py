"""A node and its pods in network namespaces: how long each takes to connect. Figures of docs/decisions/0008-namespaces.md.

In a process with a network namespace and mounts of its own, which plays the machine; only root can make that one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import Figure
from pierhead.dataplane.netlink import Netlink
from pierhead.node import netns, wiring
from pierhead.node.podnetwork import Apart
from pierhead.node.wiring import Side, Wiring
from pierhead.wire.netlink import Protocol

PODS = 200
MACHINE, NODE = "10.97.0.1", "10.97.0.2"
SERVICES, ADDRESSES = ip_network("10.96.0.0/16"), ip_network("10.244.0.0/16")


def run() -> Iterator[Figure]:
    if os.geteuid() != 0:
        print("namespace: not measured, only root can", file=sys.stderr)
        return
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.namespace"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    for figure, seconds in json.loads(done.stdout):
        yield Figure(figure, round(seconds * 1e3, 2), "ms")


def measure(directory: Path) -> list[tuple[str, float]]:
    """Seconds."""
    plan = Wiring("ph-bench", (Side(ip_address(MACHINE), ip_address(NODE), (SERVICES,), (SERVICES, ADDRESSES)),))
    with Netlink.open(Protocol.ROUTE) as machine:
        begun = perf_counter()
        node = netns.make(directory / "node")
        made = perf_counter()
        wiring.lay(machine, node, plan)
        laid = perf_counter()
        network = Apart(node, [NODE], directory / "pods")
        attached = [_timed(partial(network.attach, f"uid-{n}", [str(ADDRESSES[n + 1])])) for n in range(PODS)]
        detached = [_timed(partial(network.detach, f"uid-{n}")) for n in range(PODS)]
        network.close()
        wiring.remove(machine, plan.link)
        netns.remove(directory / "node")
    return [
        ("a node's namespace", made - begun),
        ("its link and routes", laid - made),
        ("a pod attached, median of 200", median(attached)),
        ("a pod detached, median of 200", median(detached)),
    ]


def _timed(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as found:
        print(json.dumps(measure(Path(found))))
