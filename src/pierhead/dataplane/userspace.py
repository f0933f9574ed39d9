"""``Userspace``: the data plane without privileges, a listening socket for each frontend that has an endpoint.

It serves addresses that the machine already has, which all of 127.0.0.0/8 are. What it cannot do, being no part of the kernel: be
silent (it refuses where the verdict is drop), and show an endpoint its client's address.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from random import Random

from pierhead.dataplane.balancer import Balancer
from pierhead.dataplane.dataplane import Stranger
from pierhead.dataplane.holders import Holders
from pierhead.dataplane.listener import Listener, Served
from pierhead.dataplane.poller import Poller
from pierhead.dataplane.sockets import check, no_descriptor, raise_descriptor_limit, refusal, unsupported
from pierhead.dataplane.tcp import TcpCarrier, TcpListener
from pierhead.dataplane.udp import IDLE_SECONDS, UdpCarrier, UdpListener
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, Reset, SetBackends, SetRule
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ANY_NODE_ADDRESS, NOWHERE, Frontend, PortKey, Refusal

BATCH = 256
"""Frontends opened or closed before others of the loop get their turn."""
UDP_FLOWS = 4096
"""Per frontend, as far as descriptors allow."""
SPARED = 64
"""Open files at least, and of many a quarter, that are left to whoever else lives in the process: store, API, probes, pods."""


class Userspace:
    """A ``DataPlane``. Everything happens on the event loop that runs ``commit``."""

    def __init__(self, place: Place, *, chance: Random | None = None, udp_idle: float = IDLE_SECONDS) -> None:
        """Raises this process's limit of open files. Of what is not spared half is for connections (two each), a quarter for UDP flows
        and a quarter for listeners. Call with a loop running."""
        limit = raise_descriptor_limit()
        descriptors = max(4, limit - max(SPARED, limit // 4))
        self._poller = Poller(asyncio.get_running_loop())
        self._place = place
        self._chance = chance or Random()  # noqa: S311 - a choice among equals, no secret
        self._tcp = TcpCarrier(self._poller, descriptors // 4)
        self._udp = UdpCarrier(self._poller, min(UDP_FLOWS, descriptors // 8), descriptors // 4, udp_idle)
        self._balancers: dict[PortKey, Balancer] = {}
        self._served: dict[Frontend, Served] = {}
        self._frontends: dict[PortKey, set[Frontend]] = {}
        self._listeners: dict[Frontend, Listener] = {}
        self._most_listeners = descriptors // 4
        self._refused: dict[Frontend, OSError] = {}
        self._holders = Holders()
        self._stale: set[PortKey] = set()
        """Ports that the commit in hand has not named again after a reset, or has removed."""

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        touched = set(self._refused)
        for change in changes:
            touched |= self._take(change)
        for key in self._stale & self._balancers.keys():
            self._balancers.pop(key).update(NOWHERE)
        self._stale.clear()
        for count, frontend in enumerate(sorted(touched), 1):
            self._settle(frontend)
            if count % BATCH == 0:
                await asyncio.sleep(0)
        return await self._refusals()

    async def disturbed(self) -> Stranger:
        """Never: nobody reaches into a process."""
        never: asyncio.Future[Stranger] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._tcp.close()
        self._poller.close()

    def _take(self, change: Change) -> set[Frontend]:
        """Notes one change, and says which frontends have to look at it."""
        match change:
            case Reset():
                return self._reset()
            case SetBackends(key, backends):
                self._stale.discard(key)
                self._balancer(key).update(backends)
                return self._frontends.get(key, set())
            case RemoveBackends(key):
                self._stale.add(key)
                return self._frontends.get(key, set())
            case SetRule(frontend, rule):
                self._detach(frontend)
                self._served[frontend] = Served(rule, self._balancer(rule.key), self._place)
                self._frontends.setdefault(rule.key, set()).add(frontend)
            case RemoveRule(frontend):
                self._detach(frontend)
        return {frontend}

    def _reset(self) -> set[Frontend]:
        """Nothing is closed yet: listeners and clients' affinities go on for what the rest of the commit names again."""
        self._stale = set(self._balancers)
        self._served.clear()
        self._frontends.clear()
        return set(self._listeners)

    def _balancer(self, key: PortKey) -> Balancer:
        if key not in self._balancers:
            self._balancers[key] = Balancer(self._chance)
        return self._balancers[key]

    def _detach(self, frontend: Frontend) -> None:
        if served := self._served.pop(frontend, None):
            sharing = self._frontends[served.rule.key]
            sharing.discard(frontend)
            if not sharing:
                del self._frontends[served.rule.key]

    def _settle(self, frontend: Frontend) -> None:
        """Listens there, or no longer, as the table says now. What has no endpoint yet is tried all the same: that a port is
        somebody else's is no news for the day when the first one comes."""
        served, listener = self._served.get(frontend), self._listeners.get(frontend)
        self._refused.pop(frontend, None)
        if listener is not None and (served is None or not served.open):
            self._listeners.pop(frontend).close()
            listener = None
        if served is None:
            return
        if listener is not None:
            listener.served = served
            listener.forget()
            return
        try:
            if served.open:
                self._listeners[frontend] = self._listen(self._at(frontend), served)
            else:
                check(self._at(frontend))
        except OSError as error:
            self._refused[frontend] = error

    def _at(self, frontend: Frontend) -> Frontend:
        """Where it really listens: a node port's names no address."""
        anywhere = frontend.address in ANY_NODE_ADDRESS.values()
        return frontend._replace(address=self._place.network.node_address) if anywhere else frontend

    def _listen(self, frontend: Frontend, served: Served) -> Listener:
        if len(self._listeners) >= self._most_listeners:
            raise no_descriptor()
        match frontend.protocol:
            case "TCP":
                return TcpListener(self._tcp, served, frontend.address, frontend.port)
            case "UDP":
                return UdpListener(self._udp, served, frontend.address, frontend.port)
            case _:
                raise unsupported(frontend)

    async def _refusals(self) -> Sequence[Refusal]:
        """What is refused now. Who has an address that is taken is looked up beside the loop, for it may take a while."""
        taken = [self._at(frontend) for frontend, error in self._refused.items() if error.errno == errno.EADDRINUSE]
        holders = await asyncio.to_thread(self._holders.find, taken) if taken else {}
        found = (
            refusal(self._served[frontend].rule.key.service, at := self._at(frontend), error, holders.get(at))
            for frontend, error in self._refused.items()
        )
        return sorted(found)
