"""The network in which kube-proxy 1.36 was recorded: two nodes with three pods each, and a host outside.

::

                 outside  192.168.100.100, .101   203.0.113.80   192.168.101.100
                    |     fd00:100::100, ::101    2001:db8:113::80   fd00:101::100
    ----------------+---------------+------------ one bridge, two networks
              node-a  .11           node-b  .12
       pods 10.244.1.11-13       pods 10.244.2.11-13

The proxy under test is on node-a, which also has an address on the second network; node-b routes, and its default route is node-a. The
host outside reaches addresses of Services through node-a; it forwards nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from inkernel import Sockets, sockets_of
from namespaces import Namespace

ADDRESSES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "node-a": ("192.168.100.11", "fd00:100::11"),
        "node-a-second": ("192.168.101.11", "fd00:101::11"),
        "node-b": ("192.168.100.12", "fd00:100::12"),
        "outside": ("192.168.100.100", "fd00:100::100"),
        "outside2": ("192.168.100.101", "fd00:100::101"),
        "outside-second": ("192.168.101.100", "fd00:101::100"),
        "outside-lb": ("203.0.113.80", "2001:db8:113::80"),
    }
    | {
        f"pod-{node}{number}": (f"10.244.{net}.1{number}", f"fd00:10:244:{net}::1{number}")
        for net, node in enumerate("ab", 1)
        for number in (1, 2, 3)
    }
)
"""Of each name IPv4 and IPv6."""
NAMES: Final[Mapping[str, str]] = {address: name for name, both in ADDRESSES.items() for address in both}
SERVICES: Final = (
    "10.96.0.0/12", "203.0.113.0/24", "198.51.100.0/24", "fd00:10:96::/108", "2001:db8:113::/64", "2001:db8:51::/64",
)  # fmt: skip
"""What the host outside reaches through node-a."""
SYSCTLS: Final = """
net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000 net.ipv6.icmp.ratelimit=0
net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
"""
"""Refusals are all sent, and no address is waited for."""
PODS: Final = tuple(name for name in ADDRESSES if name.startswith("pod-"))
GATEWAY: Final = "fe80::1"
"""A node's end of a pod's link."""


@dataclass(frozen=True)
class Host:
    namespace: Namespace
    sockets: Sockets


class Topology:
    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self.hosts = hosts
        self.netlink = hosts["node-a"].namespace.open()
        """To node-a's tables and connections."""

    def host(self, name: str) -> Host:
        """``outside2`` is the host outside under another address."""
        return self.hosts[name.rstrip("2") if name.startswith("outside") else name]

    def route(self, name: str, route: str, *, add: bool = True) -> None:
        self.host(name).namespace.run("ip", "route", "add" if add else "delete", *route.split())


@contextmanager
def topology(node: Namespace) -> Iterator[Topology]:
    """``node``: an empty namespace, which becomes node-a."""
    with ExitStack() as stack:
        others = ("node-b", "outside", *PODS)
        there = {"node-a": node} | {name: stack.enter_context(node.another()) for name in others}
        for namespace in there.values():
            namespace.run("sysctl", "-qw", *SYSCTLS.split())
        _run(there["outside"], _outside(there))
        for name in ("node-a", "node-b"):
            _run(there[name], _node(name, there))
        for name in PODS:
            _run(there[name], _pod(name))
        for name in ("node-a", "node-b", "outside"):
            _run(there[name], _routes(name))
        yield Topology({name: Host(one, stack.enter_context(sockets_of(one))) for name, one in there.items()})


def _run(there: Namespace, commands: Iterable[str]) -> None:
    there.run("sh", "-ec", "\n".join(commands))


def _addresses(name: str) -> Iterator[str]:
    """Of the second ones none is chosen as a source by itself."""
    four, six = ADDRESSES[name]
    spare = "" if name in ("node-a", "node-b", "outside") else "preferred_lft 0"
    yield f"ip address add {four}/24 dev eth0"
    yield f"ip address add {six}/64 dev eth0 nodad {spare}"


def _outside(there: Mapping[str, Namespace]) -> Iterator[str]:
    """The bridge is here; the host's own addresses are on it."""
    yield "ip link add eth0 type bridge mcast_snooping 0"
    yield "ip link set eth0 up"
    for node in ("node-a", "node-b"):
        yield f"ip link add {node} type veth peer name eth0 netns {there[node].prefix[-1]}"
        yield f"ip link set {node} master eth0 up"
    for name in ("outside", "outside2", "outside-second"):
        yield from _addresses(name)
    for address in ADDRESSES["outside-lb"]:
        yield f"ip address add {address} dev eth0 {'nodad preferred_lft 0' if ':' in address else ''}"


def _node(name: str, there: Mapping[str, Namespace]) -> Iterator[str]:
    """Its end of a pod's link has no IPv4 address: what is masqueraded towards a pod has the node's."""
    yield "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    yield "ip link set eth0 up"
    for own in (name, f"{name}-second"):
        if own in ADDRESSES:
            yield from _addresses(own)
    for pod in (pod for pod in PODS if pod[4] == name[5]):
        link = f"veth-{pod[4:]}"
        yield f"ip link add {link} type veth peer name eth0 netns {there[pod].prefix[-1]}"
        yield f"ip link set {link} up"
        yield f"ip address add {GATEWAY}/64 dev {link} nodad"
        for address in ADDRESSES[pod]:
            yield f"ip route add {address} dev {link}"


def _pod(name: str) -> Iterator[str]:
    yield "ip link set eth0 up"
    for address in ADDRESSES[name]:
        yield f"ip address add {address} dev eth0 {'nodad' if ':' in address else ''}"
    for gateway in (ADDRESSES[f"node-{name[4]}"][0], GATEWAY):
        yield f"ip route add default via {gateway} dev eth0 onlink"


def _routes(name: str) -> Iterator[str]:
    """The way back from node-b is node-a, whatever it is to."""
    if name != "outside":
        for gateway in ADDRESSES["outside" if name == "node-a" else "node-a"]:
            yield f"ip route add default via {gateway}"
    for net, node in enumerate(("node-a", "node-b"), 1):
        if name == "outside" or (name, node) == ("node-a", "node-b"):
            four, six = ADDRESSES[node]
            yield f"ip route add 10.244.{net}.0/24 via {four}"
            yield f"ip route add fd00:10:244:{net}::/64 via {six}"
    if name == "outside":
        four, six = ADDRESSES["node-a"]
        for found in SERVICES:
            yield f"ip route add {found} via {six if ':' in found else four}"
