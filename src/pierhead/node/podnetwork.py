"""``PodNetwork``: what is a pod's own of the network. The seam between a network mode and the life of a pod."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Final, Protocol

from pierhead.dataplane.netlink import Netlink
from pierhead.errors import ObjectMissing
from pierhead.node import netns
from pierhead.node.netns import NetworkNamespace
from pierhead.wire import links, routes
from pierhead.wire import netlink as wire
from pierhead.wire.routes import Address, Route

INTERFACE: Final = "eth0"
"""The pod's end of its link."""
ANY_NAME: Final = "pod%d"
"""The node's end: the kernel counts."""
GATEWAY_IP6: Final = ip_interface("fe80::1/64")
"""The node's end: in IPv6 nobody answers for an address that is on another link."""
LOWEST_PORT: Final = "net/ipv4/ip_unprivileged_port_start"
"""In a namespace that is a pod's alone, low ports are nobody's privilege."""


class PodNetwork(Protocol):
    """Law: attaching is done before the first container starts, again whenever one starts, and costs nothing then; after detaching
    nothing of it is left."""

    def attach(self, pod: str, address: str) -> tuple[str, ...]:
        """What to put before a command of the pod (its uid) so that it runs there.

        Raises:
            KernelError: the kernel refused a step; nothing of it is left.
        """
        ...

    def detach(self, pod: str) -> None: ...


class Shared:
    """All pods share the network of the machine, each with an address of its own: loopback mode."""

    def attach(self, pod: str, address: str) -> tuple[str, ...]:
        return ()

    def detach(self, pod: str) -> None:
        """There is nothing to undo."""


class Apart:
    """A namespace for each pod, with a link to its node's, over which it reaches everything. In a few milliseconds."""

    def __init__(self, node: NetworkNamespace, gateway: str, directory: Path) -> None:
        """``gateway``: the node's address, of the family that pods have. ``directory``: for this alone."""
        self._node, self._gateway, self._directory = node, ip_address(gateway), directory
        self._attached: dict[str, tuple[NetworkNamespace, Route]] = {}
        """With the node's route to the pod."""
        self._route: Netlink = node.open(wire.Protocol.ROUTE)

    def attach(self, pod: str, address: str) -> tuple[str, ...]:
        if pod not in self._attached:
            try:
                self._attached[pod] = self._make(pod, address)
            except BaseException:
                netns.remove(self._directory / pod)
                raise
        return self._attached[pod][0].prefix

    def detach(self, pod: str) -> None:
        """The kernel takes the link away when it gets round to clearing the namespace: told to, it would let us wait for 30 ms. The
        address may be another pod's before that; names of links are the kernel's choice, so that nobody waits for one."""
        if pod in self._attached:
            namespace, route = self._attached.pop(pod)
            with suppress(ObjectMissing):
                self._route.perform([routes.delete(route)])
            netns.remove(namespace.path)

    def close(self) -> None:
        """Everything that is still attached is detached."""
        for pod in list(self._attached):
            self.detach(pod)
        self._route.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _make(self, pod: str, address: str) -> tuple[NetworkNamespace, Route]:
        found = netns.make(self._directory / pod)
        with found.opened() as there:
            self._route.perform([links.add_veth(links.End(ANY_NAME), links.End(INTERFACE, there))])
        with found.open(wire.Protocol.ROUTE) as inside:
            link = links.read(inside.request(links.find(INTERFACE))[0])
            route = Route(ip_network(address), link.peer)
            self._route.perform(list(self._outside(link.peer, route)))
            inside.perform(list(self._inside(link.index, address)))
        found.set(LOWEST_PORT, "0")
        return found, route

    def _outside(self, index: int, route: Route) -> Iterator[wire.Message]:
        yield links.switch(index, up=True)
        if self._gateway.version == 6:
            yield routes.add(Address(index, GATEWAY_IP6, without_dad=True))
        yield routes.put(route)

    def _inside(self, index: int, address: str) -> Iterator[wire.Message]:
        """In IPv4 the gateway is on no network of the pod's: the node answers for its address on every link."""
        six = self._gateway.version == 6
        anywhere, gateway = ip_network("::/0" if six else "0.0.0.0/0"), GATEWAY_IP6.ip if six else self._gateway
        yield links.switch(index, up=True)
        yield routes.add(Address(index, ip_interface(address), without_dad=six))
        yield routes.add(Route(anywhere, index, gateway, onlink=True))
