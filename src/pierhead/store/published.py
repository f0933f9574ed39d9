"""The read side of every engine: what its ledger has published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pierhead.store import Deliver, Entry
from pierhead.store.ledger import Ledger


class Published:
    """The synchronous half of ``Store``, which is the same wherever a commit becomes durable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def revision(self) -> int:
        return self._ledger.revision

    @property
    def compacted(self) -> int:
        return self._ledger.compacted

    def get(self, key: str) -> Entry | None:
        return self._ledger.get(key)

    def range(self, prefix: str, *, after: str = "", limit: int = 0, at: int = 0) -> Sequence[Entry]:
        return self._ledger.range(prefix, after=after, limit=limit, at=at)

    def count(self, prefix: str) -> int:
        return self._ledger.count(prefix)

    def watch(self, prefix: str, after: int, deliver: Deliver) -> Callable[[], None]:
        return self._ledger.watch(prefix, after, deliver)
