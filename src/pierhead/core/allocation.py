"""The cluster IPs and node ports of a Service: which it gets, keeps and gives back, as claims that go into the commit of its write.

The claims are ``claims/ip/10.96.0.7`` and ``claims/nodeport/30080``. Node ports are one space of numbers, whatever the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from pierhead.api import Tree
from pierhead.api.network import Network, Range
from pierhead.api.rules import address, invalid_value, path_segment, quoted
from pierhead.api.services_families import ADDRESSES
from pierhead.api.services_spec import (
    EXTERNAL_NAME,
    NO_ADDRESS,
    cluster_ips,
    families,
    health_port,
    is_headless,
    kind_of,
    may_have_node_ports,
    needs_health_check,
    node_ports,
    ports_of,
    spec_of,
    wants_node_ports,
)
from pierhead.core.claims import Allocation
from pierhead.core.families import keeps_preference, resolve
from pierhead.core.pools import Pick, Pool, Taken, address_of, addresses, ports
from pierhead.errors import ApiError, Cause, internal, invalid

ADDRESS_CLAIM = "claims/ip/"
PORT_CLAIM = "claims/nodeport/"
TAKEN_ADDRESS = "provided IP is already allocated"
TAKEN_PORT = "provided port is already allocated"


class Claims(Protocol):
    """What is taken, as of now."""

    def holder(self, key: str) -> str | None:
        """The store key of the object that holds this claim."""
        ...


def allocate(
    obj: Tree, old: Tree | None, network: Network, claims: Claims, pick: Pick, *, dry_run: bool = False
) -> Allocation:
    """Fills families, cluster IPs and node ports of a Service in place; ``old`` is None at creation.

    A dry run takes nothing and answers with placeholders: the range's own address, ports above the range.

    Raises:
        ApiError: 422 for what was asked for and cannot be had, 500 when a pool is empty.
    """
    spec, before = spec_of(obj), spec_of(old or {})
    write = _Write(obj, network, claims, pick, dry_run=dry_run)
    write.refuse(resolve(spec, before, network.families))
    _allocate_addresses(write, spec, before)
    if old is None:
        _first_node_ports(write, spec)
    else:
        _next_node_ports(write, spec, before)
    _allocate_health_port(write, spec, before)
    if dry_run:
        return Allocation()
    kept = held(obj)
    return Allocation(tuple(write.taken), tuple(claim for claim in held(old or {}) if claim not in kept))


def held(service: Tree) -> tuple[str, ...]:
    """The claim keys that belong to a Service as it stands."""
    spec = spec_of(service)
    keys: list[str] = []
    if kind_of(spec) != EXTERNAL_NAME:
        keys += [address_claim(ip) for ip in cluster_ips(spec) if ip and ip != NO_ADDRESS]
    if may_have_node_ports(spec):
        keys += [port_claim(number) for number in node_ports(spec)]
    if needs_health_check(spec) and health_port(spec):
        keys.append(port_claim(health_port(spec)))
    return tuple(dict.fromkeys(keys))


def address_claim(ip: str) -> str:
    """One key for every way to write an address."""
    return f"{ADDRESS_CLAIM}{address(ip) or ip}"


def port_claim(number: int) -> str:
    return f"{PORT_CLAIM}{number}"


# -- addresses ----------------------------------------------------------------------------------------------


def _allocate_addresses(write: _Write, spec: Tree, before: Tree) -> None:
    if kind_of(spec) == EXTERNAL_NAME or is_headless(spec) or keeps_preference(spec, before):
        return
    if not before or kind_of(before) == EXTERNAL_NAME:
        _fill(write, spec, range(len(families(spec))))
    elif cluster_ips(before)[:1] != [NO_ADDRESS] and (len(families(before)), len(families(spec))) == (1, 2):
        _fill(write, spec, range(1, 2))


def _fill(write: _Write, spec: Tree, places: range) -> None:
    """Takes the addresses named at these places, and finds one for each place that names none."""
    missing = len(families(spec)) - len(cluster_ips(spec))
    spec["clusterIPs"] = [*cluster_ips(spec), *[""] * missing]
    for i in places:
        wanted = spec["clusterIPs"][i]
        network = write.range_of(families(spec)[i])
        if wanted:
            write.take_address(network, wanted)
        else:
            spec["clusterIPs"][i] = write.find_address(network)
    spec["clusterIP"] = spec["clusterIPs"][0]


# -- node ports ---------------------------------------------------------------------------------------------


def _first_node_ports(write: _Write, spec: Tree) -> None:
    """At creation, ports of one number and several protocols share a node port: it is given once and said for each."""
    if not may_have_node_ports(spec):
        return
    shared: dict[int, int] = {}
    for i, port in enumerate(ports_of(spec)):
        number, wanted = port.get("port") or 0, port.get("nodePort") or 0
        if not wanted and not wants_node_ports(spec):
            continue
        if number not in shared:
            asked = next((other["nodePort"] for other in _same_number(spec, number) if other.get("nodePort")), 0)
            shared[number] = write.take_port(i, asked) if asked else write.find_port("a nodePort")
            port["nodePort"] = shared[number]
        elif not wanted:
            port["nodePort"] = shared[number]
        elif wanted != shared[number]:
            write.take_port(i, wanted)


def _same_number(spec: Tree, number: int) -> list[Tree]:
    return [port for port in ports_of(spec) if (port.get("port") or 0) == number]


def _next_node_ports(write: _Write, spec: Tree, before: Tree) -> None:
    """At an update each port without a node port gets one of its own; numbers it had before are still its own."""
    if not may_have_node_ports(spec):
        return
    own = set(node_ports(before)) if may_have_node_ports(before) else set()
    seen: set[tuple[str, int]] = set()
    for i, port in enumerate(ports_of(spec)):
        number = port.get("nodePort") or 0
        if not number and not wants_node_ports(spec):
            continue
        if not number:
            number = port["nodePort"] = write.find_port("a nodePort")
        elif number not in own:
            write.take_port(i, number)
            own.add(number)
        pair = (port.get("protocol") or "", number)
        if pair in seen:
            raise ApiError(500, "", f"duplicate nodePort: {{{pair[0]} {pair[1]}}}")
        seen.add(pair)


def _allocate_health_port(write: _Write, spec: Tree, before: Tree) -> None:
    if not needs_health_check(spec) or needs_health_check(before):
        return
    if health_port(spec):
        problem = write.port_problem(health_port(spec))
        if problem:
            raise internal(f"failed to allocate requested HealthCheck NodePort {health_port(spec)}: {problem}")
        write.claim_port(health_port(spec))
    else:
        spec["healthCheckNodePort"] = write.find_port("a HealthCheck NodePort 0")


# -- one write ----------------------------------------------------------------------------------------------


class _Write:
    """What one write has taken so far, over what others have."""

    def __init__(self, service: Tree, network: Network, claims: Claims, pick: Pick, *, dry_run: bool) -> None:
        self._name: str = service["metadata"].get("name") or ""
        self._namespace: str = service["metadata"].get("namespace") or ""
        self._service = service
        self._network = network
        self._claims = claims
        self._pick = pick
        self._dry_run = dry_run
        self._ports: list[int] = []
        self.taken: list[str] = []
        """Claim keys, in the order taken."""

    def refuse(self, causes: Sequence[Cause]) -> None:
        if causes:
            raise invalid(self._name, "Service", "", causes)

    # addresses

    def range_of(self, family: str) -> Range:
        return self._network.service_ranges[self._network.families.index(family)]

    def take_address(self, network: Range, ip: str) -> None:
        problem = self._address_problem(network, ip) or self._parent_problem(ip)
        if problem:
            self._refuse_address(f"failed to allocate IP {ip}: {problem}")
        self.taken.append(address_claim(ip))

    def find_address(self, network: Range) -> str:
        if self._dry_run:
            return str(network.network_address)
        number = _address_pool(network).next_free(self._taken(network), self._pick)
        if number is None:
            raise internal(f'failed to allocate a serviceIP for Service "{self._name}": range is full')
        ip = str(address_of(network, number))
        problem = self._parent_problem(ip)
        if problem:
            self._refuse_address(f"failed to allocate IP: {problem}")
        self.taken.append(ADDRESS_CLAIM + ip)
        return ip

    def _address_problem(self, network: Range, ip: str) -> str:
        number = int(address(ip) or 0)
        if number not in _address_pool(network):
            if self._dry_run:
                return f"the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}"
            return "the provided network does not match the current range"
        if self._dry_run:  # a dry run does not look whether it is taken: the real server's does not
            return ""
        return TAKEN_ADDRESS if self._taken(network)(number) else ""

    def _taken(self, network: Range) -> Taken:
        """Whether a number is taken. The first address of the first range is for the Service ``kubernetes``, also before that exists."""
        is_first = network == self._network.service_ranges[0]
        mine = (self._namespace, self._name) == ("default", "kubernetes")
        reserved = int(network.network_address) + 1 if is_first and not mine else 0

        def taken(number: int) -> bool:
            key = f"{ADDRESS_CLAIM}{address_of(network, number)}"
            return number == reserved or key in self.taken or self._claims.holder(key) is not None

        return taken

    def _parent_problem(self, ip: str) -> str:
        """An address belongs to a name; the real server finds a bad one here, before it validates the Service."""
        if self._dry_run:
            return ""
        path = "spec.parentRef.name"
        problems = [f"Invalid value: {quoted(self._name)}: {text}" for text in path_segment(self._name)]
        if not self._name:
            problems = ["Required value"]
        text = ", ".join(f"{path}: {problem}" for problem in problems)
        text = f"[{text}]" if len(problems) > 1 else text
        return f'IPAddress.networking.k8s.io "{ip}" is invalid: {text}' if problems else ""

    def _refuse_address(self, why: str) -> None:
        self.refuse([invalid_value(ADDRESSES, cluster_ips(spec_of(self._service)), why)])

    # ports

    def take_port(self, place: int, number: int) -> int:
        problem = self.port_problem(number)
        if problem:
            self.refuse([invalid_value(f"spec.ports[{place}].nodePort", number, problem)])
        return self.claim_port(number)

    def port_problem(self, number: int) -> str:
        if number in self._ports or self._claims.holder(port_claim(number)) is not None:
            return TAKEN_PORT
        valid = self._network.node_ports
        if number not in valid and not self._dry_run:
            listed = f"{valid.start}-{valid.stop - 1}"
            return f"provided port is not in the valid range. The range of valid ports is {listed}"
        return ""

    def find_port(self, noun: str) -> int:
        if self._dry_run:
            return self.claim_port(max([*self._ports, self._network.node_ports.stop]) + 1)
        number = _port_pool(self._network.node_ports).next_free(lambda n: self.port_problem(n) != "", self._pick)
        if number is None:
            raise internal(f"failed to allocate {noun}: range is full")
        return self.claim_port(number)

    def claim_port(self, number: int) -> int:
        self._ports.append(number)
        self.taken.append(port_claim(number))
        return number


@lru_cache(maxsize=8)
def _address_pool(network: Range) -> Pool:
    return addresses(network)


@lru_cache(maxsize=8)
def _port_pool(numbers: range) -> Pool:
    return ports(numbers)
