"""From a pod that is seen Ready to the first request its Service answers. Promised: p99 at most 50 ms.

Each sample is a Service and a pod of its own. Both moments are read from one clock: when a watch of the API brings the Ready
condition, and when the compiled client, which asks the Service every 0.2 ms, gets its first answer. The watch is one hop of its
own, so the figure is short by what that hop takes; were the answer ever to come before it, the sample would be negative.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.load import first_answer
from benchmarks.pods import NAMESPACE, PORT, front, is_ready, pod
from benchmarks.region import Region, running

SAMPLES = 100


def run() -> Iterator[Figure]:
    with running("--network", "loopback") as region:
        ready: queue.Queue[tuple[str, float]] = queue.Queue()
        threading.Thread(target=observe, args=(region, ready), daemon=True).start()
        delays = sorted(sample(region, ready, f"sample-{number}") for number in range(SAMPLES))
    yield Figure("pod Ready to endpoint in the data plane, fastest", round(delays[0] * 1e3, 1), "ms")
    yield Figure("pod Ready to endpoint in the data plane, p50", round(delays[SAMPLES // 2] * 1e3, 1), "ms")
    yield Figure("pod Ready to endpoint in the data plane, p99", round(delays[SAMPLES * 99 // 100] * 1e3, 1), "ms")


def observe(region: Region, ready: queue.Queue[tuple[str, float]]) -> None:
    """Names of pods that became Ready, and when, until the region ends."""
    known: set[str] = set()
    with region.open("GET", f"{NAMESPACE}/pods?watch=true") as answer:
        for line in answer:
            now, tree = time.monotonic(), json.loads(line)["object"]
            name = tree["metadata"]["name"]
            if is_ready(tree) and name not in known:
                known.add(name)
                ready.put((name, now))


def sample(region: Region, ready: queue.Queue[tuple[str, float]], name: str) -> float:
    address = front(region, name)
    region.call("POST", f"{NAMESPACE}/pods", pod(name))
    answered = first_answer(address, PORT)
    told, seen = ready.get(timeout=30)
    assert told == name
    region.call("DELETE", f"{NAMESPACE}/pods/{name}?gracePeriodSeconds=0")
    region.call("DELETE", f"{NAMESPACE}/services/{name}")
    return answered - seen
