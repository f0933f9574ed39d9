"""What a kubelet writes: about its node, and about a pod of which everything runs. Pure."""

from __future__ import annotations

import msgspec

from pierhead.api import Tree
from pierhead.api.views import Pod
from pierhead.core import lifecycle, lifecycle_status
from pierhead.core.lifecycle import Record, Running, Terminated
from pierhead.core.lifecycle_status import Place, rfc3339

HOST = "192.0.2.1"
"""The node's address (RFC 5737: for documentation); nobody sends anything there."""


def node(name: str, now: float) -> Tree:
    """A node that is ready."""
    time = rfc3339(now)
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
            "conditions": [condition | {"lastHeartbeatTime": time, "lastTransitionTime": time}],
        },
    }


def ready(tree: Tree, address: str, now: float) -> Tree:
    """The status of a pod as the API has it, all of its containers running and ready.

    ``address``: its IP unless it has one. ``now``: seconds since the epoch.
    """
    pod = msgspec.convert(tree, Pod)
    place = Place((pod.status.pod_ip or address,), (pod.status.host_ip or HOST,), now)
    return lifecycle_status.status(pod, _records(pod, now), place, now=now, before=lifecycle_status.conditions(pod))


def _records(pod: Pod, now: float) -> dict[str, Record]:
    """Init containers have ended well, unless they are sidecars."""
    uid = pod.metadata.uid
    found = {}
    for name, container in lifecycle.containers(pod).items():
        identity = f"pierhead://{uid}/{name}"
        if container in pod.spec.init_containers and not lifecycle.is_sidecar(container):
            found[name] = Record(Terminated(0, "Completed", now, now, id=identity))
        else:
            found[name] = Record(Running(now, identity), started=True, ready=True)
    return found
