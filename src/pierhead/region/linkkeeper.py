"""``LinkKeeper``: the machine's link to its nodes stays what it was laid as, whoever switches it off, takes its routes or deletes it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Final

from pierhead.client.troubles import Troubles
from pierhead.errors import KernelError
from pierhead.node.linkwatch import LinkWatch, Notice
from pierhead.region.poolroutes import PoolRoutes
from pierhead.wire.links import Link
from pierhead.wire.routes import Address, Route

log = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds between two times that it is laid: two who both insist are not to busy the machine."""


class LinkKeeper:
    """Looks whenever something happens to the link or to a route to where it leads, and lays again what is missing."""

    def __init__(self, watch: LinkWatch, routes: PoolRoutes) -> None:
        self._watch, self._routes = watch, routes
        self._index = 0
        self._troubles = Troubles()
        self.doors: Sequence[socket.socket] = ()
        """Sockets that take what comes by the link: by its number, which a link that is made anew has no more."""

    async def follow(self) -> None:
        """Until cancelled."""
        due = False
        while True:
            if not due:
                await self._watch.wait()
            heard = self._watch.read()
            if due or not heard.complete or any([*map(self._is_ours, heard.notices)]):
                due = not self._mend()
                await asyncio.sleep(PAUSE)

    def _mend(self) -> bool:
        """False: it is to be tried again."""
        link = self._routes.link
        try:
            changed = self._routes.mend()
            for door in self.doors if changed else ():
                door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        except (KernelError, OSError) as error:
            if self._troubles.is_news(str(error)):
                log.warning("link %s of this machine, or a route over it, is not as it should be: %s", link, error)
            return False
        if changed:
            log.warning("link %s of this machine, or a route over it, was taken away: it is laid again", link)
        self._troubles.over()
        return True

    def _is_ours(self, found: Notice) -> bool:
        """Whether it may be about the link. All of them are looked at: they tell its number."""
        match found:
            case Link() if found.name == self._routes.link:
                self._index = found.index
                return True
            case Link() | Address():
                return found.index == self._index
            case Route():
                return found.index == self._index or found.destination in self._routes.led
