"""From a Service and its EndpointSlices to its part of the ForwardingTable, by the rules of kube-proxy 1.36 in nftables mode.

One Service at a time, so that a change costs what that Service costs, whatever the region holds. ``assembly`` joins the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from pierhead.api import views
from pierhead.api.services import AFFINITY_SECONDS
from pierhead.api.services_validation import SOURCE_RANGES
from pierhead.forwarding.candidates import Candidate, by_port, choose_cluster, choose_local, choose_serving
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import (
    ANY_NODE_ADDRESS,
    Backends,
    Family,
    ForwardingTable,
    Frontend,
    Policy,
    PortKey,
    Refusal,
    Rule,
    Scope,
    ServiceName,
    canonical,
    family_of,
)


class Part(msgspec.Struct, frozen=True):
    """What one Service adds to a table."""

    table: ForwardingTable = msgspec.field(default_factory=ForwardingTable)
    refusals: tuple[Refusal, ...] = ()
    """Endpoints that may not be served."""
    since: str = ""
    """When the Service was created: of two that claim one frontend, the older has it."""


def build(service: views.Service, slices: Iterable[views.EndpointSlice], place: Place) -> Part:
    """``slices``: those whose label names this Service, in any order."""
    since = service.metadata.creation_timestamp or ""
    if not _is_ours(service):
        return Part(since=since)
    name = ServiceName(service.metadata.namespace, service.metadata.name)
    rules: dict[Frontend, Rule] = {}
    backends: dict[PortKey, Backends] = {}
    refusals: list[Refusal] = []
    held = tuple(slices)
    wanted = frozenset((port.name, port.protocol) for port in service.spec.ports)
    for family, cluster_ip in _cluster_ips(service):
        found, refused = by_port(name, (item for item in held if item.address_type == family), wanted, place)
        refusals += refused
        for port in service.spec.ports:
            key = PortKey(name, port.name, port.protocol, family)
            of_port = dict(_rules(service, port, key, cluster_ip, place))
            rules |= of_port
            local = any(rule.policy == "Local" for rule in of_port.values())
            backends[key] = _backends(service, found.get((port.name, port.protocol), ()), place, local=local)
    return Part(ForwardingTable(rules, backends), tuple(refusals), since)


def _is_ours(service: views.Service) -> bool:
    return service.spec.type != "ExternalName" and not service.proxied_elsewhere


def _cluster_ips(service: views.Service) -> Iterator[tuple[Family, str]]:
    """Family and address; none for a headless Service, or one that has no address yet."""
    for address in map(canonical, service.spec.cluster_ips or (service.spec.cluster_ip,)):
        if address:
            yield family_of(address), address


def _backends(service: views.Service, found: Sequence[Candidate], place: Place, *, local: bool) -> Backends:
    cluster, serving = choose_cluster(found, place), choose_serving(found)
    return Backends(
        cluster,
        choose_local(found) if local else (),
        cluster if serving == cluster else serving,  # almost always: one tuple for both
        _affinity(service.spec),
    )


def _affinity(spec: views.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    client = spec.session_affinity_config and spec.session_affinity_config.client_ip
    return (client and client.timeout_seconds) or AFFINITY_SECONDS


def _rules(
    service: views.Service, port: views.ServicePort, key: PortKey, cluster_ip: str, place: Place
) -> Iterator[tuple[Frontend, Rule]]:
    """The frontends of one port in one family. Addresses that only a load balancer elsewhere answers for are not ours."""
    spec = service.spec
    outside: Policy = "Local" if spec.external_traffic_policy == "Local" else "Cluster"

    def rule(address: str, number: int, scope: Scope, policy: Policy) -> tuple[Frontend, Rule]:
        return Frontend(port.protocol, address, number), Rule(key, scope, policy)

    yield rule(cluster_ip, port.port, "cluster", "Local" if spec.internal_traffic_policy == "Local" else "Cluster")
    if port.node_port:
        yield rule(ANY_NODE_ADDRESS[key.family], port.node_port, "node", outside)
    for address in map(canonical, spec.external_ips):
        if address and family_of(address) == key.family:
            yield rule(address, port.port, "external", outside)
    for address in _balanced(service, key.family):
        sources = _sources(service, address, place)
        yield Frontend(port.protocol, address, port.port), Rule(key, "external", outside, sources)


def _balanced(service: views.Service, family: Family) -> Iterator[str]:
    """The load balancer's addresses which every node answers for itself: a name, or ipMode Proxy, means that packets go there."""
    if service.spec.type != "LoadBalancer":
        return
    for ingress in service.status.load_balancer.ingress:
        address = canonical(ingress.ip)
        if address and ingress.ip_mode != "Proxy" and family_of(address) == family:
            yield address


def _sources(service: views.Service, address: str, place: Place) -> tuple[IPv4Network | IPv6Network, ...]:
    """Who may come in at a load balancer's address. No range of the family, or one that holds everything: everybody.

    A node talks to an address of its own from that very address; so where the node is welcome, the address itself is.
    """
    texts = service.spec.load_balancer_source_ranges or service.metadata.annotations.get(SOURCE_RANGES, "").split(",")
    version = 6 if ":" in address else 4
    found = sorted({net for net in map(_range, texts) if net is not None and net.version == version}, key=str)
    if not found or any(net.prefixlen == 0 for net in found):
        return ()
    if any(ip_address(node) in net for net in found for node in place.network.node_addresses):
        found.append(ip_network(address))
    return tuple(found)


def _range(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None
