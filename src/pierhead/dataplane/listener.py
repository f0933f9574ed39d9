"""What a listener of the userspace proxy serves, and what the proxy asks of every listener."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Protocol

import msgspec

from pierhead.dataplane.balancer import Balancer
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import Endpoint, Policy, Rule


class Served(msgspec.Struct, frozen=True):
    """The terms of one frontend. Changed terms are another value, which the listener takes without closing its socket."""

    rule: Rule
    balancer: Balancer
    place: Place

    @property
    def open(self) -> bool:
        """Whether anybody at all would be served: if nobody, the socket must not exist, so that the kernel refuses."""
        policy = "Cluster" if self.rule.short_circuit else self.rule.policy
        return bool(self.balancer.backends.chosen(policy))

    def admits(self, client: str) -> bool:
        """Whether ``loadBalancerSourceRanges`` let this client in; and what is only for this machine, whether it is of it: a
        kernel with ``route_localnet`` lets others through to loopback addresses (CVE-2020-8558)."""
        if self.place.network.mode == "loopback" and self.rule.scope != "external" and not self.place.holds(client):
            return False
        sources = self.rule.sources
        return not sources or any(ip_address(client) in found for found in sources)

    def pick(self, client: str, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        return self.balancer.pick(self._policy(client), client, now, tried)

    def keep(self, client: str, endpoint: Endpoint, now: float) -> None:
        self.balancer.keep(client, endpoint, now)

    def _policy(self, client: str) -> Policy:
        if self.rule.short_circuit and self.place.holds(client):
            return "Cluster"
        return self.rule.policy


class Listener(Protocol):
    """One frontend's socket."""

    served: Served

    def forget(self) -> None:
        """The endpoints changed: whatever must not go on with an endpoint that is no longer serving ends here."""

    def close(self) -> None:
        """The frontend is gone, or has no endpoint: from here on the kernel refuses."""
