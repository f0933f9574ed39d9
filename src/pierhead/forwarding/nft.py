"""``Compiler``: changes of the ForwardingTable in, nftables messages out, for one family.

The messages of one ``take`` belong into one transaction. What a change costs is what it touches: the elements of its frontends and
slots, and once a chain for a number of endpoints that was never seen before.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from pierhead.api.network import Range
from pierhead.forwarding.assign import SLOTS, Assigned, Assignment, Choice, Socket
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, SetBackends, SetRule
from pierhead.forwarding.nftlayout import (
    DROP,
    FIRST_TERMS,
    HIDE,
    REFUSE,
    TERMS_SHIFT,
    Ground,
    Layout,
    Terms,
    mark,
    packed,
)
from pierhead.forwarding.table import (
    ANY_NODE_ADDRESS,
    NOWHERE,
    Backends,
    Endpoint,
    Family,
    ForwardingTable,
    Frontend,
    Policy,
    PortKey,
    Refusal,
    Rule,
)
from pierhead.wire.expressions import Verdict, jump
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Element, Set, add_elements, delete_elements

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17}
POLICIES: Final[tuple[Policy, ...]] = ("Cluster", "Local")
Flow: TypeAlias = tuple[bytes, int]
"""Address and port of one end of a UDP flow, as connection tracking has them."""
_SLOT: Final = struct.Struct("=II")
_FRONTEND: Final = struct.Struct("!B3xH2x")
_PORT: Final = struct.Struct("!H2x")


class Step(msgspec.Struct, frozen=True):
    """What a change asks of the kernel."""

    messages: tuple[Message, ...]
    """One transaction. Of a first load: what frontends lead to comes before the frontends, so that it may be cut anywhere."""
    rules: bool = False
    """Whether there are other rules afterwards."""
    forgotten: Mapping[int, frozenset[bytes] | None] = msgspec.field(default_factory=dict)
    """Id → what its sticky clients may keep, as address and port in the map's form; none: they are all forgotten."""
    flows: Mapping[Flow, frozenset[Flow]] = msgspec.field(default_factory=dict)
    """UDP frontends whose flows may be on an endpoint that no longer serves → the sockets on which they may stay."""


@dataclass(slots=True)
class _Served:
    """The elements of one frontend."""

    value: int = 0
    stranger: int = 0
    """Another value for clients that are neither the node nor a pod; 0: the same."""
    guard: str = ""
    cluster_ip: bytes = b""


