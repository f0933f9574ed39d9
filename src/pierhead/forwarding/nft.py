"""``Compiler``: changes of the ForwardingTable in, nftables messages out, for one family.

The messages of one ``take`` belong into one transaction. What a change costs is what it touches: the elements of its frontends and
slots, and once a chain for a number of endpoints that was never seen before.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, starmap
from typing import Final, TypeAlias

import msgspec

from pierhead.api.network import Range
from pierhead.forwarding.assign import SLOTS, Assigned, Assignment, Choice
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
    packed_all,
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
from pierhead.wire.nftables import Element, Set, add_columns, add_elements, columns, delete_columns

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17}
POLICIES: Final[tuple[Policy, ...]] = ("Cluster", "Local")
Flow: TypeAlias = tuple[bytes, int]
"""Address and port of one end of a UDP flow, as connection tracking has them."""
_WORD: Final = struct.Struct("=I")
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


class _Served(msgspec.Struct, frozen=True):
    """The elements of one frontend."""

    value: int = 0
    stranger: int = 0
    """Another value for clients that are neither the node nor a pod; 0: the same."""
    guard: str = ""
    cluster_ip: bytes = b""


_NOTHING = _Served()


class Compiler:
    """Pure state: what the kernel holds once every step so far is committed. After a failed one it is worth nothing."""

    def __init__(self, ground: Ground) -> None:
        self.layout = Layout(ground)
        self._six = ground.six
        self._family: Family = "IPv6" if ground.six else "IPv4"
        self._any = ANY_NODE_ADDRESS[self._family]
        self._assignment = Assignment()
        self._rules: dict[Frontend, Rule] = {}
        self._backends: dict[PortKey, Backends] = {}
        self._sharing: dict[PortKey, set[Frontend]] = {}
        self._served: dict[Frontend, _Served] = {}
        self._marks: dict[Choice, int] = {}
        """Terms and id of each choice that has endpoints."""
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
        keys: dict[PortKey, None] = {}
        frontends: dict[Frontend, None] = {}
        moved: set[Frontend] = set()
        work = _Work(self.layout, self._assignment)
        for change in changes:
            match change:
                case SetBackends(key, backends) if key.family == self._family:
                    if key.protocol == "UDP" and self._backends.get(key, NOWHERE).serving != backends.serving:
                        moved |= self._sharing.get(key, set())
                    self._lead(key, backends, work)
                    keys[key] = None
                case RemoveBackends(key) if key in self._backends:
                    moved |= self._sharing.get(key, set())
                    self._lead(key, NOWHERE, work)
                    del self._backends[key]
                    keys[key] = None
                case SetRule(frontend, rule) if rule.key.family == self._family:
                    keys |= dict.fromkeys(self._detach(frontend))
                    self._rules[frontend] = rule
                    self._sharing.setdefault(rule.key, set()).add(frontend)
                    keys[rule.key] = None
                    frontends[frontend] = None
                    moved.add(frontend)
                case RemoveRule(frontend) if frontend in self._rules:
                    keys |= dict.fromkeys(self._detach(frontend))
                    frontends[frontend] = None
                    moved.add(frontend)
        self._choose(keys, work)
        for key in keys:
            frontends |= dict.fromkeys(self._sharing.get(key, ()))
        self._serve_all(list(dict.fromkeys(chain.from_iterable(map(self._concrete, frontends)))), work)
        return Step(tuple(work.messages()), bool(work.chains), work.forgotten, self._flows(moved))

    def table(self) -> ForwardingTable:
        """What was taken so far."""
        return ForwardingTable(self._rules, self._backends)

    def sticky(self) -> dict[int, frozenset[bytes]]:
        """Where the clients of each id with affinity may be led."""
        return {held.id: _sockets(held) for held in self._assignment.all() if held.id in self._affine}

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
            found[here] = frozenset((packed(item.address), item.port) for item in self._fitting(serving))
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
        before, after = _local(self._backends.get(key, NOWHERE)), _local(backends)
        self._backends[key] = backends
        for address in after - before:
            self._local[address] += 1
            if self._local[address] == 1:
                work.hairpin.set(packed(address) * 2)
        for address in before - after:
            self._local[address] -= 1
            if not self._local[address]:
                del self._local[address]
                work.hairpin.unset(packed(address) * 2)

    def _choose(self, keys: Iterable[PortKey], work: _Work) -> None:
        """Gives ids and slots to the choices of ports that somebody leads to, and takes them from the others."""
        for key in keys:
            backends, needed = self._backends.get(key, NOWHERE), self._needed(key)
            for policy in POLICIES:
                choice = Choice(key, policy)
                endpoints = self._fitting(backends.chosen(policy)) if policy in needed else []
                if endpoints:
                    self._hold(choice, endpoints, backends.affinity, work)
                else:
                    self._release(choice, work)

    def _needed(self, key: PortKey) -> set[Policy]:
        """The policies under which somebody leads to the port."""
        rules = [self._rules[frontend] for frontend in self._sharing.get(key, ())]
        found = {rule.policy for rule in rules}
        return found | {"Cluster"} if any(rule.short_circuit for rule in rules) else found

    def _hold(self, choice: Choice, endpoints: list[Endpoint], affinity: int, work: _Work) -> None:
        held = self._assignment.get(choice)
        before = held.endpoints if held else []
        held = self._assignment.hold(choice, endpoints)
        self._marks[choice] = self._number(Terms(len(endpoints), affinity), work) << TERMS_SHIFT | held.id
        self._remember(held, before, affinity, work)

    def _release(self, choice: Choice, work: _Work) -> None:
        number = self._assignment.release(choice)
        if number is None:
            return
        del self._marks[choice]
        if self._affine.pop(number, 0):
            work.forgotten[number] = None

    def _remember(self, held: Assigned, before: Sequence[Endpoint], affinity: int, work: _Work) -> None:
        """Clients forget an endpoint that is gone, and all of them when there is no affinity any more."""
        had = self._affine.pop(held.id, 0)
        if affinity:
            self._affine[held.id] = affinity
        if had and not affinity:
            work.forgotten[held.id] = None
        elif had and not set(before) <= set(held.endpoints):
            work.forgotten[held.id] = _sockets(held)

    def _number(self, terms: Terms, work: _Work) -> int:
        """Of these terms, which have a chain from now on."""
        known = self._terms.get(terms)
        if known is not None:
            return known
        if terms.affinity and terms.affinity not in self._sticky:
            self._sticky.add(terms.affinity)
            work.chains += self.layout.sticky_chain(terms.affinity)
        self._terms[terms] = number = FIRST_TERMS + len(self._terms)
        work.chains += self.layout.terms_chain(terms, number)
        return number

    def _concrete(self, frontend: Frontend) -> Iterable[Frontend]:
        """A node port is served at each of the node's addresses."""
        if frontend.address != self._any:
            return (frontend,)
        return [frontend._replace(address=address) for address in self.layout.ground.nodes]

    def _serve_all(self, frontends: Sequence[Frontend], work: _Work) -> None:
        """Brings the elements of these frontends to what the table says of them."""
        width = 16 if self._six else 4
        joined = packed_all([found.address for found in frontends])
        for number, frontend in enumerate(frontends):
            address = joined[number * width : (number + 1) * width]
            key = address + _FRONTEND.pack(PROTOCOLS.get(frontend.protocol, 0), frontend.port)
            before, after = self._served.pop(frontend, _NOTHING), self._terms_of(frontend, address, work)
            if after is not _NOTHING:
                self._served[frontend] = after
            if before != after:
                self._serve(key, before, after, work)

    def _serve(self, key: bytes, before: _Served, after: _Served, work: _Work) -> None:
        if before.value != after.value:
            work.frontends.replace(key, bool(before.value), mark(after.value) if after.value else None)
        if before.stranger != after.stranger:
            work.strangers.replace(key, bool(before.stranger), mark(after.stranger) if after.stranger else None)
        if before.guard != after.guard:
            work.guarded.replace(key, bool(before.guard), jump(after.guard) if after.guard else None)
        if before.cluster_ip != after.cluster_ip:
            self._count(before.cluster_ip, -1, work)
            self._count(after.cluster_ip, 1, work)

    def _count(self, address: bytes, change: int, work: _Work) -> None:
        if not address:
            return
        self._cluster_ips[address] += change
        if change > 0 and self._cluster_ips[address] == 1:
            work.cluster_ips.set(address)
        elif not self._cluster_ips[address]:
            del self._cluster_ips[address]
            work.cluster_ips.unset(address)

    def _terms_of(self, frontend: Frontend, address: bytes, work: _Work) -> _Served:
        rule = self._rule(frontend)
        self.refused.pop(frontend, None)
        if rule is None:
            return _NOTHING
        if frontend.protocol not in PROTOCOLS:
            why = f"{frontend.protocol} is not served by this proxy"
            self.refused[frontend] = Refusal(rule.key.service, *frontend, "ProtocolNotSupported", why)
            return _NOTHING
        hidden = HIDE if rule.scope != "cluster" and rule.policy == "Cluster" else 0
        return _Served(
            value=self._value(rule, "Cluster" if rule.short_circuit else rule.policy, hidden),
            stranger=self._value(rule, rule.policy, 0) if rule.short_circuit else 0,
            guard=self._guard(rule.sources, work) if rule.sources else "",
            cluster_ip=address if rule.scope == "cluster" else b"",
        )

    def _value(self, rule: Rule, policy: Policy, hidden: int) -> int:
        """What the packet is marked with."""
        found = self._marks.get(Choice(rule.key, policy))
        if found is not None:
            return found | hidden
        backends = self._backends.get(rule.key, NOWHERE)
        return (DROP if backends.verdict(policy) == "drop" else REFUSE) << TERMS_SHIFT

    def _guard(self, sources: tuple[Range, ...], work: _Work) -> str:
        if sources not in self._guards:
            self._guards[sources] = name = f"guard{len(self._guards) + 1}"
            work.chains += self.layout.guard_chain(name, sources)
        return self._guards[sources]

    def _fitting(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Those of this family."""
        six = self._six
        return [found for found in endpoints if (":" in found.address) == six]


class _Edit:
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


class _Slots:
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


class _Work:
    """One step in the making."""

    def __init__(self, layout: Layout, assignment: Assignment) -> None:
        self.chains: list[Message] = []
        self.endpoints = _Slots(layout.endpoints, assignment)
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


def _sockets(held: Assigned) -> frozenset[bytes]:
    """Its endpoints in the form of the map's data."""
    return frozenset(packed(found.address) + _PORT.pack(found.port) for found in held.endpoints)
