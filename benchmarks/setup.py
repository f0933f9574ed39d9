"""``./dev setup`` when nothing changed. Promised: at most 1 s."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Figure

DEV = Path(__file__).parents[1] / "dev"


def once() -> float:
    started = time.perf_counter()
    subprocess.run([DEV, "setup"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def run() -> Iterator[Figure]:
    once()
    yield Figure("setup when nothing changed, median of 5", round(statistics.median(once() for _ in range(5)), 3), "s")
