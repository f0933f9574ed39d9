"""The packet tracer: what becomes of one packet, and why, without any packet.

It answers as a kernel data plane must (kube-proxy 1.36, nftables mode); what a back end cannot do, its rows of the scenario
table say.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal, NamedTuple

import msgspec

from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ANY_NODE_ADDRESS, Endpoint, Family, ForwardingTable, Frontend, Policy, Rule


class Packet(NamedTuple):
    """The first packet of a connection or flow."""

    source: str
    protocol: str
    address: str
    port: int


class Trace(msgspec.Struct, frozen=True):
    """What becomes of it."""

    verdict: Literal["forward", "reject", "drop", "pass"]
    """``pass``: not a matter of Services; routed on, or the node's own."""
    why: tuple[str, ...]
    """One sentence a step."""
    endpoints: tuple[Endpoint, ...] = ()
    """One of these, each as likely as the others."""
    masquerade: bool = False
    """Whether the rule hides the client. Ask ``hides``, which knows the exceptions."""

    def hides(self, packet: Packet, endpoint: Endpoint, place: Place) -> bool:
        """Whether this endpoint sees the node's address as its client.

        An endpoint that reaches itself must, or it would answer past the proxy, and so must one that is no pod: its answers find
        the way back to nobody else. A socket of the node itself never does: its
        packets are delivered before the point where addresses are hidden.
        """
        if endpoint.address in place.network.node_addresses:
            return False
        here = ip_address(endpoint.address)
        if not any(here in found for found in place.network.pod_ranges):
            return True
        return self.masquerade or (endpoint.local and endpoint.address == packet.source)


def trace(table: ForwardingTable, packet: Packet, place: Place) -> Trace:
    """Walks the packet through the table as the proxy at ``place`` holds it."""
    rule = rule_at(table, packet, place)
    return _unserved(table, packet, place) if rule is None else _serve(table, packet, place, rule)


def rule_at(table: ForwardingTable, packet: Packet, place: Place) -> Rule | None:
    """The rule of the frontend that the packet goes to; a node port comes last."""
    rule = table.rules.get(Frontend(packet.protocol, packet.address, packet.port))
    if rule is None and packet.address in place.network.node_addresses:
        family: Family = "IPv6" if ":" in packet.address else "IPv4"
        return table.rules.get(Frontend(packet.protocol, ANY_NODE_ADDRESS[family], packet.port))
    return rule


def _unserved(table: ForwardingTable, packet: Packet, place: Place) -> Trace:
    here = f"{packet.protocol} {packet.address}:{packet.port}"
    if any(rule.scope == "cluster" and frontend.address == packet.address for frontend, rule in table.rules.items()):
        return Trace("reject", (f"{packet.address} is a cluster IP without {packet.protocol} port {packet.port}",))
    if any(ip_address(packet.address) in found for found in place.network.service_ranges):
        return Trace("drop", (f"no Service has this address: {packet.address} lies in the service range",))
    return Trace("pass", (f"{here} is no frontend of a Service",))


def _serve(table: ForwardingTable, packet: Packet, place: Place, rule: Rule) -> Trace:
    source = ip_address(packet.source)
    why = [f"{rule.key.service} port {rule.key.port or packet.port} ({rule.scope} address, policy {rule.policy})"]
    if rule.sources and not any(source in found for found in rule.sources):
        return Trace("drop", (*why, f"{packet.source} lies in none of loadBalancerSourceRanges"))
    policy: Policy = rule.policy
    if rule.short_circuit and (place.holds(packet.source) or _to_itself(packet)):
        policy = "Cluster"
        why.append(f"{packet.source} is this node or a pod: served as under policy Cluster")
    backends = table.leading(rule)
    verdict = backends.verdict(policy)
    if verdict != "forward":
        lack = "no usable endpoints" if verdict == "reject" else "endpoints, but none on this node"
        return Trace(verdict, (*why, f"Service {rule.key.service} has {lack}"))
    chosen = backends.chosen(policy)
    masquerade = _masquerade(rule, packet, place)
    return Trace("forward", (*why, f"one of {len(chosen)} endpoints"), chosen, masquerade)


def _from_pod(packet: Packet, place: Place) -> bool:
    source = ip_address(packet.source)
    return any(source in found for found in place.network.pod_ranges)


def _masquerade(rule: Rule, packet: Packet, place: Place) -> bool:
    """A cluster IP hides whoever is no pod; outside addresses hide everybody, but under policy Local only those inside."""
    if rule.scope == "cluster":
        return not _from_pod(packet, place)
    if rule.policy == "Cluster":
        return True
    return packet.source in place.network.node_addresses or _to_itself(packet)


def _to_itself(packet: Packet) -> bool:
    """A node that has the frontend's address for its own talks to it from there."""
    return packet.source == packet.address
