"""``Compiler``: changes of the ForwardingTable in, nftables messages out, for one family.

The messages of one ``take`` belong into one transaction. What a change costs is what it touches: the elements of its frontends and
slots, and once a chain for a number of endpoints that was never seen before.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import count
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.api.network import Range
from pierhead.forwarding.assign import SLOTS, Assigned, Assignment, Choice
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, SetBackends, SetRule
from pierhead.forwarding.nftedit import Edits
from pierhead.forwarding.nftlayout import (
    DROP,
    FIRST_TERMS,
    HIDE,
    REFUSE,
    TERMS,
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
from pierhead.wire.expressions import jump
from pierhead.wire.netlink import Message

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17}
POLICIES: Final[tuple[Policy, ...]] = ("Cluster", "Local")
NO_ROOM: Final = (
    f"the kernel's rules have no room for it: {SLOTS:,} endpoints of one port, {TERMS - FIRST_TERMS:,} different numbers of endpoints"
    " (times affinities), and half a million ports at most"
)
IDLE_GUARDS: Final = 256
"""Chains of source ranges that no Service has any more: packets do not meet them."""
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


class _Port(msgspec.Struct, eq=False, gc=False):
    """One port of a Service: where it leads, who leads there, and what that has been given."""

    key: PortKey
    backends: Backends | None = None
    """None: nobody has told."""
    rules: dict[Frontend, Rule] = msgspec.field(default_factory=dict)
    cluster: Assigned | None = None
    local: Assigned | None = None
    """Of each policy that somebody needs and that leaves endpoints to choose from; marked with terms and id."""

    @property
    def leading(self) -> Backends:
        return self.backends or NOWHERE

    @property
    def held(self) -> Iterator[Assigned]:
        yield from filter(None, (self.cluster, self.local))

    def holding(self, policy: Policy) -> Assigned | None:
        return self.cluster if policy == "Cluster" else self.local

    def hold(self, policy: Policy, held: Assigned | None) -> None:
        if policy == "Cluster":
            self.cluster = held
        else:
            self.local = held


class _Served(msgspec.Struct, frozen=True, gc=False):
    """The elements of one frontend."""

    value: int = 0
    stranger: int = 0
    """Another value for clients that are neither the node nor a pod; 0: the same."""
    guard: str = ""
    cluster_ip: bytes = b""


_NOTHING = _Served()
_NOBODY: Final[Set[str]] = frozenset()


class Compiler:
    """Pure state: what the kernel holds once every step so far is committed. After a failed one it is worth nothing."""

    def __init__(self, ground: Ground) -> None:
        self.layout = Layout(ground)
        self._six = ground.six
        self._family: Family = "IPv6" if ground.six else "IPv4"
        self._any = ANY_NODE_ADDRESS[self._family]
        self._assignment = Assignment()
        self._rules: dict[Frontend, Rule] = {}
        self._ports: dict[PortKey, _Port] = {}
        self._served: dict[Frontend, _Served] = {}
        self._terms: dict[tuple[int, int], int] = {}
        """By `Terms`; found by what is in them, which costs less than to make one."""
        self._lacking: set[Choice] = set()
        """For which there was no room: they are refused."""
        self._sticky: set[int] = set()
        self._guards: dict[tuple[Range, ...], str] = {}
        self._guarding: Counter[str] = Counter()
        """At how many frontends each guard stands."""
        self._affine: dict[int, int] = {}
        self._cluster_ips: dict[bytes, int] = {}
        self._local: Counter[str] = Counter()
        self.refused: dict[Frontend, Refusal] = {}

    @property
    def chains(self) -> Iterator[str]:
        """Names of the chains made on demand."""
        yield from (Terms(*terms).chain for terms in self._terms)
        yield from (f"sticky{seconds}" for seconds in self._sticky)
        yield from self._guards.values()

    @property
    def size(self) -> int:
        """Elements of the fullest set."""
        return max(self._assignment.occupied, len(self._served))

    @property
    def worn(self) -> bool:
        """Whether there is too much that nobody uses any more, guards or what somebody else lacks: neither is given back, and another
        compiler would be without."""
        if len(self._guards) - len(self._guarding) > IDLE_GUARDS:
            return True
        if not self._lacking or len(self._terms) < TERMS - FIRST_TERMS:
            return False
        held = ((found, port.leading.affinity) for port in self._ports.values() for found in port.held)
        return len({Terms(len(found.endpoints), affinity) for found, affinity in held}) < len(self._terms)

    def widen(self, capacity: int) -> None:
        """The sets shall have this much room: said before they are made. Elements know nothing of it."""
        self.layout = Layout(replace(self.layout.ground, capacity=capacity))

    def take(self, changes: Iterable[Change]) -> Step:
        """The messages that bring the kernel from the last step to here. ``Reset`` is another compiler."""
        self._assignment.advance()
        ports: dict[_Port, None] = {}
        gone: list[Frontend] = []
        moved: set[Frontend] = set()
        edits = Edits(self.layout, self._assignment)
        for change in changes:
            match change:
                case SetBackends(key, backends) if key.family == self._family:
                    ports[port := self._port(key)] = None
                    if key.protocol == "UDP" and port.leading.serving != backends.serving:
                        moved.update(port.rules)
                    self._lead(port, backends, edits)
                case SetRule(frontend, rule) if rule.key.family == self._family:
                    if frontend in self._rules:
                        ports[self._detach(frontend)] = None
                    ports[port := self._port(rule.key)] = None
                    self._rules[frontend] = port.rules[frontend] = rule
                    moved.add(frontend)
                case RemoveBackends(key) if key in self._ports:
                    ports[port := self._ports[key]] = None
                    moved.update(port.rules)
                    self._lead(port, None, edits)
                case RemoveRule(frontend) if frontend in self._rules:
                    ports[self._detach(frontend)] = None
                    gone.append(frontend)
        moved.update(gone)
        for port in ports:
            self._choose(port, edits)
        self._serve_all(self._asked(ports, gone), edits)
        for port in ports:
            if port.backends is None and not port.rules:
                del self._ports[port.key]
        return Step(tuple(edits.messages()), bool(edits.chains), edits.forgotten, self._flows(moved))

    def table(self) -> ForwardingTable:
        """What was taken so far."""
        backends = {key: port.backends for key, port in self._ports.items() if port.backends is not None}
        return ForwardingTable(self._rules, backends)

    def sticky(self) -> dict[int, frozenset[bytes]]:
        """Where the clients of each id with affinity may be led."""
        held = (held for port in self._ports.values() for held in port.held)
        return {found.id: _sockets(found) for found in held if found.id in self._affine}

    def counts(self) -> dict[str, int]:
        """How many elements each set holds that only changes of the table fill."""
        layout, served = self.layout, self._served.values()
        return {
            layout.endpoints.name: self._assignment.occupied,
            layout.frontends.name: sum(1 for found in served if found.value),
            layout.strangers.name: sum(1 for found in served if found.stranger),
            layout.guarded.name: sum(1 for found in served if found.guard),
            layout.cluster_ips.name: len(self._cluster_ips),
            layout.hairpin.name: len(self._local),
        }

    def _flows(self, frontends: Iterable[Frontend]) -> dict[Flow, frozenset[Flow]]:
        found: dict[Flow, frozenset[Flow]] = {}
        for frontend in self._concrete([each for each in frontends if each.protocol == "UDP"]):
            rule = self._rule(frontend)
            serving = self._ports[rule.key].leading.serving if rule else ()
            here = packed(frontend.address), frontend.port
            found[here] = frozenset((packed(item.address), item.port) for item in self._fitting(serving))
        return found

    def _rule(self, frontend: Frontend) -> Rule | None:
        """The rule of a frontend at an address that exists; a node port comes last."""
        rule = self._rules.get(frontend)
        if rule is None and frontend.address in self.layout.ground.nodes:
            return self._rules.get(frontend._replace(address=self._any))
        return rule

    def _port(self, key: PortKey) -> _Port:
        found = self._ports.get(key)
        if found is None:
            found = self._ports[key] = _Port(key)
        return found

    def _detach(self, frontend: Frontend) -> _Port:
        """Nobody has the frontend; the port that had it."""
        port = self._ports[self._rules.pop(frontend).key]
        del port.rules[frontend]
        return port

    def _lead(self, port: _Port, backends: Backends | None, edits: Edits) -> None:
        """Notes where a port leads; endpoints on this node may meet themselves."""
        before, after = _local(port.backends), _local(backends)
        port.backends = backends
        if before == after:
            return
        for address in after - before:
            self._local[address] += 1
            if self._local[address] == 1:
                edits.hairpin.set(packed(address) * 2)
        for address in before - after:
            self._local[address] -= 1
            if not self._local[address]:
                del self._local[address]
                edits.hairpin.unset(packed(address) * 2)

    def _choose(self, port: _Port, edits: Edits) -> None:
        """Gives ids and slots to the choices of a port that somebody leads to, and takes them from the others."""
        if self._lacking:
            self._lacking.difference_update(Choice(port.key, policy) for policy in POLICIES)
        cluster = local = False
        for rule in port.rules.values():
            local = local or rule.policy == "Local"
            cluster = cluster or rule.policy == "Cluster" or rule.short_circuit
        leading = port.leading
        if cluster or port.cluster is not None:
            self._hold(port, "Cluster", leading.cluster if cluster else (), edits)
        if local or port.local is not None:
            self._hold(port, "Local", leading.local if local else (), edits)

    def _hold(self, port: _Port, policy: Policy, endpoints: Sequence[Endpoint], edits: Edits) -> None:
        held = port.holding(policy)
        endpoints = self._fitting(endpoints)
        if not endpoints:
            if held is not None:
                self._release(port, policy, held, edits)
            return
        affinity = port.leading.affinity
        if held is None:
            held = self._assignment.take(Choice(port.key, policy))
            if held is None:
                self._lacking.add(Choice(port.key, policy))
                return
            port.hold(policy, held)
        terms = len(endpoints), affinity
        number = self._terms.get(terms) or self._make(Terms(*terms), edits)
        if not number:
            self._lacking.add(Choice(port.key, policy))
            self._release(port, policy, held, edits)
            return
        before = held.endpoints
        self._assignment.place(held, endpoints)
        held.mark = number << TERMS_SHIFT | held.id
        if affinity or self._affine:
            self._remember(held, before, affinity, edits)

    def _release(self, port: _Port, policy: Policy, held: Assigned, edits: Edits) -> None:
        port.hold(policy, None)
        self._assignment.release(held)
        if self._affine.pop(held.id, 0):
            edits.forgotten[held.id] = None

    def _remember(self, held: Assigned, before: Sequence[Endpoint], affinity: int, edits: Edits) -> None:
        """Clients forget an endpoint that is gone, and all of them when there is no affinity any more."""
        had = self._affine.pop(held.id, 0)
        if affinity:
            self._affine[held.id] = affinity
        if had and not affinity:
            edits.forgotten[held.id] = None
        elif had and not set(before) <= set(held.endpoints):
            edits.forgotten[held.id] = _sockets(held)

    def _make(self, terms: Terms, edits: Edits) -> int:
        """The number of new terms, which have a chain from now on; 0: there is no room for them."""
        if terms.endpoints > SLOTS or len(self._terms) == TERMS - FIRST_TERMS:
            return 0
        if terms.affinity and terms.affinity not in self._sticky:
            self._sticky.add(terms.affinity)
            edits.chains += self.layout.sticky_chain(terms.affinity)
        self._terms[terms] = number = FIRST_TERMS + len(self._terms)
        edits.chains += self.layout.terms_chain(terms, number)
        return number

    def _asked(self, ports: Iterable[_Port], gone: Iterable[Frontend]) -> Mapping[Frontend, Rule | None]:
        """The frontends of these ports and those that are gone, at addresses that exist, with the rule of each; None: nobody has it."""
        found: dict[Frontend, Rule | None] = {}
        for port in ports:
            found.update(port.rules)
        everywhere = [each for each in found if each.address == self._any]
        for each in everywhere:
            del found[each]
        found.update({each: self._rule(each) for each in self._concrete([*gone, *everywhere])})
        return found

    def _concrete(self, frontends: Iterable[Frontend]) -> Iterator[Frontend]:
        """A node port is served at each of the node's addresses."""
        for each in frontends:
            if each.address == self._any:
                yield from (each._replace(address=address) for address in self.layout.ground.nodes)
            else:
                yield each

    def _serve_all(self, asked: Mapping[Frontend, Rule | None], edits: Edits) -> None:
        """Brings the elements of these frontends to what their rules say."""
        width, served = 16 if self._six else 4, self._served
        joined = packed_all([found.address for found in asked])
        for (frontend, rule), start in zip(asked.items(), count(0, width), strict=False):
            address = joined[start : start + width]
            key = address + _FRONTEND.pack(PROTOCOLS.get(frontend.protocol, 0), frontend.port)
            before, after = served.pop(frontend, _NOTHING), self._terms_of(frontend, rule, address, edits)
            if after is not _NOTHING:
                served[frontend] = after
            if before != after:
                self._serve(key, before, after, edits)

    def _serve(self, key: bytes, before: _Served, after: _Served, edits: Edits) -> None:
        if before.value != after.value:
            edits.frontends.replace(key, bool(before.value), mark(after.value) if after.value else None)
        if before.stranger != after.stranger:
            edits.strangers.replace(key, bool(before.stranger), mark(after.stranger) if after.stranger else None)
        if before.guard != after.guard:
            edits.guarded.replace(key, bool(before.guard), jump(after.guard) if after.guard else None)
            self._stand(before.guard, after.guard)
        if before.cluster_ip != after.cluster_ip:
            if before.cluster_ip:
                self._count(before.cluster_ip, -1, edits)
            if after.cluster_ip:
                self._count(after.cluster_ip, 1, edits)

    def _count(self, address: bytes, change: int, edits: Edits) -> None:
        before = self._cluster_ips.get(address, 0)
        if before + change:
            self._cluster_ips[address] = before + change
        else:
            del self._cluster_ips[address]
            edits.cluster_ips.unset(address)
        if not before:
            edits.cluster_ips.set(address)

    def _terms_of(self, frontend: Frontend, rule: Rule | None, address: bytes, edits: Edits) -> _Served:
        if self.refused:
            self.refused.pop(frontend, None)
        if rule is None:
            return _NOTHING
        cluster_ip = address if rule.scope == "cluster" else b""
        if frontend.protocol not in PROTOCOLS:
            why = f"{frontend.protocol} is not served by this proxy"
            self.refused[frontend] = Refusal(rule.key.service, *frontend, "ProtocolNotSupported", why)
            return _Served(cluster_ip=cluster_ip) if cluster_ip else _NOTHING
        if self._lacking and any(Choice(rule.key, policy) in self._lacking for policy in POLICIES):
            self.refused[frontend] = Refusal(rule.key.service, *frontend, "NoRoom", NO_ROOM)
        port, short = self._ports[rule.key], rule.short_circuit
        hidden = HIDE if not cluster_ip and rule.policy == "Cluster" else 0
        return _Served(
            _value(port, "Cluster" if short else rule.policy, hidden),
            _value(port, rule.policy, 0) if short else 0,
            self._guard(rule.sources, edits) if rule.sources else "",
            cluster_ip,
        )

    def _guard(self, sources: tuple[Range, ...], edits: Edits) -> str:
        if sources not in self._guards:
            self._guards[sources] = name = f"guard{len(self._guards) + 1}"
            edits.chains += self.layout.guard_chain(name, sources)
        return self._guards[sources]

    def _stand(self, before: str, after: str) -> None:
        """One guard goes and another one comes; either may be none."""
        if after:
            self._guarding[after] += 1
        if before:
            self._guarding[before] -= 1
            if not self._guarding[before]:
                del self._guarding[before]

    def _fitting(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those of this family: all of them, but for what somebody made by hand."""
        if not endpoints:
            return endpoints
        six = self._six
        for endpoint in endpoints:
            if (":" in endpoint.address) != six:
                return [found for found in endpoints if (":" in found.address) == six]
        return endpoints


def _value(port: _Port, policy: Policy, hidden: int) -> int:
    """What the packet is marked with."""
    held = port.holding(policy)
    if held is not None:
        return held.mark | hidden
    return (DROP if port.leading.verdict(policy) == "drop" else REFUSE) << TERMS_SHIFT


def _local(backends: Backends | None) -> Set[str]:
    if backends is None:
        return _NOBODY
    every = (*backends.cluster, *backends.local) if backends.local else backends.cluster
    return {found.address for found in every if found.local}


def _sockets(held: Assigned) -> frozenset[bytes]:
    """Its endpoints in the form of the map's data."""
    return frozenset(packed(found.address) + _PORT.pack(found.port) for found in held.endpoints)
