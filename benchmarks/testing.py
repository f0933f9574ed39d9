"""A region inside a test. Promised: a fresh one in at most 150 ms, the first of a process with its imports too, a reset in at most
20 ms."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import Figure
from pierhead.testing import Region, region

TURNS = 5
RESETS = 50
USED = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"web-{number}"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    for number in range(20)
]
"""What a test may have left when it ends."""
FIRST = "from pierhead.testing import region; region().close()"


def run() -> Iterator[Figure]:
    region().close()  # makes the certificates, imports the modules
    fresh, ends = zip(*(once() for _ in range(TURNS)), strict=True)
    yield Figure(f"fresh region, median of {TURNS}", round(statistics.median(fresh), 1), "ms")
    yield Figure(f"end of a region, median of {TURNS}", round(statistics.median(ends), 1), "ms")
    first = statistics.median(process(FIRST) - process("pass") for _ in range(TURNS))
    yield Figure(f"first region of a process, imports included, median of {TURNS}", round(first, 1), "ms")
    with region() as found:
        resets = [used_and_reset(found) for _ in range(RESETS)]
    yield Figure(f"reset after {len(USED)} Services, median of {RESETS}", round(statistics.median(resets), 1), "ms")
    yield Figure(f"reset after {len(USED)} Services, longest of {RESETS}", round(max(resets), 1), "ms")


def once() -> tuple[float, float]:
    """Milliseconds to start and to end one."""
    began = time.perf_counter()
    found = region()
    there = time.perf_counter()
    found.close()
    return 1000 * (there - began), 1000 * (time.perf_counter() - there)


def used_and_reset(found: Region) -> float:
    found.apply(*USED)
    began = time.perf_counter()
    found.reset()
    return 1000 * (time.perf_counter() - began)


def process(script: str) -> float:
    """Milliseconds of an interpreter of its own."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True)
    return 1000 * (time.perf_counter() - began)
