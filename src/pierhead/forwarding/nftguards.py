"""``Guards``: the chains of source ranges, and at how many frontends each stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from pierhead.api.network import Range
from pierhead.forwarding.nftedit import Edits
from pierhead.forwarding.nftlayout import Layout

IDLE_GUARDS: Final = 256
"""Chains of source ranges that no Service has any more: packets do not meet them."""


class Guards:
    """A chain for each list of ranges that a Service ever had: none is given back."""

    def __init__(self) -> None:
        self._chains: dict[tuple[Range, ...], str] = {}
        self._standing: Counter[str] = Counter()

    @property
    def chains(self) -> Collection[str]:
        """Their names."""
        return self._chains.values()

    @property
    def worn(self) -> bool:
        """Whether too many stand nowhere any more."""
        return len(self._chains) - len(self._standing) > IDLE_GUARDS

    def of(self, sources: tuple[Range, ...], layout: Layout, edits: Edits) -> str:
        """The name of the chain, which is made where there is none yet."""
        if sources not in self._chains:
            self._chains[sources] = name = f"guard{len(self._chains) + 1}"
            edits.chains += layout.guard_chain(name, sources)
        return self._chains[sources]

    def change(self, before: str, after: str) -> None:
        """At a frontend one goes and another one comes; either may be none."""
        if after:
            self._standing[after] += 1
        if before:
            self._standing[before] -= 1
            if not self._standing[before]:
                del self._standing[before]
