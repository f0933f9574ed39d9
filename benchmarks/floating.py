"""From the 201 of a Service on a floating IP to the first answer at it. Promised: p99 at most 50 ms.

The floating IP and the pod are there before, as on a server whose addresses are known. The compiled client asks every 0.2 ms from
before the Service is posted; both moments are of one clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.load import asking, first_answer
from benchmarks.pods import NAMESPACE, PORT, front, pod
from benchmarks.region import Region, running

SAMPLES = 200
FLOATING_IPS = "/apis/pierhead.dev/v1/floatingips"


def run() -> Iterator[Figure]:
    with running("--network", "loopback") as region:
        address = region.call("POST", FLOATING_IPS, {"metadata": {}})["status"]["address"]
        settled = front(region, "backend")
        region.call("POST", f"{NAMESPACE}/pods", pod("backend"))
        first_answer(settled, PORT)
        delays = sorted(sample(region, address, 10_000 + number) for number in range(SAMPLES))
    yield Figure(
        "201 of a Service to the first answer at its floating IP, p50", round(delays[SAMPLES // 2] * 1e3, 1), "ms"
    )
    p99 = delays[SAMPLES * 99 // 100]
    yield Figure("201 of a Service to the first answer at its floating IP, p99", round(p99 * 1e3, 1), "ms")


def sample(region: Region, address: str, port: int) -> float:
    ports = [{"port": port, "targetPort": PORT}]
    spec = {"type": "LoadBalancer", "loadBalancerIP": address, "selector": {"app": "backend"}, "ports": ports}
    with asking(address, port) as answered:
        region.call("POST", f"{NAMESPACE}/services", {"metadata": {"name": f"s-{port}"}, "spec": spec})
        created = time.monotonic()
        delay = answered() - created
    region.call("DELETE", f"{NAMESPACE}/services/s-{port}")
    return delay
