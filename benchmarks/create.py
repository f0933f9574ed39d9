"""Durable creates of Services over TLS from 16 connections. Promised: at least 1,000 a second without selector."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import Figure
from benchmarks.region import running
from benchmarks.services import create


def run() -> Iterator[Figure]:
    with running("--network", "none", "--service-cidr", "10.96.0.0/16") as region:
        create(region, "first", requests=200)
        commits, batches = region.metric("pierhead_store_commits_total"), region.metric("pierhead_store_batches_total")
        load = create(region, "plain", requests=5000)
        commits = region.metric("pierhead_store_commits_total") - commits
        batches = region.metric("pierhead_store_batches_total") - batches
    yield Figure("creates without selector, 16 connections", round(load.rate), "1/s")
    yield Figure("creates without selector, p50", round(load.p50, 2), "ms")
    yield Figure("creates without selector, p99", round(load.p99, 2), "ms")
    yield Figure("commits in a durable write", round(commits / batches, 1), "1")
    with running("--network", "loopback") as region:
        load = create(region, "selecting", requests=1000, selector={"app": "nobody"})
    yield Figure("creates with selector under up, 16 connections", round(load.rate), "1/s")
