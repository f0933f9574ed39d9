"""Binding: gives pods that have no node to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from pierhead.api.kinds import NODE, POD
from pierhead.api.views import Node, Pod
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, accepting, split, timestamp
from pierhead.core import binding


class Binding(Loop):
    """Keys: pods. One at a time, each sees what became of the one before."""

    name = "default-scheduler"
    workers = 1

    def __init__(self, client: Client, informers: Informers, recorder: Recorder) -> None:
        super().__init__()
        self._client = client
        self._recorder = recorder
        self._pods: Informer[Pod] = informers.of(POD)
        self._nodes: Informer[Node] = informers.of(NODE)
        self._alike = self._pods.index(lambda pod: [_family(pod)])
        self._pending = self._pods.index(lambda pod: ["pending"] if binding.wants_node(pod) else [])
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)

    async def reconcile(self, key: str) -> None:
        """A pod that fits nowhere waits until a node changes."""
        namespace, name = split(key)
        pod = self._pods.get(name, namespace)
        if pod is None or not binding.wants_node(pod):
            return
        choice = binding.choose(pod, self._nodes.list(), self._load(pod))
        with accepting(404):
            if choice.node:
                await self._bind(pod, choice.node)
            else:
                await self._explain(pod, choice)

    async def _bind(self, pod: Pod, node: str) -> None:
        await self._client.bind(pod.metadata.name, pod.metadata.namespace, node, uid=pod.metadata.uid)
        self._recorder.note(POD, pod, "Scheduled", f"Successfully assigned {pod.key} to {node}", type="Normal")
        await self._pods.until(lambda: self._is_bound(pod))

    async def _explain(self, pod: Pod, choice: binding.Choice) -> None:
        """In its status and by an Event, once for each reason: this write comes back as a change of the pod."""
        condition = binding.unscheduled(pod, choice, timestamp())
        if condition is None:
            return
        meta = pod.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": [msgspec.to_builtins(condition)]}}
        stored = await self._client.patch(POD, meta.name, patch, meta.namespace, subresource="status", how="strategic")
        self._recorder.note(POD, pod, "FailedScheduling", choice.message)
        await self._pods.reached(stored["metadata"]["resourceVersion"])

    def _load(self, pod: Pod) -> Counter[str]:
        alike: Sequence[Pod] = self._alike[_family(pod)]
        return Counter(found.spec.node_name for found in alike if not found.finished)

    def _is_bound(self, pod: Pod) -> bool:
        now = self._pods.get(pod.metadata.name, pod.metadata.namespace)
        return now is None or now.metadata.uid != pod.metadata.uid or bool(now.spec.node_name)

    def _pod_changed(self, change: Change[Pod]) -> None:
        if change.new is not None and binding.wants_node(change.new):
            self.queue.add(change.new.key)

    def _node_changed(self, change: Change[Node]) -> None:
        if change.old is None or change.new is None or _offer(change.old) != _offer(change.new):
            for pod in self._pending["pending"]:
                self.queue.add(pod.key)


def _family(pod: Pod) -> str:
    """Pods of one owner are spread among each other; those of nobody among their namespace's."""
    owner = pod.metadata.controller
    return owner.uid if owner else pod.metadata.namespace


def _offer(node: Node) -> tuple[object, ...]:
    """What about a node decides whether a pod fits."""
    return node.ready, node.spec.unschedulable, node.spec.taints, node.metadata.labels
