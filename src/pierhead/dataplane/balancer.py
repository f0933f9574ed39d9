"""``Balancer``: which endpoint a new connection of a client gets, and the memory of session affinity."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from random import Random
from typing import NamedTuple

from pierhead.forwarding.table import NOWHERE, Backends, Endpoint, Policy

CLIENTS = 65_536
"""Clients remembered per port of a Service; the one that has been quiet longest is forgotten first."""


class Held(NamedTuple):
    endpoint: Endpoint
    since: float
    """When the client last connected, by the caller's clock."""


class Balancer:
    """One for each port of a Service: a client keeps its endpoint over all frontends of the port."""

    def __init__(self, chance: Random) -> None:
        self.backends = NOWHERE
        self._chance = chance
        self._clients: OrderedDict[str, Held] = OrderedDict()

    def update(self, backends: Backends) -> None:
        """Endpoints that are no longer chosen forget their clients; a changed timeout keeps them."""
        self.backends = backends
        if not backends.affinity:
            self._clients.clear()
        chosen = {*backends.cluster, *backends.local}
        for client in [client for client, held in self._clients.items() if held.endpoint not in chosen]:
            del self._clients[client]

    def pick(self, policy: Policy, client: str, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """An endpoint for a new connection, each as likely as the others; None when all have been ``tried`` or there is none."""
        chosen = self.backends.chosen(policy)
        held = self._clients.get(client)
        if (
            held
            and now - held.since < self.backends.affinity
            and held.endpoint in chosen
            and held.endpoint not in tried
        ):
            return held.endpoint
        if tried:
            chosen = tuple(endpoint for endpoint in chosen if endpoint not in tried)
        return chosen[int(self._chance.random() * len(chosen))] if chosen else None

    def keep(self, client: str, endpoint: Endpoint, now: float) -> None:
        """The client was connected to this endpoint: with affinity, it will be again."""
        if not self.backends.affinity:
            return
        self._clients[client] = Held(endpoint, now)
        self._clients.move_to_end(client)
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
