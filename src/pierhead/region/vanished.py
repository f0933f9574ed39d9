"""Nodes that an earlier start had and this one has not: ``--zones``, ``--node-name`` or ``--network`` changed.

Nobody will ever speak for them again, so their pods' processes are ended, their pods and Nodes removed, as an administrator
does with a machine that is gone for good. What a ReplicaSet keeps then starts elsewhere at once. An external pod ran nowhere here: it
stays, and is for another node to look at. What the proxies of earlier starts reported is void: what they held ended with them.

The directory of a node goes last, so that whatever ends this on the way, the next start does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection, Coroutine
from contextlib import suppress
from pathlib import Path

import msgspec

from pierhead.api import Tree, external
from pierhead.api.codec import encode
from pierhead.api.kinds import NODE, POD, PROXY_STATUS
from pierhead.api.pods import qos_class
from pierhead.client.client import Client
from pierhead.errors import ApiError, PreconditionFailed
from pierhead.node import leftovers
from pierhead.store import AtRevision, Put, Store

log = logging.getLogger(__name__)


async def remove(client: Client, store: Store, home: Path, *, present: Collection[str]) -> None:
    """``home`` holds a directory for each node that ever ran here, named after it; ``present``: those that run now. No proxy of this
    start has reported yet."""
    for directory in await asyncio.to_thread(_others, home, present):
        log.warning("node %s is no longer part of this region: it is removed, and the pods it ran", directory.name)
        await leftovers.end(leftovers.mark(directory))
        await _forget(client, store, directory.name)
        await asyncio.to_thread(shutil.rmtree, directory)
    for found in (await client.list(PROXY_STATUS)).items:
        await _delete(client.delete(PROXY_STATUS, found["metadata"]["name"]))


def _others(home: Path, present: Collection[str]) -> list[Path]:
    """What is no directory is nobody's node."""
    there = home.iterdir() if home.is_dir() else ()
    return sorted(found for found in there if found.is_dir() and found.name not in present)


async def _forget(client: Client, store: Store, node: str) -> None:
    """Its Lease is its dependent and goes with it."""
    for pod in (await client.list(POD, fields=f"spec.nodeName={node}")).items:
        meta = pod["metadata"]
        if pod["spec"].get("runtimeClassName") == external.RUNTIME_CLASS and not meta.get("deletionTimestamp"):
            await _unbind(store, f"{POD.resource}/{meta['namespace']}/{meta['name']}")
        else:
            await _delete(client.delete(POD, meta["name"], meta["namespace"], grace=0, uid=meta["uid"]))
    await _delete(client.delete(NODE, node))


async def _unbind(store: Store, key: str) -> None:
    """The API lets nobody take a binding back, and a pod made anew would for a moment not be there, and have its term from the
    beginning: so it is changed where it lies, in one commit."""
    while (entry := store.get(key)) is not None:
        put = Put(key, encode(POD, _unbound(msgspec.json.decode(entry.value))))
        with suppress(PreconditionFailed):
            await store.commit([put], [AtRevision(key, entry.revision)])
            return


def _unbound(pod: Tree) -> Tree:
    """As it was before a node had it."""
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    meta = pod["metadata"] | {"generation": pod["metadata"].get("generation", 0) + 1}
    return {**pod, "metadata": meta, "spec": spec, "status": {"phase": "Pending", "qosClass": qos_class(spec)}}


async def _delete(deletion: Coroutine[None, None, Tree]) -> None:
    """Gone already is as good."""
    try:
        await deletion
    except ApiError as error:
        if error.code != 404:
            raise
