"""From the question of ``pierhead trace`` to a packet: who sends it, and where to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec
from msgspec.structs import replace

from pierhead.api import addressranges
from pierhead.api.network import Network
from pierhead.api.services_spec import EXTERNAL_NAME
from pierhead.api.views import EndpointSlice, FloatingIPPool, Node, Pod, ProxyStatus, Service
from pierhead.errors import UsageError
from pierhead.forwarding.nftwalk import Address
from pierhead.forwarding.place import API_SERVICE, Place
from pierhead.forwarding.table import canonical
from pierhead.forwarding.trace import Packet
from pierhead.node import fabric
from pierhead.node.wiring import UPLINK
from pierhead.region import lab

SENDERS: Final = "--from takes node, machine, outside, an address, a node's name or a pod's: kubectl get pods"
EXAMPLE: Final = "write it like this: pierhead trace --from outside 10.96.0.5:80, or svc/my-service:http"
BROADCAST: Final = "255.255.255.255"
STRANGERS: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses of nobody (RFC 5737, RFC 3849), for a host outside that is not named."""
SELF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""What the kernel makes of a target that is no address: the host that asks."""
OUTSIDE, MACHINE, HERE = "outside", "machine", "node"


class Question(msgspec.Struct, frozen=True):
    """As it was asked."""

    origin: str
    target: str
    namespace: str
    protocol: str


class Seen(msgspec.Struct, frozen=True):
    """What the API told of the region."""

    network: Network
    services: Sequence[Service]
    slices: Sequence[EndpointSlice]
    pods: Sequence[Pod]
    nodes: Sequence[Node]
    proxies: Sequence[ProxyStatus]
    pools: Sequence[FloatingIPPool]
    namespaces: Collection[str]

    def pod_at(self, address: str) -> Pod | None:
        return next((pod for pod in self.pods if address in _addresses(pod)), None)

    def node_at(self, address: str) -> Node | None:
        return next((node for node in self.nodes if address in _inside(node)), None)

    def is_floating(self, address: Address) -> bool:
        """Whether it lies in a pool. The first and the last address of a network do too, though nobody is given them."""
        return any(_holds(text, address) for pool in self.pools for text in pool.spec.ranges)

    def service(self, namespace: str, name: str) -> Service | None:
        found = (item for item in self.services if (item.metadata.namespace, item.metadata.name) == (namespace, name))
        return next(found, None)


def _holds(text: str, address: Address) -> bool:
    """Whether a range of a pool does, as routes have it."""
    if "/" in text:
        return address in ip_network(text, strict=False)
    found = addressranges.parse(text)
    return found is not None and address in found


class Sender(msgspec.Struct, frozen=True):
    name: str
    addresses: Sequence[str]
    node: str = ""
    """Whose rules the packet meets first; empty: those of any."""
    link: str = ""
    """By which it comes to the node; empty: the node itself sends it."""


def sender_of(seen: Seen, question: Question, own: Collection[str] = ()) -> Sender:
    """``own``: the machine's addresses, if they are known. By whichever of them somebody on it is known, he asks a node from the
    machine's end of its link.

    Raises:
        UsageError: there is nobody of this name.
    """
    origin, network = question.origin, seen.network
    if not origin:
        raise UsageError("--from names nobody", SENDERS)
    _check_namespace(seen, question.namespace)
    in_lab = lab.is_one(network)
    if origin == OUTSIDE:
        return Sender("a host outside", tuple(map(str, fabric.STRANGER.values())) if in_lab else STRANGERS, link=UPLINK)
    if origin == MACHINE and network.machine_addresses:
        return Sender("the lab itself" if in_lab else "this machine", network.machine_addresses, link=UPLINK)
    if origin in (MACHINE, HERE):
        return Sender("this machine" if origin == MACHINE else "the node", network.node_addresses)
    if address := canonical(origin):
        return _sender_at(seen, address, own)
    for node in seen.nodes:
        if node.metadata.name == origin:
            return Sender(f"node {origin}", _inside(node), origin)
    namespace, _, name = origin.removeprefix("pod/").rpartition("/")
    _check_namespace(seen, namespace or question.namespace)
    for pod in seen.pods:
        if (pod.metadata.namespace, pod.metadata.name) == (namespace or question.namespace, name):
            return _pod_sender(pod, network, own)
    or_node = "" if origin.startswith("pod/") else ", and no node of this name"
    raise UsageError(
        f"there is no pod {name} in namespace {namespace or question.namespace}{or_node}",
        SENDERS,
    )


def _check_namespace(seen: Seen, name: str) -> None:
    if not name:
        raise UsageError("--namespace names none", "leave it out, or write one of: kubectl get namespaces")
    if name not in seen.namespaces:
        raise UsageError(f"there is no namespace {name}", "those there are: kubectl get namespaces")


def _sender_at(seen: Seen, address: str, own: Collection[str]) -> Sender:
    network = seen.network
    if address in network.node_addresses:
        return Sender("the node", (address,))
    if pod := seen.pod_at(address):
        return _pod_sender(pod, network, own)
    if network.machine_addresses and address in own:
        return Sender("this machine", network.machine_addresses, link=UPLINK)
    _check_source(network, address)
    machine = address in network.machine_addresses or ip_address(address).is_loopback
    return Sender("this machine" if machine else "a host outside", (address,), link=_link(address))


def _check_source(network: Network, address: str) -> None:
    """That of nobody in the region: it may be somebody's outside. In mode loopback every process may take every address of 127/8."""
    found = ip_address(address)
    if found.is_multicast or found.is_unspecified or address == BROADCAST:
        raise UsageError(f"nobody sends from {address}", f"it is no host's address: {SENDERS}")
    if network.mode != "namespace":
        return
    if any(found in one for one in network.service_ranges):
        raise UsageError(f"nobody sends from {address}", f"it lies in the range of cluster IPs: {SENDERS}")
    if any(found in one for one in network.pod_ranges):
        raise UsageError(f"no pod has the address {address}", "those they have: kubectl get pods -A -o wide")


