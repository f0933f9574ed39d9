"""``Edits``: what one step changes in the sets, and the messages that say it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain, starmap
from typing import Final

from pierhead.forwarding.assign import SLOTS, Assignment
from pierhead.forwarding.nftlayout import Layout, packed_all
from pierhead.wire.expressions import Verdict
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Element, Set, add_columns, add_elements, columns, delete_columns

_WORD: Final = struct.Struct("=I")
_SLOT: Final = struct.Struct("=II")


class Edit:
    """Elements of one set that go and come. One that changes goes and comes, in one transaction."""

    def __init__(self, there: Set) -> None:
        self._there = there
        self._gone: set[bytes] = set()
        self._come: dict[bytes, bytes | Verdict] = {}

    def set(self, key: bytes, data: bytes | Verdict = b"") -> None:
        self._come[key] = data

    def unset(self, key: bytes) -> None:
        if key in self._come and key not in self._gone:
            del self._come[key]
        else:
            self._come.pop(key, None)
            self._gone.add(key)

    def replace(self, key: bytes, held: bool, data: bytes | Verdict | None) -> None:
        """``held``: whether there is such an element. None: there shall be none."""
        if held:
            self.unset(key)
        if data is not None:
            self.set(key, data)

    def messages(self) -> Iterator[Message]:
        yield from delete_columns(self._there, b"".join(self._gone))
        data = [found for found in self._come.values() if not isinstance(found, Verdict)]
        if len(data) < len(self._come):
            yield from add_elements(self._there, starmap(Element, self._come.items()))
        else:
            yield from add_columns(self._there, b"".join(self._come), b"".join(data))


class Slots:
    """The same for the map of endpoints, of which a load has a hundred thousand."""

    def __init__(self, there: Set, assignment: Assignment) -> None:
        self._there, self._assignment = there, assignment

    def messages(self) -> Iterator[Message]:
        there, filled = self._there, self._assignment.filled
        emptied = [divmod(found, SLOTS) for found in self._assignment.emptied]
        yield from delete_columns(there, b"".join(starmap(_SLOT.pack, emptied)))
        endpoints = [found for run in filled for found in run.endpoints]
        ids = b"".join([_WORD.pack(run.id) * len(run.endpoints) for run in filled])
        numbers = [range(run.first, run.first + len(run.endpoints)) for run in filled]
        addresses = packed_all([found.address for found in endpoints])
        ports = [found.port for found in endpoints]
        yield from add_columns(
            there,
            columns(there.key, ids, struct.pack(f"={len(ports)}I", *chain.from_iterable(numbers))),
            columns(there.data, addresses, struct.pack(f"!{len(ports)}H", *ports)),
        )


class Edits:
    """One step in the making."""

    def __init__(self, layout: Layout, assignment: Assignment) -> None:
        self.chains: list[Message] = []
        self.endpoints = Slots(layout.endpoints, assignment)
        self.hairpin = Edit(layout.hairpin)
        self.cluster_ips = Edit(layout.cluster_ips)
        self.guarded = Edit(layout.guarded)
        self.strangers = Edit(layout.strangers)
        self.frontends = Edit(layout.frontends)
        self.forgotten: dict[int, frozenset[bytes] | None] = {}

    def messages(self) -> Iterator[Message]:
        """Frontends last: what they lead to is there, wherever a first load is cut."""
        yield from self.chains
        for edit in (
            self.endpoints, self.hairpin, self.cluster_ips, self.guarded, self.strangers, self.frontends,
        ):  # fmt: skip
            yield from edit.messages()
