"""``PodNetwork``: what is a pod's own of the network. The seam between a network mode and the life of a pod."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Final, Protocol

from pierhead.dataplane.netlink import Netlink
from pierhead.errors import KernelError, ObjectMissing
from pierhead.node import netns
from pierhead.node.netns import NetworkNamespace
from pierhead.wire import links, routes
from pierhead.wire import netlink as wire
from pierhead.wire.routes import IP, Address, Route

log = logging.getLogger(__name__)

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

    def attach(self, pod: str, addresses: Sequence[str]) -> tuple[str, ...]:
        """What to put before a command of the pod (its uid) so that it runs there.

        Raises:
            KernelError: the kernel refused a step; nothing of it is left.
        """
        ...

    def detach(self, pod: str) -> None:
        """Raises:
        KernelError, OSError: a step failed; the others were done.
        """
        ...


class Shared:
    """All pods share the network of the machine, each with an address of its own: loopback mode."""

    def attach(self, pod: str, addresses: Sequence[str]) -> tuple[str, ...]:
        return ()

    def detach(self, pod: str) -> None:
        """There is nothing to undo."""


class Apart:
    """A namespace for each pod, with a link to its node's, over which it reaches everything. In a few milliseconds."""

    def __init__(self, node: NetworkNamespace, gateways: Sequence[str], directory: Path) -> None:
        """``gateways``: the node's addresses, one for each family that pods have. ``directory``: for this alone."""
        self._node, self._directory = node, directory
        self._gateways: dict[int, IP] = {found.version: found for found in map(ip_address, gateways)}
        self._attached: dict[str, tuple[NetworkNamespace, list[Route]]] = {}
        """With the node's routes to the pod."""
        self._route: Netlink = node.open(wire.Protocol.ROUTE)

    def attach(self, pod: str, addresses: Sequence[str]) -> tuple[str, ...]:
        if pod not in self._attached:
            try:
                self._attached[pod] = self._make(pod, addresses)
            except BaseException:
                netns.remove(self._directory / pod)
                raise
        return self._attached[pod][0].prefix

    def detach(self, pod: str) -> None:
        """The kernel takes the link away when it gets round to clearing the namespace: told to, it would let us wait for 30 ms. The
        address may be another pod's before that; names of links are the kernel's choice, so that nobody waits for one."""
        if pod in self._attached:
            namespace, known = self._attached.pop(pod)
            try:
                self._route.perform([routes.delete(route) for route in known], forgiving=(ObjectMissing,))
            finally:
                netns.remove(namespace.path)

    def close(self) -> None:
        """Everything that is still attached is detached, and all that can be done is done: it is an end, and what failed is only said."""
        refused: list[KernelError | OSError] = []
        for pod in list(self._attached):
            try:
                self.detach(pod)
            except (KernelError, OSError) as error:
                refused.append(error)
        self._route.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        if refused:
            log.warning("pods whose network was not taken away in good order: %d (%s)", len(refused), refused[0])

    def _make(self, pod: str, addresses: Sequence[str]) -> tuple[NetworkNamespace, list[Route]]:
        found = netns.make(self._directory / pod)
        with found.opened() as there:
            self._route.perform([links.add_veth(links.End(ANY_NAME), links.End(INTERFACE, there))])
        with found.open(wire.Protocol.ROUTE) as inside:
            link = links.read(inside.request(links.find(INTERFACE))[0])
            known = [Route(ip_network(address), link.peer) for address in addresses]
            self._route.perform(list(self._outside(link.peer, known)))
            inside.perform([message for address in addresses for message in self._inside(link.index, address)])
        found.set(LOWEST_PORT, "0")
        return found, known

    def _outside(self, index: int, known: Sequence[Route]) -> Iterator[wire.Message]:
        yield links.switch(index, up=True)
        if 6 in self._gateways:
            yield routes.add(Address(index, GATEWAY_IP6, without_dad=True))
        yield from map(routes.put, known)

    def _inside(self, index: int, address: str) -> Iterator[wire.Message]:
        """In IPv4 the gateway is on no network of the pod's: the node answers for its address on every link."""
        own = ip_interface(address)
        six = own.version == 6
        anywhere, gateway = ip_network("::/0" if six else "0.0.0.0/0"), GATEWAY_IP6.ip if six else self._gateways[4]
        yield links.switch(index, up=True)
        yield routes.add(Address(index, own, without_dad=six))
        yield routes.add(Route(anywhere, index, gateway, onlink=True))
