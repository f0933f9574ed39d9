"""Nodes that an earlier start had and this one has not: ``--zones`` or ``--node-name`` changed.

Nobody will ever speak for them again, so their pods' processes are ended, their pods and Nodes removed, as an administrator
does with a machine that is gone for good. What a ReplicaSet keeps then starts elsewhere at once.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection, Coroutine
from pathlib import Path

from pierhead.api import Tree
from pierhead.api.kinds import NODE, POD
from pierhead.client.client import Client
from pierhead.errors import ApiError
from pierhead.node import leftovers

log = logging.getLogger(__name__)


async def remove(client: Client, home: Path, present: Collection[str]) -> None:
    """``home`` holds a directory for each node that ever ran here, named after it; ``present``: those that run now."""
    for directory in await asyncio.to_thread(_others, home, present):
        log.warning("node %s is no longer part of this region: it is removed, and the pods it ran", directory.name)
        await leftovers.end(leftovers.mark(directory))
        await _forget(client, directory.name)
        await asyncio.to_thread(shutil.rmtree, directory)


def _others(home: Path, present: Collection[str]) -> list[Path]:
    return sorted(found for found in home.iterdir() if found.name not in present) if home.is_dir() else []


async def _forget(client: Client, node: str) -> None:
    """Its Lease is its dependent and goes with it."""
    for pod in (await client.list(POD, fields=f"spec.nodeName={node}")).items:
        meta = pod["metadata"]
        await _delete(client.delete(POD, meta["name"], meta["namespace"], grace=0, uid=meta["uid"]))
    await _delete(client.delete(NODE, node))


async def _delete(deletion: Coroutine[None, None, Tree]) -> None:
    """Gone already is as good."""
    try:
        await deletion
    except ApiError as error:
        if error.code != 404:
            raise
