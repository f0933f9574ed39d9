"""``Memory``: a data plane without a network, which really executes: connections and flows go where its table leads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from pierhead.dataplane.balancer import Balancer
from pierhead.dataplane.dataplane import Stranger
from pierhead.dataplane.listener import Served
from pierhead.forwarding.diff import Change, SetBackends, applied
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ANY_NODE_ADDRESS, Endpoint, ForwardingTable, Frontend, PortKey, Refusal
from pierhead.forwarding.trace import Packet, Trace, trace


@dataclass(slots=True)
class Connection:
    """An open connection or flow."""

    packet: Packet
    endpoint: Endpoint
    key: PortKey


@dataclass(slots=True)
class Memory:
    """A ``DataPlane`` for tests: it holds the table, and a test is its network."""

    place: Place
    chance: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - a choice among equals, no secret
    now: float = 0.0
    """Its clock, for affinity; a test moves it."""
    refuse: dict[Frontend, Refusal] = field(default_factory=dict)
    """Frontends that it refuses while they stand here."""
    failing: OSError | None = None
    """Raised by the next commit, of which nothing is applied."""
    strangers: asyncio.Queue[Stranger] = field(default_factory=asyncio.Queue)
    """Who puts one in here changes it behind its owner's back."""
    table: ForwardingTable = field(default_factory=ForwardingTable)
    commits: list[tuple[Change, ...]] = field(default_factory=list)
    _balancers: dict[PortKey, Balancer] = field(default_factory=dict)

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        if self.failing is not None:
            failure, self.failing = self.failing, None
            raise failure
        self.commits.append(tuple(changes))
        self.table = applied(self.table, changes)
        for key in self._balancers.keys() - self.table.backends.keys():
            del self._balancers[key]
        for change in changes:
            if isinstance(change, SetBackends) and change.key in self.table.backends:
                self._balancers.setdefault(change.key, Balancer(self.chance)).update(self.table.backends[change.key])
        return sorted(self.refuse[frontend] for frontend in self.table.rules if frontend in self.refuse)

    async def disturbed(self) -> Stranger:
        return await self.strangers.get()

    async def close(self) -> None:
        self.table = ForwardingTable()

    def trace(self, packet: Packet) -> Trace:
        return trace(self.table, packet, self.place)

    def connect(self, packet: Packet) -> Connection | None:
        """Opens a connection; None when it is refused, dropped, or none of a Service's."""
        frontend = Frontend(packet.protocol, packet.address, packet.port)
        rule = self.table.rules.get(frontend) or self.table.rules.get(self._node_port(frontend))
        if rule is None or frontend in self.refuse or self.trace(packet).verdict != "forward":
            return None
        served = Served(rule, self._balancers[rule.key], self.place)
        endpoint = served.pick(packet.source, self.now)
        if endpoint is None:
            return None
        served.keep(packet.source, endpoint, self.now)
        return Connection(packet, endpoint, rule.key)

    def send(self, flow: Connection) -> Endpoint | None:
        """One more piece of an open connection, or the next datagram of a flow: who receives it."""
        backends = self.table.backends.get(flow.key)
        serving = backends.serving if backends else ()
        if flow.packet.protocol == "UDP" and flow.endpoint not in serving:
            moved = self.connect(flow.packet)
            if moved is None:
                return None
            flow.endpoint = moved.endpoint
        return flow.endpoint

    def _node_port(self, frontend: Frontend) -> Frontend:
        if frontend.address != self.place.network.node_address:
            return frontend
        return frontend._replace(address=ANY_NODE_ADDRESS["IPv6" if ":" in frontend.address else "IPv4"])
