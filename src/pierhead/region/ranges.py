"""From a network mode and what the user asked for to a ``Network``: defaults, and the reasons to refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from itertools import combinations, product

from msgspec.structs import replace

from pierhead.api.floatingippools import of_the_region
from pierhead.api.network import Mode, Network, Range
from pierhead.api.views import FloatingIPPool, Service
from pierhead.core import defaultpool
from pierhead.core.floating import DEFAULT_POOL, ranges_of
from pierhead.errors import UsageError

LOOPBACK = IPv4Network("127.0.0.0/8")
LOOPBACK_SERVICES = IPv4Network("127.96.0.0/16")
LOOPBACK_PODS = IPv4Network("127.64.0.0/16")
LOOPBACK_FLOATING = IPv4Network("127.99.0.0/24")
CLUSTER_SERVICES = IPv4Network("10.96.0.0/16")
NAMESPACE_PODS: Mapping[int, Range] = {4: IPv4Network("10.244.0.0/16"), 6: IPv6Network("fd00:10:244::/112")}
NAMESPACE_FLOATING: Mapping[int, Range] = {4: IPv4Network("10.99.0.0/24"), 6: IPv6Network("fd00:10:99::/120")}
"""By IP version."""
EXAMPLES = {"--pod-cidr": LOOPBACK_PODS, "--floating-cidr": "192.0.2.10/32", "--endpoint-cidrs": "192.0.2.0/24"}
"""Of an option that takes ranges, in the mode that is there without asking; of Services unless said otherwise."""
MACHINE, NODE = {4: "10.97.0.1", 6: "fd00:10:97::1"}, {4: "10.97.0.2", 6: "fd00:10:97::2"}
"""The two ends of the link between the machine and its nodes, by IP version."""


def parse(option: str, text: str | None) -> tuple[Range, ...]:
    """A comma-separated list of ranges, as an option gives it; none where it is not given.

    Raises:
        UsageError: one of them is not a range, or has bits set behind its prefix.
    """
    found: list[Range] = []
    for part in [] if text is None else text.split(","):
        try:
            found.append(ip_network(part.strip()))
        except ValueError as error:
            raise UsageError(f"{option}: {error}", _instead(option, part.strip())) from error
    return tuple(found)


def _instead(option: str, text: str) -> str:
    """What somebody may have meant who wrote what is no range."""
    try:
        found = ip_interface(text)
    except ValueError:
        example = EXAMPLES.get(option, LOOPBACK_SERVICES)
        return f"write a range such as {example}: {option} {example}"
    one = ip_network(found.ip)
    return f"for the whole range write {option} {found.network}, for the one address {option} {one}"


def choose(
    mode: Mode,
    *,
    services: tuple[Range, ...] = (),
    pods: tuple[Range, ...] = (),
    floating: tuple[Range, ...] = (),
    endpoints: tuple[Range, ...] = (),
    subnets: Sequence[Range] = (),
    region: str = "local",
) -> Network:
    """The network of a region of this name. Empty ranges mean the mode's own; ``floating``: what the default pool gives out;
    ``subnets``: those of this machine, where hand-written endpoints may lie unless ``endpoints`` says otherwise.

    Raises:
        UsageError: ranges that overlap, are too small or too many, or that the mode cannot serve.
    """
    if mode == "none":
        _check_idle(pods, endpoints)
        network = Network("none", services or (CLUSTER_SERVICES,), floating_ranges=floating, region=region)
    elif mode == "namespace":
        network = _in_namespaces(services or (CLUSTER_SERVICES,), pods, floating, endpoints, subnets)
        network = replace(network, region=region)
    else:
        network = Network(
            "loopback", services or (LOOPBACK_SERVICES,), pods or (LOOPBACK_PODS,), floating or (LOOPBACK_FLOATING,),
            endpoints or (LOOPBACK, *(found for found in subnets if found.version == 4)), region=region,
        )  # fmt: skip
    _check_counts(network)
    _check_sizes(network)
    _check_overlaps(network)
    if mode == "loopback":
        _check_loopback(network)
    return network


def check_services(network: Network, services: Iterable[Service]) -> None:
    """Addresses are for life: a region cannot leave the ranges in which it gave them.

    Raises:
        UsageError: some of these Services have cluster IPs outside the network's ranges.
    """
    outside = [
        f"{found.key} ({', '.join(found.spec.cluster_ips)})" for found in services if _is_outside(found, network)
    ]
    if outside:
        told = ", ".join(outside[:3]) + (", …" if len(outside) > 3 else "")
        has = "Service has a cluster IP" if len(outside) == 1 else "Services have cluster IPs"
        raise UsageError(
            f"{len(outside)} {has} outside {', '.join(map(str, network.service_ranges))}: {told}",
            "start with the --network and --service-cidr of before and delete them, or choose another --data-dir",
        )


def check_pools(network: Network, pools: Iterable[FloatingIPPool]) -> None:
    """What a pool gives out, a region cannot come to use for something else. The default pool counts as this start leaves it.

    Raises:
        UsageError: a range of some pool overlaps what the network has for Services, pods, its node or the link to it.
    """
    given = tuple(map(str, network.floating_ranges))
    for pool in pools:
        name, texts = pool.metadata.name, pool.spec.ranges
        if name == DEFAULT_POOL:
            change = defaultpool.start(pool, given, network.region).change or {}
            texts = tuple(change.get("spec", {}).get("ranges", texts))
        for (text, found), (noun, other) in product(zip(texts, ranges_of(texts), strict=True), of_the_region(network)):
            if found.overlaps(other):
                raise UsageError(
                    f"{text}, which pool {name} gives out, overlaps {noun}",
                    f"take another range, or start with those of before and change the pool: kubectl edit fippool {name}",
                )


def _is_outside(service: Service, network: Network) -> bool:
    addresses = () if service.headless else map(ip_address, service.spec.cluster_ips)
    return any(not any(address in found for found in network.service_ranges) for address in addresses)


def _check_idle(pods: Sequence[Range], endpoints: Sequence[Range]) -> None:
    for option, given, what in (("--pod-cidr", pods, "pods"), ("--endpoint-cidrs", endpoints, "traffic")):
        if given:
            raise UsageError(f"--network none has no {what} for {option}", "leave one of the two out")


def _check_counts(network: Network) -> None:
    if len(network.service_ranges) > 2 or len(set(network.families)) != len(network.families):
        raise UsageError(
            "--service-cidr takes one range, or two of different families",
            "--service-cidr 10.96.0.0/16,fd00:10:96::/112",
        )
    if network.pod_ranges and [found.version for found in network.pod_ranges] != [
        found.version for found in network.service_ranges
    ]:
        raise UsageError(
            f"--pod-cidr {_listed(network.pod_ranges)} and --service-cidr {_listed(network.service_ranges)} differ in families",
            "give both one range of each: --service-cidr 10.96.0.0/16,fd00:10:96::/112",
        )


def _check_sizes(network: Network) -> None:
    for found in network.service_ranges:
        if found.num_addresses < 8:
            raise UsageError(f"--service-cidr {found} is too small for Services", "take a prefix of at most /29 (IPv4)")
        if found.version == 6 and found.prefixlen < 64:
            raise UsageError(f"--service-cidr {found} is too large", "take a prefix of at least /64 (IPv6)")


def _check_overlaps(network: Network) -> None:
    every = (*network.service_ranges, *network.pod_ranges, *network.floating_ranges)
    for one, other in combinations(every, 2):
        if one.version == other.version and one.overlaps(other):
            raise UsageError(
                f"{one} and {other} overlap",
                "give Services, pods and floating IPs ranges of their own: --service-cidr, --pod-cidr, --floating-cidr",
            )


def _in_namespaces(
    services: tuple[Range, ...],
    pods: tuple[Range, ...],
    floating: tuple[Range, ...],
    endpoints: tuple[Range, ...],
    subnets: Iterable[Range],
) -> Network:
    """The second family has what the first has, but for a default pool of floating IPs. Checked as far as this mode goes."""
    first, *others = versions = [found.version for found in services]
    second = others[0] if others else 0
    machine = [ip_network(MACHINE[version]) for version in versions]
    network = Network(
        "namespace", services, pods or tuple(NAMESPACE_PODS[version] for version in versions),
        floating or (NAMESPACE_FLOATING[first],), endpoints or (*machine, *_beside_the_link(subnets)),
        node_address=NODE[first], machine_address=MACHINE[first],
        second_node_address=NODE.get(second, ""), second_machine_address=MACHINE.get(second, ""),
    )  # fmt: skip
    _check_namespace(network)
    return network


def _beside_the_link(subnets: Iterable[Range]) -> Iterator[Range]:
    """A killed run may have left its link on the machine."""
    return (found for found in subnets if ip_address(NODE[found.version]) not in found)


def _check_namespace(network: Network) -> None:
    for found in (*network.service_ranges, *network.pod_ranges, *network.floating_ranges):
        ends = MACHINE[found.version], NODE[found.version]
        if any(ip_address(end) in found for end in ends):
            raise UsageError(
                f"--network namespace has {' and '.join(ends)} for its link, so not {found} for others",
                _another(network, found.version),
            )
    for found in network.floating_ranges:
        if f"IPv{found.version}" not in network.families:
            raise UsageError(
                f"--floating-cidr {found} is of another family than Services have",
                f"--service-cidr {CLUSTER_SERVICES},fd00:10:96::/112",
            )
    first, *others = network.pod_ranges
    for other in others:
        if other.num_addresses < first.num_addresses:
            raise UsageError(
                f"--pod-cidr {other} is smaller than {first}: each pod has an address of either",
                f"--pod-cidr {first},{NAMESPACE_PODS[other.version]}",
            )


def _another(network: Network, version: int) -> str:
    free = _free(network, version)
    return f"take another range, such as {free}" if free else "take smaller ranges: these leave none free"


def _free(network: Network, version: int) -> Range | None:
    """A range that nothing in the network overlaps, nor the link; None: none of those that we could name."""
    taken = (*network.service_ranges, *network.pod_ranges, *network.floating_ranges)
    others = [
        ip_network(MACHINE[version]),
        ip_network(NODE[version]),
        *(one for one in taken if one.version == version),
    ]
    return next((found for found in _candidates(version) if not any(found.overlaps(one) for one in others)), None)


def _candidates(version: int) -> Iterator[Range]:
    yield NAMESPACE_PODS[version]
    for number in range(96, 256):
        yield ip_network(f"10.{number}.0.0/16" if version == 4 else f"fd00:10:{number}::/112")
    yield from ip_network("172.16.0.0/12" if version == 4 else "fd01::/64").subnets(prefixlen_diff=4)


def _listed(ranges: Iterable[Range]) -> str:
    return ",".join(map(str, ranges))


def _check_loopback(network: Network) -> None:
    for found in (*network.service_ranges, *network.pod_ranges):
        if not (isinstance(found, IPv4Network) and found.subnet_of(LOOPBACK)):
            raise UsageError(
                f"--network loopback serves only ranges inside 127.0.0.0/8, not {found}",
                "leave the range out, or use --network none for an API without traffic",
            )
    for found in (*network.service_ranges, *network.pod_ranges, *network.floating_ranges):
        if found.version == 4 and found.overlaps(IPv4Network("127.0.0.0/24")):
            raise UsageError(f"{found} holds this machine's own 127.0.0.1", "take another part of 127.0.0.0/8")
