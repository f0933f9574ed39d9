"""Nodes: the taint that keeps pods off one that is not ready, and those that are heard of no more."""

from __future__ import annotations

import asyncio

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import LEASE, NODE, POD
from pierhead.api.views import Lease, Node, Pod
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, timestamp
from pierhead.core import nodes

GRACE = 40.0
"""Seconds without a heartbeat (a renewed Lease, a written status) after which a node's state is unknown."""
LEASES = "kube-node-lease"


class Nodes(Loop):
    """Keys: names of nodes. Silence is measured on our own clock, from when we saw a node's last sign of life."""

    name = "node-controller"

    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        super().__init__()
        self._client = client
        self._recorder = recorder
        self._seen: dict[str, float] = {}
        self._nodes: Informer[Node] = informers.of(NODE)
        self._pods: Informer[Pod] = informers.of(POD)
        self._on_node = self._pods.index(lambda pod: [pod.spec.node_name])
        leases: Informer[Lease] = informers.of(LEASE)
        self._nodes.subscribe(self._node_changed)
        leases.subscribe(self._lease_changed)

    async def reconcile(self, key: str) -> float | None:
        """A silent node's Ready becomes Unknown, and with it no pod on it counts as ready."""
        node = self._nodes.get(key)
        if node is None:
            self._seen.pop(key, None)
            return None
        await self._taint(node)
        now = asyncio.get_running_loop().time()
        left = self._seen.setdefault(key, now) + GRACE - now
        if left > 0:
            return left
        if node.ready:
            await self._client.patch(NODE, key, _unknown(), subresource="status", how="strategic")
            self._recorder.note(NODE, node, "NodeNotReady", f"Node {key} status is now: NodeNotReady", type="Normal")
        for pod in self._on_node[key]:
            if pod.ready:
                await self._client.patch(
                    POD, pod.metadata.name, _not_ready(), pod.metadata.namespace, subresource="status", how="strategic"
                )
                self._recorder.note(POD, pod, "NodeNotReady", "Node is not ready")
        return GRACE

    async def _taint(self, node: Node) -> None:
        """Kubernetes replaces the list as a whole, so only the node that was looked at is written."""
        wanted = nodes.taints(node)
        if wanted != node.spec.taints:
            meta = {"resourceVersion": node.metadata.resource_version}
            patch = {"metadata": meta, "spec": {"taints": msgspec.to_builtins(wanted) or None}}
            stored = await self._client.patch(NODE, node.metadata.name, patch)
            await self._nodes.reached(stored["metadata"]["resourceVersion"])

    def _node_changed(self, change: Change[Node]) -> None:
        """What others write into a Node says nothing about its life."""
        before, after = (_last_word(found) if found else None for found in change)
        if change.new is not None and change.new.ready and before != after:
            self._heard(change.new.metadata.name)
        self.queue.add(change.latest.metadata.name)

    def _lease_changed(self, change: Change[Lease]) -> None:
        if change.new is not None and change.new.metadata.namespace == LEASES:
            self._heard(change.new.metadata.name)

    def _heard(self, name: str) -> None:
        self._seen[name] = asyncio.get_running_loop().time()
        self.queue.add_after(name, GRACE)


def _last_word(node: Node) -> tuple[str, str | None] | None:
    """What the node says of itself, and when it said so."""
    found = next((found for found in node.status.conditions if found.type == "Ready"), None)
    return (found.status, found.last_heartbeat_time) if found else None


def _unknown() -> Tree:
    return _condition("Unknown", "NodeStatusUnknown", "The node stopped posting its status.")


def _not_ready() -> Tree:
    return _condition("False", "NodeNotReady", "The node stopped posting its status.")


def _condition(status: str, reason: str, message: str) -> Tree:
    found = {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": timestamp()}
    return {"status": {"conditions": [found]}}
