"""``NodeAgent``: a node of a region. Registers it, runs the pods bound to it, answers for their logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from pierhead.api.kinds import NODE, POD, SERVICE
from pierhead.api.logs import LogQuery
from pierhead.api.network import Network, Range
from pierhead.api.views import Node, Pod, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.errors import ApiError, not_found
from pierhead.forwarding.place import Place
from pierhead.node import leftovers, podlogs
from pierhead.node.addresses import Addresses, Exhausted
from pierhead.node.external import ExternalPod, is_external
from pierhead.node.host import Host, clock
from pierhead.node.pod import PodRunner
from pierhead.node.podnetwork import PodNetwork, Shared
from pierhead.node.probes import Prober
from pierhead.node.process import Processes
from pierhead.node.registration import Description, Registration

log = logging.getLogger(__name__)

_AGAIN = 1.0
"""Seconds until a pod is run again whose runner failed."""


class Runner(Protocol):
    """Whoever brings one pod through its life: `PodRunner`, `ExternalPod`. ``run`` returns when the pod has gone from the API; after
    it failed it may be called again; cancelled, it leaves nothing behind that is its own."""

    pod: Pod
    """As it was last told."""

    def update(self, pod: Pod) -> None: ...

    def gone(self) -> None: ...

    async def run(self) -> None: ...

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]: ...


class NodeAgent:
    """Runs one node until cancelled; then its pods end within ``SHUTDOWN_GRACE`` and it returns.

    ``directory`` is the agent's own: its mark tells its processes from all others, and it holds the logs. ``pod_ranges`` are the parts of
    the network's that are this node's, by default all of them. ``root_pods``: pods may choose their account. ``api``: where the API
    answers; no pod is there. ``pods``: by default all share the machine's network. ``open_files``: the limit that pods get; 0: this
    process's own.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        network: Network,
        *,
        name: str,
        zone: str,
        region: str,
        directory: Path,
        pod_ranges: Sequence[Range] = (),
        root_pods: bool = False,
        api: frozenset[tuple[str, int]] = frozenset(),
        pods: PodNetwork | None = None,
        open_files: int = 0,
    ) -> None:
        self.name, self._open_files = name, open_files
        self._client, self._network, self._directory, self._root_pods = client, network, directory, root_pods
        self._pods: Informer[Pod] = informers.of(POD)
        self._services: Informer[Service] = informers.of(SERVICE)
        self._nodes: Informer[Node] = informers.of(NODE)
        found = pod_ranges or network.pod_ranges
        self._addresses = Addresses(found)
        self._pod_network = pods or Shared()
        self._ground = Place(frozenset((name,)), network, frozenset((zone,)), api)
        self._description = Description(name, zone, region, network.node_addresses, tuple(map(str, found)))
        self._runners: dict[str, Runner] = {}
        self._starved = False
        """Whether a pod waits for an address."""
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        mark = leftovers.mark(self._directory)
        ended = await leftovers.end(mark)
        if ended:
            log.warning("ended %d processes that an earlier run of node %s left behind", ended, self.name)
        recorder, now = Recorder(self._client, "kubelet", self.name), clock()
        self._host = Host(
            self.name, self._network, self._client, recorder, self._services,
            Processes(mark, self._open_files), Prober(), self._pod_network, self._directory, self._root_pods, now,
        )  # fmt: skip
        registration = Registration(self._client, self._nodes, self._description, now)
        try:
            await self._serve(recorder, registration)
        finally:
            await leftovers.end(mark)

    async def _serve(self, recorder: Recorder, registration: Registration) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            await registration.register()
            tasks.create_task(registration.run())
            await self._pods.synced.wait()
            await self._services.synced.wait()
            await self._run_pods()

    def logs(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """The output of a container, as ``kubectl logs`` asks for it.

        Raises:
            ApiError: 404 when this node has no such pod or container, 400 when the container has not started.
        """
        for runner in self._runners.values():
            found = runner.pod
            if (found.metadata.namespace, found.metadata.name) == (query.namespace, query.pod):
                names = [each.name for each in (*found.spec.init_containers, *found.spec.containers)]
                if query.container in names:
                    return runner.logs(query)
                text = f"container {query.container} is not valid for pod {query.pod}"
                raise ApiError(400, "BadRequest", text)
        raise not_found(query.pod, POD.plural)

    async def _run_pods(self) -> None:
        """Pods that have an address keep it, so they come before those that have none."""
        async with asyncio.TaskGroup() as self._tasks:
            known = {pod.metadata.uid: pod for pod in self._pods.list() if pod.spec.node_name == self.name}
            await asyncio.to_thread(podlogs.prune, self._directory, known.values())
            kept = {uid: self._kept(pod) for uid, pod in known.items()}
            for uid, pod in known.items():
                self._begin(pod, kept[uid])
            unsubscribe = self._pods.subscribe(self._follow)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                unsubscribe()

    def _kept(self, pod: Pod) -> str:
        return pod.status.pod_ip if not is_external(pod) and self._addresses.keep(pod.status.pod_ip) else ""

    def _follow(self, change: Change[Pod]) -> None:
        found = change.latest
        if found.spec.node_name != self.name:
            return
        runner = self._runners.get(found.metadata.uid)
        if change.new is None:
            if runner is not None:
                runner.gone()
                del self._runners[found.metadata.uid]
        elif runner is not None:
            runner.update(change.new)
        else:
            self._begin(change.new, "")

    def _begin(self, pod: Pod, address: str) -> None:
        if is_external(pod):
            self._care(ExternalPod(pod, self._host, self._ground), "")
            return
        try:
            given = address or self._addresses.take()
        except Exhausted as error:
            if pod.metadata.deletion_timestamp is None:
                self._starved = True
                self._host.recorder.note(POD, pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
                return
            given = ""  # nothing will be started any more
        self._care(PodRunner(pod, self._host, self._addresses.every(given) if given else ()), given)

    def _care(self, runner: Runner, address: str) -> None:
        self._runners[runner.pod.metadata.uid] = runner
        assert self._tasks is not None
        self._tasks.create_task(self._run(runner, address))

    async def _run(self, runner: Runner, address: str) -> None:
        """One pod's failure is nobody else's: it is reported and the pod is run again."""
        try:
            while True:
                try:
                    await runner.run()
                except Exception:
                    log.exception("pod %s failed", runner.pod.key)
                    await asyncio.sleep(_AGAIN)
                else:
                    break
        finally:
            self._addresses.give_back(address)
        self._feed()

    def _feed(self) -> None:
        """Begins pods for which there was no address."""
        if self._starved:
            self._starved = False
            for pod in self._pods.list():
                if pod.spec.node_name == self.name and pod.metadata.uid not in self._runners:
                    self._begin(pod, "")
