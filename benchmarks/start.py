"""From the start of the process to the first good ``/readyz``. Promised: at most 0.5 s, 1.5 s when a CA has to be made."""

from __future__ import annotations

import http.client
import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Figure, region

PATIENCE = 30.0
LOOK_EVERY = 0.005


def run() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="pierhead-bench-") as directory:
        once(Path(directory) / "files-read-once")
        cold = [once(Path(directory) / f"new-{turn}") for turn in range(5)]
        warm = [once(Path(directory) / "new-0") for _ in range(5)]
    yield Figure("warm start to /readyz, median of 5", round(statistics.median(warm), 3), "s")
    yield Figure("start with a new CA to /readyz, median of 5", round(statistics.median(cold), 3), "s")


def once(directory: Path) -> float:
    port = region.free_port()
    started = time.perf_counter()
    process = region.start(directory, port)
    try:
        while not ready(port):
            if process.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise RuntimeError("pierhead up did not get ready")
            time.sleep(LOOK_EVERY)
        return time.perf_counter() - started
    finally:
        region.stop(process)


def ready(port: int) -> bool:
    unchecked = ssl._create_unverified_context()  # noqa: SLF001 (the CA is being made while we ask)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=unchecked, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
