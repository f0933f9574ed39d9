"""``Compiler``: changes of the ForwardingTable in, nftables messages out, for one family.

The messages of one ``take`` belong into one transaction. What a change costs is what it touches: the elements of its frontends and
slots, and once a chain for a number of endpoints that was never seen before.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.forwarding.assign import SLOTS, Assigned, Assignment, Choice
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, SetBackends, SetRule
from pierhead.forwarding.nftedit import Edits
from pierhead.forwarding.nftguards import Guards
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
from pierhead.forwarding.nftport import Port, local_addresses, slots, sockets
from pierhead.forwarding.table import (
    ANY_NODE_ADDRESS,
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
from pierhead.wire.expressions import RETURN, Verdict, goto, interface, jump
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Set

PROTOCOLS: Final[Mapping[str, int]] = {"TCP": 6, "UDP": 17}
POLICIES: Final[tuple[Policy, ...]] = ("Cluster", "Local")
NO_ROOM: Final = (
    f"the kernel's rules have no room for it: {SLOTS:,} endpoints of one port, {TERMS - FIRST_TERMS:,} different numbers of endpoints"
    " (times affinities), and half a million ports at most"
)
Flow: TypeAlias = tuple[bytes, int]
"""Address and port of one end of a UDP flow, as connection tracking has them."""
Elements: TypeAlias = Mapping[bytes, bytes | Verdict | None]
"""Of one set, by their keys."""
_FRONTEND: Final = struct.Struct("!B3xH2x")


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


class _Served(msgspec.Struct, frozen=True, gc=False):
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
        self._ports: dict[PortKey, Port] = {}
        self._served: dict[Frontend, _Served] = {}
        self._terms: dict[tuple[int, int], int] = {}
        """By `Terms`; found by what is in them, which costs less than to make one."""
        self._lacking: set[Choice] = set()
        """For which there was no room: they are refused."""
        self._sticky: set[int] = set()
        self._guards = Guards()
        self._affine: dict[int, int] = {}
        self._cluster_ips: dict[bytes, int] = {}
        self._local: Counter[str] = Counter()
        self.refused: dict[Frontend, Refusal] = {}

    @property
    def chains(self) -> Iterator[str]:
        """Names of the chains made on demand."""
        yield from (Terms(*terms).chain for terms in self._terms)
        yield from (f"sticky{seconds}" for seconds in self._sticky)
        yield from self._guards.chains

    @property
    def size(self) -> int:
        """Elements of the fullest set."""
        return max(self._assignment.occupied, len(self._served))

    @property
    def worn(self) -> bool:
        """Whether there is too much that nobody uses any more, guards or what somebody else lacks: neither is given back, and another
        compiler would be without."""
        if self._guards.worn:
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
        ports: dict[Port, None] = {}
        gone: list[Frontend] = []
        moved: set[Frontend] = set()
        edits = Edits(self.layout, self._assignment)
        for change in changes:
            match change:
                case SetBackends() if (key := change.key).family == self._family:
                    ports[port := self._port(key)] = None
                    if key.protocol == "UDP" and port.leading.serving != change.backends.serving:
                        moved.update(port.rules)
                    self._lead(port, change.backends, edits)
                case SetRule() if (rule := change.rule).key.family == self._family:
                    frontend = change.frontend
                    if frontend in self._rules:
                        ports[self._detach(frontend)] = None
                    ports[port := self._port(rule.key)] = None
                    self._rules[frontend] = port.rules[frontend] = rule
                    if frontend.protocol == "UDP":
                        moved.add(frontend)
                case RemoveBackends(key) if key in self._ports:
                    ports[port := self._ports[key]] = None
                    if key.protocol == "UDP":
                        moved.update(port.rules)
                    self._lead(port, None, edits)
                case RemoveRule(frontend) if frontend in self._rules:
                    ports[self._detach(frontend)] = None
                    gone.append(frontend)
        moved.update(each for each in gone if each.protocol == "UDP")
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
        return {found.id: sockets(found) for found in held if found.id in self._affine}

    def may_forget(self, change: Change) -> bool:
        """Whether clients are led who stick, and may have to forget where."""
        match change:
            case SetBackends(key) | RemoveBackends(key):
                port = self._ports.get(key)
            case SetRule(frontend) | RemoveRule(frontend):
                rule = self._rules.get(frontend)
                port = self._ports[rule.key] if rule else None
            case _:
                return False
        return port is not None and any(found.id in self._affine for found in port.held)

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

    def elements(self) -> Iterator[tuple[Set, Elements]]:
        """What each set holds that traffic does not fill, but for slots that the next step empties."""
        layout, served = self.layout, [(self._key(frontend), found) for frontend, found in self._served.items()]
        terms = {mark(number << TERMS_SHIFT): Terms(*found) for found, number in self._terms.items()}
        verdicts = {mark(known << TERMS_SHIFT): RETURN for known in (REFUSE, DROP)}
        yield (
            layout.endpoints,
            dict(chain.from_iterable(slots(each) for port in self._ports.values() for each in port.held)),
        )
        yield layout.frontends, {key: mark(found.value) for key, found in served if found.value}
        yield layout.strangers, {key: mark(found.stranger) for key, found in served if found.stranger}
        yield layout.guarded, {key: jump(found.guard) for key, found in served if found.guard}
        yield layout.terms, {**verdicts, **{key: goto(found.chain) for key, found in terms.items()}}
        yield layout.learning, {key: jump(found.sticky) for key, found in terms.items() if found.affinity}
        yield layout.cluster_ips, dict.fromkeys(self._cluster_ips)
        yield layout.hairpin, {packed(address) * 2: None for address in self._local}
        yield layout.nodes, {packed(address): None for address in layout.ground.nodes}
        yield layout.uplinks, {interface(name): None for name in layout.ground.uplinks}

    @staticmethod
    def _key(frontend: Frontend) -> bytes:
        return packed(frontend.address) + _FRONTEND.pack(PROTOCOLS.get(frontend.protocol, 0), frontend.port)

    def _flows(self, frontends: Iterable[Frontend]) -> dict[Flow, frozenset[Flow]]:
        """``frontends``: of UDP."""
        found: dict[Flow, frozenset[Flow]] = {}
        for frontend in self._concrete(frontends):
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

    def _port(self, key: PortKey) -> Port:
        found = self._ports.get(key)
        if found is None:
            found = self._ports[key] = Port(key)
        return found

    def _detach(self, frontend: Frontend) -> Port:
        """Nobody has the frontend; the port that had it."""
        port = self._ports[self._rules.pop(frontend).key]
        del port.rules[frontend]
        return port

    def _lead(self, port: Port, backends: Backends | None, edits: Edits) -> None:
        """Notes where a port leads; endpoints on this node may meet themselves."""
        before, after = local_addresses(port.backends), local_addresses(backends)
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

    def _choose(self, port: Port, edits: Edits) -> None:
        """Gives ids and slots to the choices of a port that somebody leads to, and takes them from the others."""
        if self._lacking:
            self._lacking.difference_update(Choice(port.key, policy) for policy in POLICIES)
        cluster = local = False
        for rule in port.rules.values():
            if rule.policy == "Cluster":
                cluster = True
            else:
                local, cluster = True, cluster or rule.short_circuit
        leading = port.leading
        if cluster or port.cluster is not None:
            self._hold(port, "Cluster", leading.cluster if cluster else (), edits)
        if local or port.local is not None:
            self._hold(port, "Local", leading.local if local else (), edits)

    def _hold(self, port: Port, policy: Policy, endpoints: Sequence[Endpoint], edits: Edits) -> None:
        held = port.holding(policy)
        endpoints = self._fitting(endpoints)
        if not endpoints:
            if held is not None:
                self._release(port, policy, held, edits)
            return
        affinity = port.leading.affinity
        if held is None:
            held = self._assignment.take(port.key, policy)
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

    def _release(self, port: Port, policy: Policy, held: Assigned, edits: Edits) -> None:
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
            edits.forgotten[held.id] = sockets(held)

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

    def _asked(self, ports: Iterable[Port], gone: Iterable[Frontend]) -> Mapping[Frontend, Rule | None]:
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
            self._guards.change(before.guard, after.guard)
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
            port.value("Cluster" if short else rule.policy, hidden),
            port.value(rule.policy, 0) if short else 0,
            self._guards.of(rule.sources, self.layout, edits) if rule.sources else "",
            cluster_ip,
        )

    def _fitting(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those of this family: all of them, but for what somebody made by hand."""
        if not endpoints:
            return endpoints
        six = self._six
        for endpoint in endpoints:
            if (":" in endpoint.address) != six:
                return [found for found in endpoints if (":" in found.address) == six]
        return endpoints
