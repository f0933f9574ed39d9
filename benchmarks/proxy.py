"""New connections a second through the userspace proxy, as a share of the same straight to the pod. Promised: at least 0.25.

Both are measured in turns in one run, so that a busy machine slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.load import first_answer, fresh
from benchmarks.pods import NAMESPACE, PORT, front, pod
from benchmarks.region import running

ROUNDS = 7
REQUESTS = 3000
CONNECTIONS = 32


def run() -> Iterator[Figure]:
    with running("--network", "loopback") as region:
        service = front(region, "backend")
        region.call("POST", f"{NAMESPACE}/pods", pod("backend"))
        first_answer(service, PORT)
        straight = region.call("GET", f"{NAMESPACE}/pods/backend")["status"]["podIP"]
        rounds = [(rate(straight), rate(service)) for _ in range(ROUNDS)]
    yield Figure("new connections straight to the pod", round(statistics.median(direct for direct, _ in rounds)), "1/s")
    yield Figure("new connections through the proxy", round(statistics.median(proxied for _, proxied in rounds)), "1/s")
    share = statistics.median(proxied / direct for direct, proxied in rounds)
    yield Figure(f"proxied share of direct, median of {ROUNDS} rounds", round(share, 2), "1")


def rate(address: str) -> float:
    return fresh(address, PORT, requests=REQUESTS, connections=CONNECTIONS).rate