def _pod_sender(pod: Pod, network: Network, own: Collection[str]) -> Sender:
    """An external pod comes from where it is, as any host there does."""
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if not _addresses(pod):
        raise UsageError(f"pod {name} has no address yet", f"see why: kubectl describe pod {pod.metadata.name}")
    first = _addresses(pod)[0]
    if network.machine_addresses and first in own:
        return Sender(f"pod {name}", network.machine_addresses, pod.spec.node_name, UPLINK)
    inside = any(ip_address(first) in found for found in network.pod_ranges)
    link = f"link of pod {name}"[:15] if inside else _link(first)
    return Sender(f"pod {name}", _addresses(pod), pod.spec.node_name, link)


def _link(address: str) -> str:
    """By which the node hears of a host elsewhere; what has an address of loopback is on the machine itself."""
    return "" if ip_address(address).is_loopback else UPLINK


def _addresses(pod: Pod) -> list[str]:
    told = [found.ip for found in pod.status.pod_ips] or [pod.status.pod_ip]
    return [address for address in told if address]


def _inside(node: Node) -> list[str]:
    return [found.address for found in node.status.addresses if found.type == "InternalIP"]


def packet_of(seen: Seen, question: Question, sender: Sender) -> Packet:
    """Raises:
    UsageError: the target is none, or the sender has no address of its family.
    """
    host, _, port = question.target.rpartition(":")
    is_service = host.startswith(("svc/", "service/"))
    if not port or ":" not in question.target:
        raise UsageError(f'"{question.target}" names no port', EXAMPLE)
    if not host:
        raise UsageError(f'"{question.target}" names no address and no Service', EXAMPLE)
    if is_service and host.endswith("/"):
        raise UsageError(f'"{question.target}" names no Service', EXAMPLE)
    if is_service:
        address, number = _service(seen, question, host.partition("/")[2], port)
    else:
        address, number = canonical(host.removeprefix("[").removesuffix("]")), _number(port)
    if not address:
        raise UsageError(f'"{host}" is no address and no Service', EXAMPLE)
    address = SELF.get(address, address)
    version = ip_address(address).version
    source = next((found for found in sender.addresses if ip_address(found).version == version), "")
    if f"IPv{version}" not in seen.network.families:
        raise UsageError(
            f"this region has no IPv{version}", f"it has {seen.network.families[0]}: name an address of that"
        )
    if not source:
        raise UsageError(f"{sender.name} has no IPv{version}", "name a sender of the target's family: --from")
    return Packet(source, question.protocol, address, number)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise UsageError(f'"{text}" is no port number', "write one from 1 to 65535")
    return int(text)


def _service(seen: Seen, question: Question, text: str, port: str) -> tuple[str, int]:
    namespace, _, name = text.rpartition("/")
    _check_namespace(seen, namespace or question.namespace)
    found = seen.service(namespace or question.namespace, name)
    if found is None:
        raise UsageError(
            f"there is no Service {name} in namespace {namespace or question.namespace}",
            "those there are: kubectl get services -A",
        )
    address = canonical(found.spec.cluster_ip)
    if found.spec.type == EXTERNAL_NAME:
        raise UsageError(
            f"Service {name} is the name {found.spec.external_name} and no more",
            "no packet is sent to it: name an address",
        )
    if not address:
        raise UsageError(
            f"Service {name} has no cluster IP", "name an address: its clients connect to its endpoints themselves"
        )
    for one in found.spec.ports:
        if port == one.name:
            if one.protocol != question.protocol:
                raise UsageError(f"port {port} of Service {name} is {one.protocol}", "for UDP: --udp")
            return address, one.port
    if not port.isdecimal():
        there = ", ".join(f"{one.name} ({one.port})" if one.name else str(one.port) for one in found.spec.ports)
        raise UsageError(f"Service {name} has no port {port}", f"it has {there}")
    return address, _number(port)


def place_of(seen: Seen, sender: Sender, packet: Packet) -> Place:
    """The proxy whose rules the packet meets first."""
    served = sorted(found.status.nodes for found in seen.proxies if found.status.nodes)
    asked = seen.node_at(packet.address)
    meant = sender.node or (asked.metadata.name if asked else "")
    names = next((nodes for nodes in served if meant in nodes), served[0] if served else ())
    own = [node for node in seen.nodes if node.metadata.name in names] or list(seen.nodes)
    zones = frozenset(node.zone for node in own if node.zone)
    network = seen.network
    if own and lab.is_one(network) and (inside := _inside(own[0])):  # elsewhere all nodes have the same
        network = replace(network, node_address=inside[0], second_node_address="".join(inside[1:2]))
    return Place(frozenset(node.metadata.name for node in own), network, zones, frozenset(_api(seen.slices)))


def _api(slices: Sequence[EndpointSlice]) -> Iterator[tuple[str, int]]:
    """Where the API server itself answers."""
    for found in slices:
        if (found.metadata.namespace, found.service) == API_SERVICE:
            for port in found.ports or ():
                for endpoint in found.endpoints or ():
                    yield from ((address, port.port or 0) for address in endpoint.addresses)
