"""What ``/metrics`` shows: requests are counted here, the rest is read from the store and the hub when somebody looks."""

from __future__ import annotations

from collections import Counter

from pierhead.apiserver.watch import Hub
from pierhead.store import Store

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Of one application: two servers in one process count apart."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._requests: Counter[tuple[str, str, str]] = Counter()

    def count(self, verb: str, resource: str, code: int) -> None:
        self._requests[verb, resource, str(code)] += 1

    def render(self) -> bytes:
        from pierhead.apiserver import exposition  # costs a start, and most regions are never asked

        return exposition.text(self._requests, self._store, self._hub)
