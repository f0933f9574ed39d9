"""Nodes that an earlier start had and this one has not: ``--zones`` or ``--node-name`` changed.

Nobody will ever speak for them again, so their pods' processes are ended, their pods and Nodes removed, as an administrator
does with a machine that is gone for good. What a ReplicaSet keeps then starts elsewhere at once, and an external pod, which ran
nowhere here, is for another node to look at. Of the proxies' reports only that of the one proxy which runs now is left.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path

from pierhead.api import Tree, external
from pierhead.api.kinds import NODE, POD, PROXY_STATUS
from pierhead.client.client import Client
from pierhead.errors import ApiError
from pierhead.node import leftovers

log = logging.getLogger(__name__)


async def remove(client: Client, home: Path, present: Sequence[str]) -> None:
    """``home`` holds a directory for each node that ever ran here, named after it; ``present``: those that run now, first the one
    for which their proxy reports."""
    for directory in await asyncio.to_thread(_others, home, present):
        log.warning("node %s is no longer part of this region: it is removed, and the pods it ran", directory.name)
        await leftovers.end(leftovers.mark(directory))
        await _forget(client, directory.name)
        await asyncio.to_thread(shutil.rmtree, directory)
    for name in present[1:]:
        await _delete(client.delete(PROXY_STATUS, name))


def _others(home: Path, present: Collection[str]) -> list[Path]:
    """What is no directory is nobody's node."""
    there = home.iterdir() if home.is_dir() else ()
    return sorted(found for found in there if found.is_dir() and found.name not in present)


async def _forget(client: Client, node: str) -> None:
    """Its Lease is its dependent and goes with it."""
    for pod in (await client.list(POD, fields=f"spec.nodeName={node}")).items:
        meta = pod["metadata"]
        await _delete(client.delete(POD, meta["name"], meta["namespace"], grace=0, uid=meta["uid"]))
        if pod["spec"].get("runtimeClassName") == external.RUNTIME_CLASS:
            await client.create(POD, _unbound(pod))
    for kind in (PROXY_STATUS, NODE):
        await _delete(client.delete(kind, node))


def _unbound(pod: Tree) -> Tree:
    """The same pod as its user made it, on no node yet: a binding cannot be changed."""
    meta = {
        key: pod["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in pod["metadata"]
    }
    return {**pod, "metadata": meta, "spec": {key: value for key, value in pod["spec"].items() if key != "nodeName"}}


async def _delete(deletion: Coroutine[None, None, Tree]) -> None:
    """Gone already is as good."""
    try:
        await deletion
    except ApiError as error:
        if error.code != 404:
            raise
