"""The metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pierhead.apiserver.watch import Hub
from pierhead.store import DURATION_BOUNDS, Durations, Store


def text(requests: Mapping[tuple[str, str, str], int], store: Store, hub: Hub) -> bytes:
    """``requests``: how many, by verb, resource and code."""
    registry = CollectorRegistry()
    registry.register(_State(requests, store, hub))
    return generate_latest(registry)


class _State(Collector):
    def __init__(self, requests: Mapping[tuple[str, str, str], int], store: Store, hub: Hub) -> None:
        self._requests = requests
        self._store = store
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        yield self._requested()
        yield from self._stored()
        yield GaugeMetricFamily("pierhead_watchers", "Open watches.", self._hub.watching)
        yield CounterMetricFamily(
            "pierhead_watchers_dropped", "Watches ended because they fell behind.", self._hub.dropped
        )

    def _requested(self) -> Metric:
        found = CounterMetricFamily(
            "apiserver_request",
            "Requests by verb, resource and HTTP code; the resource of a path that is none is empty.",
            labels=("verb", "resource", "code"),
        )
        for labels, count in self._requests.items():
            found.add_metric(labels, count)
        return found

    def _stored(self) -> Iterable[Metric]:
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


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Prometheus counts upwards: each bucket holds what the ones before it hold."""
    bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))
