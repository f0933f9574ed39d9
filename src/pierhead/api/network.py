"""``Network``: the ground a region stands on. One of the five contracts.

Law: a frozen value, decided once at start, handed as an argument to whoever needs it (allocation, validation, binding, the
proxy, the pod runtime); nodes get it from the API. Nobody asks the machine for these facts a second time.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

import msgspec

Range: TypeAlias = IPv4Network | IPv6Network
Mode: TypeAlias = Literal["none", "loopback", "namespace"]


class Network(msgspec.Struct, frozen=True, rename="camel"):
    """Mode, ranges, families, and where an endpoint may lie."""

    mode: Mode
    """``loopback``: plain processes and a userspace proxy inside 127/8. ``namespace``: nodes and pods in network namespaces, the
    kernel's own data plane. ``none``: an API and no traffic."""
    service_ranges: tuple[Range, ...]
    """One range per family, the primary family first. Cluster IPs come from here."""
    pod_ranges: tuple[Range, ...] = ()
    floating_ranges: tuple[Range, ...] = ()
    endpoint_ranges: tuple[Range, ...] = ()
    """Where hand-written endpoints may lie besides the pod ranges; what lies elsewhere is refused by the proxy."""
    node_ports: range = range(30000, 32768)
    node_address: str = "127.0.0.1"
    """The InternalIP of a node, and where node ports listen."""
    machine_address: str = ""
    """Mode ``namespace``: the machine's end of its link to the nodes, which is inside like a pod. Empty: there is no such link."""
    second_node_address: str = ""
    second_machine_address: str = ""
    """Of the second family, where the region has two."""
    region: str = "local"
    """The region's name: what floating IPs and their pools are bound to."""

    @property
    def families(self) -> tuple[str, ...]:
        """``("IPv4",)`` or with IPv6, the primary family first."""
        return tuple(f"IPv{found.version}" for found in self.service_ranges)

    @property
    def node_addresses(self) -> tuple[str, ...]:
        """One for each family, the primary family first."""
        return tuple(filter(None, (self.node_address, self.second_node_address)))

    @property
    def machine_addresses(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.machine_address, self.second_machine_address)))

    @property
    def loopback_endpoints(self) -> bool:
        """Kubernetes refuses endpoints in 127/8; only where pods live there do they pass."""
        return self.mode == "loopback"
