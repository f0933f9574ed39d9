"""``LinkKeeper``: the machine's link to its nodes stays what it was laid as, whoever switches it off, takes its routes or deletes it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from pierhead.client.pace import Pace, delay
from pierhead.client.troubles import Troubles
from pierhead.errors import KernelError
from pierhead.node.linkwatch import LinkWatch, Notice
from pierhead.region.poolroutes import PoolRoutes
from pierhead.wire.links import Link
from pierhead.wire.routes import Address, Route

log = logging.getLogger(__name__)

PAUSE, LONGEST = 0.5, 30.0
"""Seconds between two looks, doubled for who insists: two who both do are not to busy the machine."""


class LinkKeeper:
    """Looks whenever something happens to the link or to a route to where it leads, and lays again what is missing."""

    def __init__(self, watch: LinkWatch, routes: PoolRoutes) -> None:
        self._watch, self._routes = watch, routes
        self._index = self._bound = 0
        """The link's number as of the last notice, and as of the last time that the doors were bound to it."""
        self._troubles, self._strangers = Troubles(), Pace()
        self.doors: Sequence[socket.socket] = ()
        """Sockets that take what comes by the link: by its number, which a link that is made anew has no more."""

    async def follow(self) -> None:
        """Until cancelled."""
        due = False
        while True:
            if not due:
                await self._watch.wait()
            if self._is_concerned() or due:
                due = not self._mend()
                await asyncio.sleep(delay(self._strangers.again(), first=PAUSE, longest=LONGEST))

    def _is_concerned(self) -> bool:
        """Whether anything that was heard may be about the link. All of it is looked at: it tells the link's number."""
        try:
            heard = self._watch.read()
        except KernelError:  # a notice that cannot be read
            return True
        return any([*map(self._is_ours, heard.notices)]) or not heard.complete

    def _mend(self) -> bool:
        """False: it is to be tried again."""
        link = self._routes.link
        try:
            changed = self._routes.mend()
            if (number := self._routes.number()) != self._bound:
                for door in self.doors:
                    door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
                self._bound = number
        except (KernelError, OSError) as error:
            if self._troubles.is_news(str(error)):
                log.warning("link %s of this machine, or a route over it, is not as it should be: %s", link, error)
            return False
        if changed:
            log.warning("link %s of this machine, or a route over it, was taken away: it is laid again", link)
        self._troubles.over()
        return True

    def _is_ours(self, found: Notice) -> bool:
        match found:
            case Link() if found.name == self._routes.link:
                self._index = found.index
                return True
            case Link() | Address():
                return found.index == self._index
            case Route():
                return found.index == self._index or found.destination in self._routes.led