class Compiler:
    """Pure state: what the kernel holds once every step so far is committed. After a failed one it is worth nothing."""

    def __init__(self, ground: Ground) -> None:
        self.layout = Layout(ground)
        self._family: Family = "IPv6" if ground.six else "IPv4"
        self._assignment = Assignment()
        self._rules: dict[Frontend, Rule] = {}
        self._backends: dict[PortKey, Backends] = {}
        self._sharing: dict[PortKey, set[Frontend]] = {}
        self._served: dict[Frontend, _Served] = {}
        self._terms: dict[Terms, int] = {}
        self._sticky: set[int] = set()
        self._guards: dict[tuple[Range, ...], str] = {}
        self._affine: dict[int, int] = {}
        self._cluster_ips: Counter[bytes] = Counter()
        self._local: Counter[str] = Counter()
        self.refused: dict[Frontend, Refusal] = {}

    @property
    def chains(self) -> Iterator[str]:
        """Names of the chains made on demand."""
        yield from (terms.chain for terms in self._terms)
        yield from (f"sticky{seconds}" for seconds in self._sticky)
        yield from self._guards.values()

    @property
    def size(self) -> int:
        """Elements of the fullest set."""
        return max(self._assignment.occupied, len(self._served))

    def take(self, changes: Iterable[Change]) -> Step:
        """The messages that bring the kernel from the last step to here. ``Reset`` is another compiler."""
        self._assignment.advance()
        keys: set[PortKey] = set()
        frontends: set[Frontend] = set()
        moved: set[Frontend] = set()
        work = _Work(self.layout)
        for change in changes:
            match change:
                case SetBackends(key, backends) if key.family == self._family:
                    if key.protocol == "UDP" and self._backends.get(key, NOWHERE).serving != backends.serving:
                        moved |= self._sharing.get(key, set())
                    self._lead(key, backends, work)
                    keys.add(key)
                case RemoveBackends(key) if key in self._backends:
                    moved |= self._sharing.get(key, set())
                    self._lead(key, NOWHERE, work)
                    del self._backends[key]
                    keys.add(key)
                case SetRule(frontend, rule) if rule.key.family == self._family:
                    keys |= self._detach(frontend)
                    self._rules[frontend] = rule
                    self._sharing.setdefault(rule.key, set()).add(frontend)
                    keys.add(rule.key)
                    frontends.add(frontend)
                    moved.add(frontend)
                case RemoveRule(frontend) if frontend in self._rules:
                    keys |= self._detach(frontend)
                    frontends.add(frontend)
                    moved.add(frontend)
        for key in sorted(keys):
            self._choose(key, work)
            frontends |= self._sharing.get(key, set())
        self._fill(work)
        for frontend in sorted({concrete for found in frontends for concrete in self._concrete(found)}):
            self._serve(frontend, work)
        return Step(tuple(work.messages()), bool(work.chains), work.forgotten, self._flows(moved))

    def table(self) -> ForwardingTable:
        """What was taken so far."""
        return ForwardingTable(self._rules, self._backends)

    def sticky(self) -> dict[int, frozenset[bytes]]:
        """Where the clients of each id with affinity may be led."""
        return {held.id: frozenset(held.sockets) for held in self._assignment.all() if held.id in self._affine}

    def counts(self) -> dict[str, int]:
        """How many elements each set holds that only changes of the table fill."""
        layout, served = self.layout, self._served.values()
        return {
            layout.endpoints.name: self._assignment.occupied,
            layout.frontends.name: len(served),
            layout.strangers.name: sum(1 for found in served if found.stranger),
            layout.guarded.name: sum(1 for found in served if found.guard),
            layout.cluster_ips.name: len(self._cluster_ips),
            layout.hairpin.name: len(self._local),
        }

    def _flows(self, frontends: Iterable[Frontend]) -> dict[Flow, frozenset[Flow]]:
        found: dict[Flow, frozenset[Flow]] = {}
        for frontend in {concrete for each in frontends if each.protocol == "UDP" for concrete in self._concrete(each)}:
            rule = self._rule(frontend)
            serving = self._backends.get(rule.key, NOWHERE).serving if rule else ()
            here = packed(frontend.address), frontend.port
            found[here] = frozenset((packed(item.address), item.port) for item in serving if self._fits(item.address))
        return found

    def _rule(self, frontend: Frontend) -> Rule | None:
        """The rule of a frontend at an address that exists; a node port comes last."""
        rule = self._rules.get(frontend)
        if rule is None and frontend.address in self.layout.ground.nodes:
            return self._rules.get(frontend._replace(address=ANY_NODE_ADDRESS[self._family]))
        return rule

    def _detach(self, frontend: Frontend) -> set[PortKey]:
        self.refused.pop(frontend, None)
        rule = self._rules.pop(frontend, None)
        if rule is None:
            return set()
        sharing = self._sharing[rule.key]
        sharing.discard(frontend)
        if not sharing:
            del self._sharing[rule.key]
        return {rule.key}

    def _lead(self, key: PortKey, backends: Backends, work: _Work) -> None:
        """Notes where a port leads; endpoints on this node may meet themselves."""
        before = _local(self._backends.get(key, NOWHERE))
        self._backends[key] = backends
        for address in _local(backends) - before:
            self._local[address] += 1
            if self._local[address] == 1:
                work.hairpin.set(packed(address) * 2, b"")
        for address in before - _local(backends):
            self._local[address] -= 1
            if not self._local[address]:
                del self._local[address]
                work.hairpin.unset(packed(address) * 2)

    def _choose(self, key: PortKey, work: _Work) -> None:
        """Gives ids and slots to the choices of a port that somebody leads to, and takes them from the others."""
        backends = self._backends.get(key, NOWHERE)
        needed: set[Policy] = set()
        for frontend in self._sharing.get(key, ()):
            rule = self._rules[frontend]
            needed.add(rule.policy)
            if rule.short_circuit:
                needed.add("Cluster")
        for policy in POLICIES:
            choice = Choice(key, policy)
            sockets = self._sockets(backends.chosen(policy)) if policy in needed else []
            held = self._assignment.get(choice)
            before = held.sockets if held else []
            if not sockets:
                number = self._assignment.release(choice)
                if number is not None and self._affine.pop(number, 0):
                    work.forgotten[number] = None
                continue
            held = self._assignment.hold(choice, sockets)
            self._need(Terms(len(held.sockets), backends.affinity), work)
            self._remember(held, before, backends.affinity, work)

    def _remember(self, held: Assigned, before: Sequence[Socket], affinity: int, work: _Work) -> None:
        """Clients forget an endpoint that is gone, and all of them when there is no affinity any more."""
        had = self._affine.pop(held.id, 0)
        if affinity:
            self._affine[held.id] = affinity
        if had and not affinity:
            work.forgotten[held.id] = None
        elif had and not set(before) <= set(held.sockets):
            work.forgotten[held.id] = frozenset(held.sockets)

    def _need(self, terms: Terms, work: _Work) -> None:
        if terms in self._terms:
            return
        if terms.affinity and terms.affinity not in self._sticky:
            self._sticky.add(terms.affinity)
            work.chains += self.layout.sticky_chain(terms.affinity)
        self._terms[terms] = number = FIRST_TERMS + len(self._terms)
        work.chains += self.layout.terms_chain(terms, number)

    def _fill(self, work: _Work) -> None:
        for emptied in self._assignment.emptied:
            work.endpoints.unset(_SLOT.pack(*divmod(emptied, SLOTS)))
        for filled, socket in self._assignment.filled.items():
            work.endpoints.set(_SLOT.pack(*divmod(filled, SLOTS)), socket)

    def _concrete(self, frontend: Frontend) -> Iterator[Frontend]:
        """A node port is served at each of the node's addresses."""
        if frontend.address != ANY_NODE_ADDRESS[self._family]:
            yield frontend
            return
        for address in self.layout.ground.nodes:
            yield frontend._replace(address=address)

    def _serve(self, frontend: Frontend, work: _Work) -> None:
        """Brings the elements of one frontend to what the table says of it."""
        key = _key(frontend)
        before, after = self._served.pop(frontend, None), self._terms_of(frontend, work)
        if after is not None:
            self._served[frontend] = after
        for there, old, new in (
            (work.frontends, before and before.value, after and after.value),
            (work.strangers, before and before.stranger, after and after.stranger),
            (work.guarded, before and before.guard, after and after.guard),
        ):
            if old != new:
                if old:
                    there.unset(key)
                if new:
                    there.set(key, jump(new) if isinstance(new, str) else mark(new))
        for address, change in (((before and before.cluster_ip) or b"", -1), ((after and after.cluster_ip) or b"", 1)):
            if address:
                self._count(address, change, work)

    def _count(self, address: bytes, change: int, work: _Work) -> None:
        self._cluster_ips[address] += change
        if change > 0 and self._cluster_ips[address] == 1:
            work.cluster_ips.set(address, b"")
        elif not self._cluster_ips[address]:
            del self._cluster_ips[address]
            work.cluster_ips.unset(address)

    def _terms_of(self, frontend: Frontend, work: _Work) -> _Served | None:
        rule = self._rule(frontend)
        self.refused.pop(frontend, None)
        if rule is None:
            return None
        if frontend.protocol not in PROTOCOLS:
            why = f"{frontend.protocol} is not served by this proxy"
            self.refused[frontend] = Refusal(rule.key.service, *frontend, "ProtocolNotSupported", why)
            return None
        hidden = HIDE if rule.scope != "cluster" and rule.policy == "Cluster" else 0
        return _Served(
            value=self._value(rule, "Cluster" if rule.short_circuit else rule.policy, hidden),
            stranger=self._value(rule, rule.policy, 0) if rule.short_circuit else 0,
            guard=self._guard(rule.sources, work) if rule.sources else "",
            cluster_ip=packed(frontend.address) if rule.scope == "cluster" else b"",
        )

    def _value(self, rule: Rule, policy: Policy, hidden: int) -> int:
        """What the packet is marked with."""
        backends = self._backends.get(rule.key, NOWHERE)
        held = self._assignment.get(Choice(rule.key, policy))
        if held is None:
            return (DROP if backends.verdict(policy) == "drop" else REFUSE) << TERMS_SHIFT
        return self._terms[Terms(len(held.sockets), backends.affinity)] << TERMS_SHIFT | hidden | held.id

    def _guard(self, sources: tuple[Range, ...], work: _Work) -> str:
        if sources not in self._guards:
            self._guards[sources] = name = f"guard{len(self._guards) + 1}"
            work.chains += self.layout.guard_chain(name, sources)
        return self._guards[sources]

    def _sockets(self, endpoints: Iterable[Endpoint]) -> list[Socket]:
        """Each once, in the form of the map's data; of another family none."""
        found = (packed(item.address) + _PORT.pack(item.port) for item in endpoints if self._fits(item.address))
        return list(dict.fromkeys(found))

    def _fits(self, address: str) -> bool:
        return (":" in address) == self.layout.ground.six


