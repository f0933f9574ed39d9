"""What ``/metrics`` shows, in a registry of the application's own: two servers in one process count apart."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pierhead.apiserver.watch import Hub
from pierhead.store import DURATION_BOUNDS, Durations, Store

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests; the rest is read from the store and the hub when somebody looks."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total",
            "Requests by verb, resource and HTTP code; the resource of a path that is none is empty.",
            ("verb", "resource", "code"),
            registry=self._registry,
        )
        self._registry.register(_State(store, hub))

    def count(self, verb: str, resource: str, code: int) -> None:
        self._requests.labels(verb, resource, str(code)).inc()

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _State(Collector):
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        counted = self._store.statistics()
        yield CounterMetricFamily("pierhead_store_commits", "Commits that became durable.", counted.commits)
        yield CounterMetricFamily(
            "pierhead_store_batches", "Durable writes; each carries one commit or more.", counted.batches
        )
        yield CounterMetricFamily("pierhead_store_operations", "Operations in those commits.", counted.operations)
        yield HistogramMetricFamily(
            "pierhead_store_commit_duration_seconds",
            "From the beginning of a durable write to the end of its sync.",
            buckets=_buckets(counted.durations),
            sum_value=counted.durations.seconds,
        )
        yield GaugeMetricFamily("pierhead_store_revision", "The last published revision.", self._store.revision)
        yield GaugeMetricFamily("pierhead_store_compacted_revision", "History begins after it.", self._store.compacted)
        yield GaugeMetricFamily("pierhead_watchers", "Open watches.", self._hub.watching)
        yield CounterMetricFamily(
            "pierhead_watchers_dropped", "Watches ended because they fell behind.", self._hub.dropped
        )


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Prometheus counts upwards: each bucket holds what the ones before it hold."""
    bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))
