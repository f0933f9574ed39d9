"""FloatingIPPools: which addresses there are to give out as floating IPs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from pierhead.api import Tree
from pierhead.api.addressranges import AddressRange, of_network, parse, range_causes
from pierhead.api.network import Network
from pierhead.api.rules import (
    address,
    dns1123_subdomain,
    duplicate,
    invalid_value,
    invalid_values,
    label_value,
    non_negative,
    required,
    too_many,
)
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

RANGES = "spec.ranges"
MOST_RANGES = 256
LARGEST_COUNT = 2**63 - 1
"""What an int64 holds: an IPv6 pool may have more addresses than that."""

LOOPBACK = ("may not be in the loopback range (127.0.0.0/8, ::1/128)", "127.0.0.0/8", "::1/128")
NEVER = (
    ("may not be in the unspecified range (0.0.0.0/8, ::/128)", "0.0.0.0/8", "::/128"),
    ("may not be a broadcast address (127.255.255.255, 255.255.255.255)", "127.255.255.255/32", "255.255.255.255/32"),
    ("may not be in the link-local range (169.254.0.0/16, fe80::/10)", "169.254.0.0/16", "fe80::/10"),
    ("may not be in the multicast range (224.0.0.0/4, ff00::/8)", "224.0.0.0/4", "ff00::/8"),
    ("may not be in the reserved range (240.0.0.0/4)", "240.0.0.0/4"),
    ("may not be in the range of IPv4-mapped addresses (::ffff:0:0/96)", "::ffff:0:0/96"),
)
"""What no host can be told to have, whatever the network (RFC 6890), and where that is so."""


class FloatingIPPoolStrategy(Strategy):
    """Ranges may grow, and shrink down to what is given out; the region may change while nothing is."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        spec = obj["spec"] = obj.get("spec") or {}
        spec["region"] = spec.get("region") or write.network.region
        obj["status"] = _counts(spec, 0)

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource == "status":
            obj["spec"] = dict(old.get("spec") or {})
            return
        obj["status"] = dict(old.get("status") or {})
        spec = obj["spec"] = obj.get("spec") or {}
        before = old.get("spec") or {}
        spec["region"] = spec.get("region") or before.get("region") or ""
        if spec.get("ranges") != before.get("ranges"):
            obj["status"] = _counts(spec, obj["status"].get("used") or 0)

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        spec = obj.get("spec") or {}
        region = spec.get("region") or ""
        return [
            *_ranges(spec.get("ranges") or [], write.network),
            *_zones(spec.get("zones") or []),
            *invalid_values("spec.region", region, dns1123_subdomain(region)),
        ]

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "status":
            counts = {name: (obj.get("status") or {}).get(name) or 0 for name in ("used", "free")}
            return [
                cause
                for name, count in counts.items()
                for cause in invalid_values(f"status.{name}", count, non_negative(count))
            ]
        return self.validate(obj, write)


def _counts(spec: Tree, used: int) -> Tree:
    size = sum(one.size for one in map(parse, spec.get("ranges") or []) if one)
    return {"used": used, "free": min(max(size - used, 0), LARGEST_COUNT)}


def _ranges(texts: list[str], network: Network) -> list[Cause]:
    if not texts:
        return [required(RANGES, "a pool gives out at least one address")]
    if len(texts) > MOST_RANGES:
        return [too_many(RANGES, len(texts), MOST_RANGES)]
    if causes := range_causes(RANGES, texts):
        return causes
    taken = list(of_the_region(network))
    for place, text in enumerate(texts):
        found = parse(text)
        assert found is not None, "range_causes refuses what cannot be read"
        causes += [invalid_value(f"{RANGES}[{place}]", text, why) for why in _unsuitable(found, network)]
        overlapping = [noun for noun, other in taken if found.overlaps(other)]
        causes += [invalid_value(f"{RANGES}[{place}]", text, f"overlaps {noun}") for noun in overlapping]
    return causes


def of_the_region(network: Network) -> Iterator[tuple[str, AddressRange]]:
    """What the region uses for something else, each with what that is."""
    for found in network.service_ranges:
        yield f"the range of cluster IPs ({found})", of_network(found)
    for found in network.pod_ranges:
        yield f"the range of pods ({found})", of_network(found)
    for node in filter(None, map(address, network.node_addresses)):
        yield f"the address of the node ({node})", AddressRange(node.version, int(node), int(node))
    for machine in filter(None, map(address, network.machine_addresses)):
        noun = f"this machine's address on the link to its nodes ({machine})"
        yield noun, AddressRange(machine.version, int(machine), int(machine))


def _unsuitable(found: AddressRange, network: Network) -> list[str]:
    """Why nobody can have some of these addresses. Loopback addresses are of use only where the whole region lives there, or nothing is
    ever sent."""
    unfit = NEVER if network.mode in ("loopback", "none") else (*NEVER, LOOPBACK)
    return [text for text, *blocks in unfit if any(found.overlaps(of_network(ip_network(block))) for block in blocks)]


def _zones(zones: list[str]) -> list[Cause]:
    causes: list[Cause] = []
    for place, zone in enumerate(zones):
        path = f"spec.zones[{place}]"
        causes += invalid_values(path, zone, label_value(zone)) if zone else [required(path)]
        if zone in zones[:place]:
            causes.append(duplicate(path, zone))
    return causes
