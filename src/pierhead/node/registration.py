"""``Registration``: the node's own object, and the Lease that says it is alive."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pierhead import KUBERNETES
from pierhead.api import Tree
from pierhead.api.kinds import LEASE, NODE
from pierhead.api.views import Node
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.client.troubles import Troubles
from pierhead.errors import ApiError

log = logging.getLogger(__name__)

RENEW = 10.0
"""Seconds between two renewals of the Lease."""
REFRESH = 300.0
"""Seconds between two writes of a status in which nothing changed."""
LEASE_DURATION = 40
_PODS = 1000
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Description(msgspec.Struct, frozen=True):
    """What a node says of itself."""

    name: str
    zone: str
    region: str
    addresses: tuple[str, ...]
    """One for each family, the primary family first."""
    pod_ranges: tuple[str, ...]

    def node(self) -> Tree:
        machine = platform.machine()
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _ARCHITECTURES.get(machine, machine),
            "topology.kubernetes.io/region": self.region,
            "topology.kubernetes.io/zone": self.zone,
        }
        ranges = {"podCIDR": self.pod_ranges[0], "podCIDRs": list(self.pod_ranges)} if self.pod_ranges else {}
        return {"metadata": {"name": self.name, "labels": labels}, "spec": ranges}

    def status(self) -> Tree:
        """A strategic patch, without conditions: what does not change while the node runs. The addresses replace those of before, as a
        kubelet's do: they would be merged by their types, of which two families have the same."""
        internal = [{"type": "InternalIP", "address": address} for address in self.addresses]
        return {
            "addresses": [*internal, {"type": "Hostname", "address": self.name}, {"$patch": "replace"}],
            "capacity": _capacity(),
            "allocatable": _capacity(),
            "nodeInfo": _info(),
        }


class Registration:
    """Keeps the Node and its Lease. The Node is rarely written: the Lease is what says that the node lives."""

    def __init__(
        self, client: Client, nodes: Informer[Node], description: Description, now: Callable[[], float]
    ) -> None:
        self._client, self._nodes, self._description, self._now = client, nodes, description, now
        self._since = now()
        self._refreshed = 0.0
        self._troubles = Troubles()

    async def register(self) -> None:
        """Until the API server knows the node."""
        while True:
            try:
                await self._write()
            except ApiError as error:
                log.warning("node %s cannot be registered: %s", self._description.name, error)
                await asyncio.sleep(1)
            else:
                return

    async def run(self) -> None:
        """Renews until cancelled; at once when somebody deleted the node."""
        gone = asyncio.Event()
        end = self._nodes.subscribe(lambda change: gone.set() if self._is_gone(change) else None)
        try:
            while True:
                gone.clear()
                await self._keep()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RENEW):
                        await gone.wait()
        finally:
            end()

    async def _keep(self) -> None:
        try:
            if self._now() - self._refreshed >= REFRESH or self._disputed:
                await self._write()
            await self._renew()
        except ApiError as error:
            if self._troubles.is_news(str(error)):
                log.warning("node %s: %s", self._description.name, error)
        else:
            self._troubles.over()

    def _is_gone(self, change: Change[Node]) -> bool:
        return change.new is None and change.latest.metadata.name == self._description.name

    @property
    def _disputed(self) -> bool:
        """Whether the node was deleted, or declared dead while it could not be heard."""
        found = self._nodes.get(self._description.name)
        return self._nodes.synced.is_set() and (found is None or not found.ready)

    async def _write(self) -> None:
        body = self._description.node()
        try:
            await self._create(body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._update(body)
        patch = {"status": self._description.status() | {"conditions": self._conditions()}}
        await self._client.patch(NODE, self._description.name, patch, subresource="status", how="strategic")
        self._refreshed = self._now()

    async def _create(self, body: Tree) -> None:
        await self._client.create(NODE, {"kind": NODE.name, "apiVersion": NODE.api_version} | body)

    async def _update(self, body: Tree) -> None:
        try:
            await self._client.patch(NODE, self._description.name, body, how="strategic")
        except ApiError as error:
            if error.reason != "Invalid":
                raise
            await self._replace(body)

    async def _replace(self, body: Tree) -> None:
        """A Node keeps for life the pod ranges that it was created with: where the agent has others by now, another takes its
        place. What people wrote into it (labels, taints, that it is cordoned) stays."""
        old = await self._client.get(NODE, self._description.name)
        meta, said = body["metadata"], old["metadata"]
        kept = {"labels": said.get("labels", {}) | meta["labels"], "annotations": said.get("annotations", {})}
        await self._client.delete(NODE, meta["name"], uid=said["uid"])
        await self._create({"metadata": meta | kept, "spec": old["spec"] | body["spec"]})

    async def _renew(self) -> None:
        """Another's Lease of that name is taken over: there is one agent for a name, or the names are wrong."""
        name, spec = self._description.name, self._lease()
        try:
            await self._client.patch(LEASE, name, {"spec": spec}, "kube-node-lease")
        except ApiError as error:
            if error.code != 404:
                raise
            await self._create_lease(name, spec)

    async def _create_lease(self, name: str, spec: Tree) -> None:
        node = await self._client.get(NODE, name)
        owner = {"apiVersion": NODE.api_version, "kind": NODE.name, "name": name, "uid": node["metadata"]["uid"]}
        meta = {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]}
        body = {"kind": LEASE.name, "apiVersion": LEASE.api_version, "metadata": meta, "spec": spec}
        await self._client.create(LEASE, body)

    def _lease(self) -> Tree:
        renewed = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._description.name,
            "leaseDurationSeconds": LEASE_DURATION,
            "renewTime": renewed,
        }

    def _conditions(self) -> list[Tree]:
        """That it is ready, and nothing of pressures that nobody measures."""
        return [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "pierhead's node agent is posting ready status",
            "lastHeartbeatTime": _time(self._now()), "lastTransitionTime": _time(self._since),
        }]  # fmt: skip


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _capacity() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory // 1024}Ki", "pods": str(_PODS)}


def _info() -> Tree:
    machine = platform.machine()
    boot = _line("/proc/sys/kernel/random/boot_id")
    identity = _line("/etc/machine-id") or boot
    return {
        "machineID": identity.replace("-", ""),
        "systemUUID": identity,
        "bootID": boot,
        "kernelVersion": platform.release(),
        "osImage": _system(),
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": f"{KUBERNETES}+pierhead",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _ARCHITECTURES.get(machine, machine),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
