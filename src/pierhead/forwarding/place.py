"""``Place``: where a proxy stands, which decides what is local, what is near, and what it may serve."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import msgspec

from pierhead.api.network import Network, Range
from pierhead.forwarding.table import ServiceName

API_SERVICE = ServiceName("default", "kubernetes")
"""The one Service whose endpoints are the API server itself."""


ORDINARY = frozenset(range(1, 224)) - {127, 169}
"""First octets of IPv4 addresses that are nothing special."""


class _Ranges(NamedTuple):
    """First and last address of each, as numbers: a region's hundred thousand endpoints are looked up."""

    four: tuple[tuple[int, int], ...]
    six: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> _Ranges:
        found = [(each.version, (int(each[0]), int(each[-1]))) for each in ranges]
        return cls(
            tuple(limits for version, limits in found if version == 4),
            tuple(limits for version, limits in found if version == 6),
        )

    def hold(self, address: IPv4Address | IPv6Address) -> bool:
        number = int(address)
        for first, last in self.four if isinstance(address, IPv4Address) else self.six:  # a third of what ``any`` takes
            if first <= number <= last:
                return True
        return False


class Place(msgspec.Struct, frozen=True, dict=True):
    """The nodes a proxy serves (in loopback mode one proxy serves all), their zones, and the region's network."""

    nodes: frozenset[str]
    network: Network
    zones: frozenset[str] = frozenset()
    api: frozenset[tuple[str, int]] = frozenset()
    """Address and port of each API server: an endpoint of the Service ``kubernetes`` and of no other. A wildcard stands for every
    loopback address; the machine's others are named."""

    def holds(self, client: str) -> bool:
        """Whether a client is the node itself or a pod, for whom policy Local at outside addresses does not count."""
        if client in self.network.node_addresses:
            return True
        address = ip_address(client)
        if address.is_loopback and self.network.mode == "loopback":
            return True
        return any(address in found for found in self.network.pod_ranges)

    def forbids(self, service: ServiceName, address: IPv4Address | IPv6Address, port: int) -> str:
        """Why no packet may be sent to this endpoint on behalf of a Service; empty when it may.

        Whoever may write EndpointSlices could otherwise use the proxy as a relay into networks that only the node reaches
        (CVE-2021-25740), or build a Service that leads back into the proxy without end.
        """
        if _is_special(address):
            if not address.is_loopback:
                return f"{address} is a link-local, multicast or unspecified address"
            if not self.network.loopback_endpoints:
                return f"{address} is a loopback address"
        if self._is_api(address, port):
            return "" if service == API_SERVICE else f"{address}:{port} is the API server"
        if self._leads_back(address, port):
            return f"{address}:{port} is served by this proxy itself"
        if self._open.hold(address):
            return ""
        return f"{address} lies outside the pod ranges and --endpoint-cidrs"

    @cached_property
    def _open(self) -> _Ranges:
        return _Ranges.of((*self.network.pod_ranges, *self.network.endpoint_ranges))

    @cached_property
    def _own(self) -> _Ranges:
        return _Ranges.of((*self.network.service_ranges, *self.network.floating_ranges))

    @cached_property
    def _api_ports(self) -> frozenset[int]:
        return frozenset(port for _, port in self.api)

    def _is_api(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        if port not in self._api_ports:
            return False
        wildcard = "0.0.0.0" if address.version == 4 else "::"
        return (str(address), port) in self.api or (address.is_loopback and (wildcard, port) in self.api)

    def _leads_back(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        if self._own.hold(address):
            return True
        # Only a proxy in userspace meets its own node ports again; a kernel translates a packet once.
        network = self.network
        return network.mode == "loopback" and str(address) == network.node_address and port in network.node_ports


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    """Loopback, link-local, multicast or unspecified."""
    if address.version == 4 and int(address) >> 24 in ORDINARY:  # a region's hundred thousand are asked
        return False
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
