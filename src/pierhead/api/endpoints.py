"""Endpoints: the older form of what stands behind a Service, deprecated and still written by many.

Subsets are stored as they were sent: Kubernetes 1.36 neither groups nor sorts them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pierhead.api import Tree
from pierhead.api.network import Network
from pierhead.api.rules import (
    address_warnings,
    dns1123_label,
    dns1123_subdomain,
    invalid_values,
    legacy_address,
    optional_causes,
    ordinary_address,
    port_number,
    protocol_causes,
    qualified_name,
    required,
)
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause


class EndpointsStrategy(Strategy):
    """The rules of kubernetes-services.md §2.6."""

    def default(self, obj: Tree) -> None:
        for subset in obj.get("subsets") or []:
            for port in subset.get("ports") or []:
                port["protocol"] = port.get("protocol") or "TCP"

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return _subsets(obj, known=frozenset(), loopback=may_be_loopback(obj, write.network))

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        """What an older server let in may stay, as long as nobody touches the subsets."""
        if (obj.get("subsets") or []) == (old.get("subsets") or []):
            return []
        known = frozenset(entry.get("ip") or "" for _, entry in _entries(old))
        return _subsets(obj, known=known, loopback=may_be_loopback(obj, write.network))

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        return [text for path, entry in _entries(obj) for text in address_warnings(f"{path}.ip", entry.get("ip") or "")]


def may_be_loopback(obj: Tree, network: Network) -> bool:
    """Where pods live there; and of the Service ``kubernetes``, whose endpoint is the API server wherever it listens: an address
    that only this machine reaches is the truth about a region of one machine. A proxy still forwards to none but the API's own."""
    meta = obj["metadata"]
    return network.loopback_endpoints or (meta.get("namespace"), meta.get("name")) == ("default", "kubernetes")


def _entries(obj: Tree) -> Iterator[tuple[str, Tree]]:
    """Every address with its path."""
    for i, subset in enumerate(obj.get("subsets") or []):
        for name in ("addresses", "notReadyAddresses"):
            for k, entry in enumerate(subset.get(name) or []):
                yield f"subsets[{i}].{name}[{k}]", entry


def _subsets(obj: Tree, *, known: frozenset[str], loopback: bool) -> list[Cause]:
    causes: list[Cause] = []
    for i, subset in enumerate(obj.get("subsets") or []):
        path = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for name in ("addresses", "notReadyAddresses"):
            for k, entry in enumerate(subset.get(name) or []):
                causes += _address(f"{path}.{name}[{k}]", entry, known=known, loopback=loopback)
        ports = subset.get("ports") or []
        for k, port in enumerate(ports):
            causes += _port(f"{path}.ports[{k}]", port, named=len(ports) > 1)
    return causes


def _address(path: str, entry: Tree, *, known: frozenset[str], loopback: bool) -> list[Cause]:
    ip, hostname = entry.get("ip") or "", entry.get("hostname") or ""
    causes = legacy_address(f"{path}.ip", ip, known)
    if hostname:
        causes += invalid_values(f"{path}.hostname", hostname, dns1123_label(hostname))
    causes += optional_causes(f"{path}.nodeName", entry.get("nodeName"), dns1123_subdomain)
    return causes + invalid_values(f"{path}.ip", ip, ordinary_address(ip, loopback=loopback))


def _port(path: str, port: Tree, *, named: bool) -> list[Cause]:
    name, number, protocol = port.get("name") or "", port.get("port") or 0, port.get("protocol") or ""
    causes: list[Cause] = []
    if name:
        causes += invalid_values(f"{path}.name", name, dns1123_label(name))
    elif named:
        causes.append(required(f"{path}.name"))
    causes += invalid_values(f"{path}.port", number, port_number(number))
    causes += protocol_causes(f"{path}.protocol", protocol)
    return causes + optional_causes(f"{path}.appProtocol", port.get("appProtocol"), qualified_name)
