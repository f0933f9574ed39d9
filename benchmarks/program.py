"""From a table to the kernel. Promised: 10,000 Services of 10 endpoints committed within 0.3 s (1,000 of 250: 0.5 s, 50,000 of 2: 0.6 s) and
programmed within 2 s of "the informers have it all", in at most 150 MiB; a restart on a full table within 1.5 s without a lost
connection; one endpoint changed within 0.5 ms (p99) at 100 and at 10,000 Services alike.

All of it in a network namespace of its own. Afterwards ``nft`` counts what is there and 20 random Services are connected to. Times
are wall clock, which a busy machine stretches; so the least of the rounds and the processor's time stand beside each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import Figure, traffic
from benchmarks.namespaces import apart, ip, tell
from benchmarks.tables import (
    GROUND,
    PODS,
    PORT,
    SERVICES,
    TARGET,
    backends,
    cluster_ip,
    pod,
    port_key,
    table,
    write_lists,
)
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.forwarding.diff import SetBackends, whole
from pierhead.forwarding.nftlayout import Layout
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable
from pierhead.wire.netlink import Protocol
from pierhead.wire.nftables import delete

LOADS = ((10_000, 10, 5, "full-load"), (1_000, 250, 3, ""), (50_000, 2, 2, ""))
"""Services, endpoints of each, rounds, and a name where it is not made of these."""
CHANGES = 1_000
ASKED = 20
PAUSE = 500
"""Microseconds between connections while a proxy starts again."""


def run() -> Iterator[Figure]:
    return apart("benchmarks.program")


async def measure(directory: Path) -> None:
    ip("link set lo up", f"route add local {PODS} dev lo", f"route add local {SERVICES} dev lo")
    for services, endpoints, rounds, name in LOADS:
        await loads(services, endpoints, rounds, name or f"{services:,} Services of {endpoints} endpoints")
    for services in (100, 10_000):
        await changes(services)
    roles(directory)
    count(10_000, 10)
    connect(10_000, 10)


async def loads(services: int, endpoints: int, rounds: int, name: str) -> None:
    """From a table to committed, where nothing was."""
    given = table(services, endpoints)
    walls, used = zip(*[await load(given) for _ in range(rounds)], strict=True)
    tell(name, round(median(walls), 3), "s")
    tell(f"{name}, least of {rounds}", round(min(walls), 3), "s")
    tell(f"{name}, processor time, median", round(median(used), 3), "s")


async def load(given: ForwardingTable) -> tuple[float, float]:
    dataplane = kernel()
    gc.collect()
    begun, used = time.perf_counter(), time.process_time()
    refused = await dataplane.commit(whole(given))
    found = time.perf_counter() - begun, time.process_time() - used
    assert not refused
    await dataplane.close()
    clear()
    return found


async def changes(services: int) -> None:
    """One endpoint of one Service goes and another comes, or the number of endpoints changes: each is one commit."""
    dataplane = kernel()
    await dataplane.commit(whole(table(services, 10)))
    listening = asyncio.create_task(dataplane.disturbed())
    await asyncio.sleep(0)
    for size in (8, 9, 11):  # the first Service with so many endpoints costs a chain
        await dataplane.commit([SetBackends(port_key(0), some(0, size))])
    gc.collect()
    gc.freeze()
    chosen = [random.randrange(services) for _ in range(CHANGES)]
    walls, used = zip(*[await change(dataplane, each, number) for number, each in enumerate(chosen)], strict=True)
    at = f"at {services:,} Services"
    for what, found in (("", walls), (", processor time", used)):
        tell(f"one endpoint changed {at}{what}, p50", milli(found, 50), "ms")
        tell(f"one endpoint changed {at}{what}, p99", milli(found, 99), "ms")
    begun = time.perf_counter()
    await dataplane.commit([SetBackends(port_key(1), some(1, 12))])
    tell(f"a number of endpoints that no Service had {at}", milli([time.perf_counter() - begun], 50), "ms")
    gc.unfreeze()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await dataplane.close()
    clear()


async def change(dataplane: Nftables, service: int, number: int) -> tuple[float, float]:
    asked = [SetBackends(port_key(service), some(service, 9 + number % 3, number))]
    begun, used = time.perf_counter(), time.process_time()
    await dataplane.commit(asked)
    return time.perf_counter() - begun, time.process_time() - used


def some(service: int, size: int, number: int = 0) -> Backends:
    """The Service's endpoints but for the first, which is another one."""
    first, *others = backends(service, max(size, 10)).cluster[:size]
    found = tuple(sorted((*others, Endpoint(pod(4_000_000 + number), first.port))))
    return Backends(found, (), found)


