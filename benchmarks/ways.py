"""Ways for traffic from a client through a node to a pod with ten addresses; each of the three is in a network namespace of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import traffic
from benchmarks.tables import GROUND, NODE_ADDRESS, PORT, SERVICES, TARGET, backends, cluster_ip, table
from pierhead.dataplane.nftables import Nftables
from pierhead.forwarding.diff import whole
from pierhead.forwarding.table import ForwardingTable, Frontend, PortKey, Rule, ServiceName
from pierhead.node import netns
from pierhead.node.netns import NetworkNamespace
from pierhead.wire import links
from pierhead.wire.links import End
from pierhead.wire.netlink import Protocol

SERVICE, ENDPOINTS = 7, 10
AT = cluster_ip(SERVICE)
PODS_HERE = [found.address for found in backends(SERVICE, ENDPOINTS).cluster]
NEAR = "10.128.0.0/10"
"""Addresses of pods that are the one pod's; the client, a pod as well, has another."""
SBIN = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
CONNTRACK = (
    "add table ip t; add chain ip t c { type filter hook prerouting priority 0; }; add rule ip t c ct state new counter"
)
HAPROXY = """
global
  maxconn 4000
  nbthread 2
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend web
  bind {address}:{port}
  default_backend pods
backend pods
{servers}
"""


class Way(NamedTuple):
    """From where somebody asks, and whom."""

    enter: Sequence[str]
    address: str
    port: int
    udp: bool = True

    def ask(self, kind: traffic.Kind, seconds: float) -> traffic.Traffic:
        return traffic.ask(kind, self.address, self.port, seconds=seconds, enter=self.enter)


@contextmanager
def lab(directory: Path) -> Iterator[tuple[NetworkNamespace, NetworkNamespace]]:
    """A node, and its client."""
    directory.mkdir()
    node, client, pod = (netns.make(directory / name) for name in ("node", "client", "pod"))
    with ExitStack() as stack:
        for found in (node, client, pod):
            stack.callback(netns.remove, found.path)
        for name, other, wire in (("client", client, "10.200.0"), ("pod", pod, "10.0.1")):
            with node.open(Protocol.ROUTE) as route, other.opened() as there:
                route.perform([links.add_veth(End(name), End("eth0", namespace=there))])
            ip(node, f"address add {wire}.1/24 dev {name}", f"link set {name} up")
            ip(other, f"address add {wire}.2/24 dev eth0", "link set eth0 up", f"route add default via {wire}.1")
        local = f"route add local {SERVICES} dev lo"
        ip(node, f"address add {NODE_ADDRESS}/32 dev lo", f"route add {NEAR} via 10.0.1.2", local)
        ip(pod, f"route add local {NEAR} dev lo")
        node.set("net/ipv4/ip_forward", "1")
        stack.enter_context(traffic.serving("0.0.0.0", TARGET, pod.prefix))
        yield node, client


@contextmanager
def direct(directory: Path) -> Iterator[Way]:
    with lab(directory) as (_, client):
        yield Way(client.prefix, PODS_HERE[0], TARGET)


@contextmanager
def with_conntrack(directory: Path) -> Iterator[Way]:
    """The same where the node tracks connections: what no translation can undercut."""
    with lab(directory) as (node, client):
        subprocess.run([*node.prefix, "nft", CONNTRACK], check=True, env=SBIN)
        yield Way(client.prefix, PODS_HERE[0], TARGET)


@contextmanager
def ours(directory: Path, services: int) -> Iterator[Way]:
    with lab(directory) as (node, client):
        dataplane = Nftables([GROUND], node.open(Protocol.NETFILTER))
        asyncio.run(dataplane.commit(whole(with_udp(table(services, ENDPOINTS)))))
        yield Way(client.prefix, AT, PORT)


@contextmanager
def userspace(directory: Path) -> Iterator[Way]:
    with lab(directory) as (node, client):
        command = [*node.prefix, sys.executable, "-m", "benchmarks.ways"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            yield Way(client.prefix, AT, PORT)
            process.kill()


@contextmanager
def haproxy(directory: Path) -> Iterator[Way]:
    with lab(directory) as (node, client):
        servers = "\n".join(f"  server {found} {found}:{TARGET}" for found in PODS_HERE)
        path = directory / "haproxy.cfg"
        path.write_text(HAPROXY.format(address=AT, port=PORT, servers=servers))
        with subprocess.Popen([*node.prefix, "haproxy", "-db", "-q", "-f", path], env=SBIN) as process:
            way = Way(client.prefix, AT, PORT, udp=False)
            while not way.ask("connect", 0.05).done:
                time.sleep(0.05)
            yield way
            process.kill()


def has_haproxy() -> bool:
    return shutil.which("haproxy", path=SBIN["PATH"]) is not None


def with_udp(found: ForwardingTable) -> ForwardingTable:
    """The Service that is asked answers UDP as well."""
    key = PortKey(ServiceName("default", "dns"), "dns", "UDP", "IPv4")
    rules = {**found.rules, Frontend("UDP", AT, PORT): Rule(key, "cluster", "Cluster")}
    return ForwardingTable(rules, {**found.backends, key: backends(SERVICE, ENDPOINTS)})


def ip(namespace: NetworkNamespace, *lines: str) -> None:
    """Has ``ip`` do each of these there."""
    command = [*namespace.prefix, "ip", "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, env=SBIN)


async def _carry() -> None:
    """The userspace back end, in the namespace of this process, until it is killed."""
    from benchmarks.tables import PLACE
    from pierhead.dataplane.userspace import Userspace

    dataplane = Userspace(PLACE)
    refused = await dataplane.commit(whole(with_udp(table(SERVICE + 1, ENDPOINTS))))
    assert not refused
    print("carrying", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(_carry())
