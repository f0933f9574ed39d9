"""From EndpointSlices to the endpoints a policy may choose from, by the rules of kube-proxy 1.36."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from pierhead.api import views
from pierhead.api.proxystatuses import ENDPOINT_NOT_ALLOWED
from pierhead.core.backing import HEADLESS_LABEL
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import Endpoint, Refusal, ServiceName, canonical, family_of, parsed

LAST_PORT: Final = 65535
PortName: TypeAlias = tuple[str, str]
"""Name and protocol: what joins a port of a Service and a port of a slice."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One endpoint of one port, with what policies look at."""

    endpoint: Endpoint
    ready: bool
    serving: bool
    terminating: bool
    for_nodes: frozenset[str] = frozenset()
    for_zones: frozenset[str] = frozenset()

    @property
    def fallback(self) -> bool:
        """Told to stop and still answering: better than nobody."""
        return self.serving and self.terminating


def _programmable(
    slices: Iterable[views.EndpointSlice], wanted: Collection[PortName]
) -> Iterator[tuple[PortName, int, views.Endpoint, str]]:
    """Port, its number, endpoint and address type of every pair in the slices which a proxy can program: a port without name or number
    means "all ports" and is left out, and so are slices of host names and of headless Services. Nor does it matter what is behind ports
    that the Service has not: a slice may have 20,000 of them, each with 1,000 endpoints."""
    for found in slices:
        if found.address_type == "FQDN" or HEADLESS_LABEL in found.metadata.labels:
            continue
        for port in found.ports or ():
            if port.name is None or port.port is None:
                continue
            name = port.name, port.protocol or "TCP"
            for endpoint in (found.endpoints or ()) if name in wanted else ():
                if endpoint.addresses:
                    yield name, port.port, endpoint, found.address_type


def by_port(
    service: ServiceName, slices: Iterable[views.EndpointSlice], wanted: Collection[PortName], place: Place
) -> tuple[Mapping[PortName, Sequence[Candidate]], tuple[Refusal, ...]]:
    """The candidates of each port that is wanted, sorted, each socket once, and the endpoints that may not be served."""
    found: dict[PortName, dict[tuple[str, int], Candidate]] = {}
    refused: dict[tuple[str, str, int], Refusal] = {}
    for name, number, endpoint, family in _programmable(slices, wanted):
        given = endpoint.addresses[0]
        address = canonical(given)
        if not address or family_of(address) != family:
            why = f"{given} is no {family} address"
        elif not 0 < number <= LAST_PORT:  # the API asks no more of it than to be a number
            why = f"{number} is no port of {given}: ports are 1 to {LAST_PORT}"
        else:
            why = place.forbids(service, parsed(address), number)
        if why:
            refused[name[1], given, number] = Refusal(service, name[1], given, number, ENDPOINT_NOT_ALLOWED, why)
            continue
        candidate = _candidate(endpoint, address, number, place)
        known = found.setdefault(name, {})
        other = known.setdefault((address, number), candidate)
        if other is not candidate:
            known[address, number] = min(other, candidate, key=_merit)
    return (
        {name: [sockets[each] for each in sorted(sockets)] for name, sockets in found.items()},
        tuple(refused[key] for key in sorted(refused)),
    )


def _candidate(endpoint: views.Endpoint, address: str, port: int, place: Place) -> Candidate:
    """Conditions that are not given count as ready, serving (if ready), and not terminating."""
    conditions, hints = endpoint.conditions, endpoint.hints
    ready, terminating = conditions.ready is not False, bool(conditions.terminating)
    serving = ready if conditions.serving is None else conditions.serving
    found = Endpoint(address, port, endpoint.node_name in place.nodes)
    if hints is None:
        return Candidate(found, ready, serving, terminating)
    return Candidate(
        found,
        ready,
        serving,
        terminating,
        frozenset(each.name for each in hints.for_nodes),
        frozenset(each.name for each in hints.for_zones),
    )


def _merit(candidate: Candidate) -> tuple[bool, bool, bool, bool, list[str], list[str]]:
    """Which of two entries for one socket holds (an endpoint on its way between slices, an address used again): the smaller.
    Hints are in it only so that the order in which slices are read never counts."""
    hints = sorted(candidate.for_nodes), sorted(candidate.for_zones)
    return candidate.terminating, not candidate.ready, not candidate.serving, not candidate.endpoint.local, *hints


def choose_cluster(found: Sequence[Candidate], place: Place) -> tuple[Endpoint, ...]:
    """Policy Cluster: the ready ones that hints leave, else those that serve while they terminate."""
    ready = [candidate for candidate in found if candidate.ready]
    return _endpoints(_near(ready, place) or [candidate for candidate in found if candidate.fallback])


def choose_local(found: Sequence[Candidate]) -> tuple[Endpoint, ...]:
    """Policy Local: the same among the endpoints of this place's nodes, whatever hints say."""
    here = [candidate for candidate in found if candidate.endpoint.local]
    ready = [candidate for candidate in here if candidate.ready]
    return _endpoints(ready or [candidate for candidate in here if candidate.fallback])


def choose_serving(found: Sequence[Candidate]) -> tuple[Endpoint, ...]:
    """Whoever still answers."""
    return _endpoints([candidate for candidate in found if candidate.serving or candidate.ready])


def _near(ready: Sequence[Candidate], place: Place) -> Sequence[Candidate]:
    """Hints hold when every endpoint has one and one of them names this place: nodes first, then zones."""
    if all(candidate.for_nodes for candidate in ready):
        same_node = [candidate for candidate in ready if candidate.for_nodes & place.nodes]
        if same_node:
            return same_node
    if all(candidate.for_zones for candidate in ready):
        return [candidate for candidate in ready if candidate.for_zones & place.zones] or ready
    return ready


def _endpoints(found: Sequence[Candidate]) -> tuple[Endpoint, ...]:
    """As sorted and as free of doubles as the candidates are."""
    return tuple([candidate.endpoint for candidate in found])
