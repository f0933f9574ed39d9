"""``Informers``: one informer per kind and process, shared by every loop in it."""

from __future__ import annotations

import asyncio
from typing import Any

from pierhead.api.kind import Kind
from pierhead.api.views import view_of
from pierhead.client.client import Client
from pierhead.client.informer import Informer


class Informers:
    """Hands out informers and runs those that somebody asked for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[str, Informer[Any]] = {}
        self._group: asyncio.TaskGroup | None = None

    def of(self, kind: Kind) -> Informer[Any]:
        """The informer of a kind (say which view it shows: ``pods: Informer[Pod] = informers.of(POD)``). It starts with ``run``,
        or now when the others are running already."""
        if kind.resource not in self._informers:
            made: Informer[Any] = Informer(self._client, kind, view_of(kind))
            self._informers[kind.resource] = made
            if self._group is not None:
                self._group.create_task(made.run())
        return self._informers[kind.resource]

    async def synced(self) -> None:
        """Waits until each informer asked for until now has its first list."""
        for found in list(self._informers.values()):
            await found.synced.wait()

    async def run(self) -> None:
        """Runs every informer until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for found in self._informers.values():
                    group.create_task(found.run())
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
