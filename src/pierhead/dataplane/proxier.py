"""``Proxier``: Services and EndpointSlices in, changes to a data plane out, as soon as they are known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from pierhead.api.kinds import ENDPOINT_SLICE, NODE, PROXY_STATUS, SERVICE
from pierhead.api.views import EndpointSlice, Node, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.client.pace import Pace, delay
from pierhead.dataplane.dataplane import DataPlane, Stranger
from pierhead.dataplane.report import Report, Reporter
from pierhead.forwarding.assembly import NOTHING, Assembly
from pierhead.forwarding.build import Part, build
from pierhead.forwarding.diff import whole
from pierhead.forwarding.place import API_SERVICE, Place
from pierhead.forwarding.table import Refusal, ServiceName

log = logging.getLogger(__name__)

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
"""Seconds before the whole table is tried again after a failed commit, or after somebody insisted on changing it (``Pace``); doubled each
time."""
RETRY_SECONDS = 2.0
"""How often refused frontends are tried again when nothing else happens: whoever held a port, or a limit, does not tell us."""

NOT_UNDERSTOOD = "something in it or in its EndpointSlices is more than this proxy understands: its log says what"


class Proxier:
    """One proxy. It watches both kinds unfiltered and leaves out in ``build`` what is not its own, so that what it reports as
    programmed moves past every write.

    There is no delay by design: what arrives while a commit is under way is one commit afterwards.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        dataplane: DataPlane,
        place: Place,
        *,
        name: str,
        store: str,
        recorder: Recorder,
    ) -> None:
        """``name``: of its ProxyStatus, which is the node's. ``store``: the uid of the store whose revisions it reports.
        ``place.zones`` counts until the nodes of the place say themselves in which zones they are."""
        self._services: Informer[Service] = informers.of(SERVICE)
        self._slices: Informer[EndpointSlice] = informers.of(ENDPOINT_SLICE)
        self._nodes: Informer[Node] = informers.of(NODE)
        self._by_service = self._slices.index(_service_of)
        self._dataplane = dataplane
        self._place = place
        self._recorder = recorder
        self._reporter = Reporter(client, informers.of(PROXY_STATUS), name, store=store, nodes=place.nodes)
        self._assembly = Assembly()
        self._changed: set[ServiceName] = set()
        self._wake = asyncio.Event()
        self._failures = 0
        self._whole = True
        """The next commit must hold the whole table: it is the first, the last one failed, or somebody else changed what is held."""
        self._held = asyncio.Event()
        """Set with the first commit."""
        self._refused = False
        """Whether the data plane has frontends to try again."""
        self._told: frozenset[Refusal] = frozenset()

    async def run(self) -> None:
        """Programs until cancelled. What is programmed stays when it ends; closing the data plane is its owner's business."""
        ends = [
            self._services.subscribe(self._service_changed),
            self._slices.subscribe(self._slice_changed),
            self._nodes.subscribe(self._node_changed),
        ]
        try:
            # A table built from half a list would cut off the other half of the Services.
            await self._services.synced.wait()
            await self._slices.synced.wait()
            await self._nodes.synced.wait()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reporter.run())
                group.create_task(self._program())
                group.create_task(self._stand_by())
        finally:
            for end in ends:
                end()

    async def _program(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._sync()
            except Exception as error:  # what is wrong with one table is not the end of the API, nor of the pods
                await self._recover(error)
                continue
            self._failures = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if self._refused else None):
                    await self._wake.wait()

    async def _sync(self) -> None:
        """Brings the data plane to what both informers know now. Between reading the revisions and reading the objects nothing
        else runs, so the revisions are exactly those of what is built.

        Raises:
            OSError: the data plane could not apply it.
        """
        services, slices = self._services.revision, self._slices.revision
        changes = self._assembly.update({name: self._build(name) for name in self._changed})
        self._changed.clear()
        if self._whole:
            self._whole, changes = False, whole(self._assembly.table())
        refused = await self._dataplane.commit(changes)
        self._held.set()
        self._refused = bool(refused)
        refusals = _worth_telling((*self._assembly.refusals(), *refused))
        self._tell(refusals)
        self._reporter.publish(Report(services, slices, refusals))

    async def _recover(self, error: Exception) -> None:
        self._whole = True
        self._failures += 1
        pause = _delay(self._failures)
        text = "programming failed, trying the whole table again in %.1f s: %s"
        log.warning(text, pause, error, exc_info=_bug(error))
        await asyncio.sleep(pause)

    async def _stand_by(self) -> None:
        """Writes the table again when somebody else has changed it: at once, and where he insists later each time."""
        await self._held.wait()
        strangers, failures = Pace(), Pace()
        while True:
            try:
                stranger = await self._dataplane.disturbed()
            except Exception as error:
                times = failures.again()
                if times == 1:
                    text = "changes by others are not noticed for now, which is tried again: %s"
                    log.warning(text, error, exc_info=_bug(error))
                await asyncio.sleep(_delay(times))
                continue
            self._accuse(stranger)
            self._whole = True
            self._wake.set()
            await asyncio.sleep(_delay(strangers.again()))

    def _accuse(self, stranger: Stranger) -> None:
        """The log has the process; the Event has not, so that one who insists is counted."""
        program = stranger.program or "another program"
        log.warning("%s (pid %d) changed %s: it is written again", program, stranger.pid, stranger.where)
        text = f"{program} changed {stranger.where}, which the service proxy keeps: it is written again"
        for name in sorted(self._place.nodes):
            if node := self._nodes.get(name):
                self._recorder.note(NODE, node, "RulesetChanged", text)

    def _build(self, name: ServiceName) -> Part:
        service = self._services.get(name.name, name.namespace)
        if service is None:
            return NOTHING
        try:
            return build(service, self._by_service[str(name)], self._place)
        except Exception as error:  # what is wrong with one Service is not the end of the others
            log.warning("Service %s cannot be served: %s", name, error, exc_info=error)
            return Part(refusals=(Refusal(name, "", "", 0, "NotUnderstood", NOT_UNDERSTOOD),))

    def _tell(self, refusals: Sequence[Refusal]) -> None:
        """One Event for each refusal that is new since the last sync."""
        for refusal in refusals:
            service = self._services.get(refusal.service.name, refusal.service.namespace)
            if refusal not in self._told and service is not None:
                self._recorder.note(SERVICE, service, refusal.reason, refusal.message)
        self._told = frozenset(refusals)

    def _service_changed(self, change: Change[Service]) -> None:
        self._changed.add(_name_of(change.latest))
        self._wake.set()

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for found in (change.old, change.new):
            if found is not None and found.service:
                self._changed.add(ServiceName(found.metadata.namespace, found.service))
        self._wake.set()

    def _node_changed(self, change: Change[Node]) -> None:
        """Other endpoints are near when a node of ours is said to be in another zone."""
        here = [found for name in sorted(self._place.nodes) if (found := self._nodes.get(name))]
        zones = frozenset(found.zone for found in here if found.zone)
        if here and zones != self._place.zones:
            self._place = replace(self._place, zones=zones)
            self._changed.update(map(_name_of, self._services.list()))
            self._wake.set()


def _bug(error: Exception) -> Exception | None:
    """One that no data plane says it raises: where it comes from is worth knowing."""
    return None if isinstance(error, OSError) else error


def _delay(times: int) -> float:
    """Seconds, the longer the more often something happened."""
    return delay(times, first=FIRST_DELAY, longest=LONGEST_DELAY)


def _name_of(service: Service) -> ServiceName:
    return ServiceName(service.metadata.namespace, service.metadata.name)


def _service_of(found: EndpointSlice) -> Iterable[str]:
    if found.service:
        yield str(ServiceName(found.metadata.namespace, found.service))


def _worth_telling(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """All but the API's own Service: its port 443 needs a privilege, and who has none reaches the API where it listens."""
    return tuple(
        sorted(found for found in refusals if (found.service, found.reason) != (API_SERVICE, "PortNotPermitted"))
    )