def roles(directory: Path) -> None:
    """A proxy in a process of its own, on an empty kernel and on a full one, with somebody connecting all the time."""
    write_lists(directory, 10_000, 10)
    with traffic.serving("0.0.0.0", TARGET):
        first, _ = role(directory)
        with traffic.going("connect", cluster_ip(7), PORT, pause=PAUSE) as ended:
            second, started = role(directory)
            meanwhile = ended()
    tell("from 'the informers have it all' to programmed", round(first["programmed"] - first["synced"], 3), "s")
    tell("from 'the informers have it all' to programmed, processor time", round(first["processor"], 3), "s")
    tell(
        "restart on a full table, from 'the informers have it all' to programmed",
        round(second["programmed"] - second["synced"], 3),
        "s",
    )
    tell(
        "restart on a full table, from the start of the process to programmed",
        round(second["programmed"] - started, 3),
        "s",
    )
    tell("restart on a full table, processor time of the whole process", round(second["whole"], 3), "s")
    tell("connections made during the restart", meanwhile.done, "1")
    tell("connections failed during the restart", meanwhile.failures, "1")
    tell("RSS of the proxy role", round(first["rss"], 1), "MiB")
    tell("RSS of the proxy role, peak", round(first["peak"], 1), "MiB")


def role(directory: Path) -> tuple[dict[str, float], float]:
    """What it says, and when it began."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.proxyrole", str(directory)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout), begun


def count(services: int, endpoints: int) -> None:
    """``nft`` lists as many elements as there should be."""
    for name, expected in (("endpoints", services * endpoints), ("frontends", services)):
        command = ["nft", "list", "map", "ip", "pierhead", name]
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        listed = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PATH": path}
        )
        found = len(re.findall(r"[0-9a-f] : [0-9]", listed.stdout.partition("elements")[2]))
        if found != expected:
            raise RuntimeError(f"nft lists {found} elements of {name}, not {expected}")
        tell(f"elements of {name} that nft lists", found, "1")


def connect(services: int, endpoints: int) -> None:
    """Random Services lead to endpoints of their own."""
    with socket.create_server(("0.0.0.0", TARGET)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        for service in random.sample(range(services), ASKED):
            with socket.create_connection((cluster_ip(service), PORT), timeout=5) as found:
                reached = found.recv(100).decode()
            if reached not in {each.address for each in backends(service, endpoints).cluster}:
                raise RuntimeError(f"Service {service} led to {reached}")
    tell("random Services that lead to an endpoint of theirs", ASKED, "1")


def answer(server: socket.socket) -> None:
    """Tells each who connects which address he reached."""
    for _ in range(ASKED):
        found, _ = server.accept()
        with found:
            found.send(found.getsockname()[0].encode())


def kernel() -> Nftables:
    return Nftables([GROUND], Netlink.open(Protocol.NETFILTER), RulesetWatch.open())


def clear() -> None:
    layout = Layout(GROUND)
    with Netlink.open(Protocol.NETFILTER) as found:
        found.transact([delete(layout.table), *map(delete, layout.beside)])


def milli(found: Sequence[float], percent: int) -> float:
    return round(sorted(found)[len(found) * percent // 100] * 1e3, 3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as found:
        asyncio.run(measure(Path(found)))
