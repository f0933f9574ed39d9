"""``Assembly``: the parts of all Services joined into one ForwardingTable, and kept joined change by change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from pierhead.forwarding.build import Part
from pierhead.forwarding.diff import Change, diff
from pierhead.forwarding.table import Backends, ForwardingTable, Frontend, PortKey, Refusal, Rule, ServiceName

Rank: TypeAlias = tuple[bool, str, ServiceName]

NOTHING = Part()


class Assembly:
    """Pure state: what it holds is a function of the parts it was given, never of their order.

    Where several Services claim one frontend, a cluster IP goes before an external address (whoever may write ``externalIPs`` must
    not take somebody's cluster IP, CVE-2020-8554), then the older Service before the younger, then the name decides.
    """

    def __init__(self) -> None:
        self._parts: dict[ServiceName, Part] = {}
        self._claims: dict[Frontend, dict[ServiceName, Rank]] = {}
        self._contested: set[Frontend] = set()
        self._refusing: set[ServiceName] = set()
        """Those with endpoints that may not be served."""

    def update(self, parts: Mapping[ServiceName, Part]) -> tuple[Change, ...]:
        """Takes these parts in place of the former ones (``NOTHING``: the Service is gone) and says what changed.

        The cost is that of the given Services.
        """
        former = {name: self._parts.get(name, NOTHING) for name in parts}
        frontends = {frontend for part in (*former.values(), *parts.values()) for frontend in part.table.rules}
        before = ForwardingTable(self._winners(frontends), _backends(former.values()))
        for name, part in parts.items():
            self._replace(name, former[name], part)
        return diff(before, ForwardingTable(self._winners(frontends), _backends(parts.values())))

    def table(self) -> ForwardingTable:
        """Everything, as one value."""
        return ForwardingTable(self._winners(self._claims), _backends(self._parts.values()))

    def refusals(self) -> tuple[Refusal, ...]:
        """Endpoints that may not be served, and frontends that another Service has; sorted. The cost is that of what is refused."""
        found = [refusal for name in self._refusing for refusal in self._parts[name].refusals]
        for frontend in self._contested:
            holder, *others = sorted(self._claims[frontend].values())
            found += [_taken(frontend, loser, holder[2]) for _, _, loser in others]
        return tuple(sorted(found))

    def _replace(self, name: ServiceName, old: Part, new: Part) -> None:
        for frontend in old.table.rules.keys() - new.table.rules.keys():
            self._claim(frontend, name, None)
        for frontend, rule in new.table.rules.items():
            self._claim(frontend, name, (rule.scope != "cluster", new.since, name))
        if new == NOTHING:
            self._parts.pop(name, None)
        else:
            self._parts[name] = new
        if new.refusals:
            self._refusing.add(name)
        else:
            self._refusing.discard(name)

    def _claim(self, frontend: Frontend, name: ServiceName, rank: Rank | None) -> None:
        claims = self._claims.setdefault(frontend, {})
        if rank is None:
            claims.pop(name, None)
        else:
            claims[name] = rank
        if not claims:
            del self._claims[frontend]
        if len(claims) > 1:
            self._contested.add(frontend)
        else:
            self._contested.discard(frontend)

    def _winners(self, frontends: Iterable[Frontend]) -> dict[Frontend, Rule]:
        found: dict[Frontend, Rule] = {}
        for frontend in frontends:
            if claims := self._claims.get(frontend):
                _, _, holder = min(claims.values())
                found[frontend] = self._parts[holder].table.rules[frontend]
        return found


def _backends(parts: Iterable[Part]) -> dict[PortKey, Backends]:
    return {key: backends for part in parts for key, backends in part.table.backends.items()}


def _taken(frontend: Frontend, loser: ServiceName, holder: ServiceName) -> Refusal:
    protocol, address, port = frontend
    return Refusal(loser, protocol, address, port, "FrontendTaken", f"{protocol} {address}:{port} belongs to {holder}")