class _Edit:
    """Elements of one set that go and come. One that changes goes and comes, in one transaction."""

    def __init__(self, there: Set) -> None:
        self._there = there
        self._gone: set[bytes] = set()
        self._come: dict[bytes, bytes | Verdict] = {}

    def set(self, key: bytes, data: bytes | Verdict) -> None:
        self._come[key] = data

    def unset(self, key: bytes) -> None:
        if key in self._come and key not in self._gone:
            del self._come[key]
        else:
            self._come.pop(key, None)
            self._gone.add(key)

    def messages(self) -> Iterator[Message]:
        yield from delete_elements(self._there, self._gone)
        empty = not self._there.data
        yield from add_elements(
            self._there, (Element(key, None if empty else data) for key, data in self._come.items())
        )


class _Work:
    """One step in the making."""

    def __init__(self, layout: Layout) -> None:
        self.chains: list[Message] = []
        self.endpoints = _Edit(layout.endpoints)
        self.hairpin = _Edit(layout.hairpin)
        self.cluster_ips = _Edit(layout.cluster_ips)
        self.guarded = _Edit(layout.guarded)
        self.strangers = _Edit(layout.strangers)
        self.frontends = _Edit(layout.frontends)
        self.forgotten: dict[int, frozenset[bytes] | None] = {}

    def messages(self) -> Iterator[Message]:
        """Frontends last: what they lead to is there, wherever a first load is cut."""
        yield from self.chains
        for edit in (
            self.endpoints, self.hairpin, self.cluster_ips, self.guarded, self.strangers, self.frontends,
        ):  # fmt: skip
            yield from edit.messages()


def _local(backends: Backends) -> set[str]:
    return {found.address for found in (*backends.cluster, *backends.local) if found.local}


def _key(frontend: Frontend) -> bytes:
    return packed(frontend.address) + _FRONTEND.pack(PROTOCOLS.get(frontend.protocol, 0), frontend.port)
