"""Gets of Services over TLS from 16 connections. Promised: at least 3,000 a second."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.load import api
from benchmarks.region import running
from benchmarks.services import PATH, create


def run() -> Iterator[Figure]:
    with running("--network", "none", "--service-cidr", "10.96.0.0/16") as region:
        create(region, "service", requests=1000)
        api(region, "GET", f"{PATH}/service-{{n}}", requests=1000, connections=16)
        load = api(region, "GET", f"{PATH}/service-77", requests=20_000, connections=16)
    yield Figure("gets, 16 connections", round(load.rate), "1/s")
    yield Figure("gets, p50", round(load.p50, 2), "ms")
    yield Figure("gets, p99", round(load.p99, 2), "ms")
