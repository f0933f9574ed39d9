"""``Terrain``: what the nodes of this process stand on. The seam between a network mode and the roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.forwarding.place import Place
from pierhead.region.placement import Placed, place
from pierhead.region.settings import Settings

if TYPE_CHECKING:
    import socket

    from pierhead.client.informers import Informers
    from pierhead.dataplane.dataplane import DataPlane
    from pierhead.node.podnetwork import PodNetwork


class Unfit(UsageError):
    """The machine, or this account on it, cannot be what a network mode needs; another mode may do."""


class Terrain(Protocol):
    """Law: it is there as long as the roles work, and makes each thing once for each node or group."""

    @property
    def groups(self) -> Sequence[Sequence[Placed]]:
        """The nodes. Those of one group share a data plane, for which the first of them reports."""
        ...

    @property
    def link(self) -> str:
        """What the machine's end is called of the only link by which its nodes reach the API; empty: there is more than one way."""
        ...

    def network(self, node: str) -> Network:
        """The region's network as this node has it: with the node's own address."""
        ...

    def pods(self, node: str) -> PodNetwork: ...

    def open_to(self, doors: Sequence[socket.socket]) -> None:
        """Tells it of the API's sockets that are bound to ``link``: they stay so if that has to be made anew."""
        ...

    async def tend(self, informers: Informers) -> None:
        """Does what it has to follow meanwhile, beside the roles."""
        ...

    def dataplane(self, place: Place, owner: str) -> DataPlane:
        """``place``: of a group; ``owner``: the region's uid."""
        ...


class Flat:
    """All on the machine's own addresses, with one proxy in userspace; without a network there is no node."""

    link = ""

    def __init__(self, settings: Settings) -> None:
        self._network = settings.network
        none = settings.network.mode == "none"
        self.groups = () if none else (place(settings.network, settings.zones, settings.node_name),)

    def network(self, node: str) -> Network:
        return self._network

    def pods(self, node: str) -> PodNetwork:
        from pierhead.node.podnetwork import Shared

        return Shared()

    def open_to(self, doors: Sequence[socket.socket]) -> None:
        """There are none."""

    async def tend(self, informers: Informers) -> None:
        """There is nothing to follow: the proxy takes addresses and gives them back."""

    def dataplane(self, place: Place, owner: str) -> DataPlane:
        from pierhead.dataplane.userspace import Userspace

        return Userspace(place)
