"""From a write at the API to the kernel's commit of it. Promised: p99 at most 30 ms.

An EndpointSlice of one of 100 Services is replaced over a connection that is open; the moment before it is sent and the kernel's own
notice of the commit are read from one clock. ``up`` runs in network mode ``namespace``, which only root has, in a namespace that plays
the machine.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import Figure
from benchmarks.namespaces import apart, ip, tell
from benchmarks.region import Region, running
from pierhead.dataplane.netlink import DATAGRAM, NETLINK_ADD_MEMBERSHIP, SOL_NETLINK
from pierhead.dataplane.ruleset_watch import NFNLGRP_NFTABLES
from pierhead.node.netns import NetworkNamespace
from pierhead.wire.netlink import Message, Protocol, parse
from pierhead.wire.nftables import Kind

SERVICES, WRITES = 100, 500
NAMESPACE = "/api/v1/namespaces/default"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def run() -> Iterator[Figure]:
    if os.geteuid() != 0:
        print("programmed: not measured, only root can", file=sys.stderr)
        return
    yield from apart("benchmarks.programmed")


def measure() -> None:
    ip("link set lo up")
    with running("--network", "namespace") as region:
        for number in range(SERVICES):
            region.call("POST", f"{NAMESPACE}/services", service(number))
            region.call("POST", SLICES, slice_of(number, 1))
        commits = listen(region)
        kept = http.client.HTTPSConnection(
            "127.0.0.1", region.port, context=ssl.create_default_context(cafile=region.ca)
        )
        time.sleep(0.5)
        delays = sorted(sample(kept, region.token, commits, number) for number in range(WRITES))
    for name, percent in (("p50", 50), ("p99", 99)):
        tell(f"API write to programmed, {name}", round(delays[WRITES * percent // 100] * 1e3, 2), "ms")
    tell("API write to programmed, fastest", round(delays[0] * 1e3, 2), "ms")


def listen(region: Region) -> socket.socket:
    """Hears of every commit in the node's namespace."""
    node = NetworkNamespace(region.directory / "network" / "node")
    found = node.within(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, Protocol.NETFILTER))
    found.bind((0, 0))
    found.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    found.settimeout(10)
    return found


def sample(kept: http.client.HTTPSConnection, token: str, commits: socket.socket, number: int) -> float:
    body = slice_of(number % SERVICES, 2 + number // SERVICES % 2)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = f"{SLICES}/{body['metadata']['name']}"
    encoded = json.dumps(body).encode()
    forget(commits)
    begun = time.monotonic()
    kept.request("PUT", path, encoded, headers)
    while not committed(commits.recv(DATAGRAM)):
        pass
    delay = time.monotonic() - begun
    with kept.getresponse() as answer:
        answer.read()
        assert answer.status == 200, answer.status
    time.sleep(0.005)
    return delay


def forget(commits: socket.socket) -> None:
    """What was heard of earlier writes."""
    while select.select([commits], [], [], 0)[0]:
        commits.recv(DATAGRAM)


def committed(notices: bytes) -> bool:
    return any(isinstance(found, Message) and found.kind == Kind.NEWGEN for _, found in parse(notices))


def service(number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"s-{number}"}, "spec": {"ports": [{"name": "http", "port": 80}]}}


def slice_of(number: int, last: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"s-{number}-0", "labels": {"kubernetes.io/service-name": f"s-{number}"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": [f"10.244.{number}.{last}"]}],
    }


if __name__ == "__main__":
    measure()
