"""One list of 10,000 Services over TLS. Promised: at most 150 ms."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.load import api
from benchmarks.region import running
from benchmarks.services import PATH, create


def run() -> Iterator[Figure]:
    with running("--network", "none", "--service-cidr", "10.96.0.0/16") as region:
        create(region, "service", requests=10_000)
        load = api(region, "GET", PATH, requests=21, connections=1)
    yield Figure("list of 10,000 Services, median of 21", round(load.p50, 1), "ms")
    yield Figure("list of 10,000 Services, slowest of 21", round(load.p99, 1), "ms")
    yield Figure("list of 10,000 Services, size", round(load.bytes / 1e6, 1), "MB")
