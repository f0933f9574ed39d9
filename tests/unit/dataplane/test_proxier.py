"""The proxier against the real API server and the data plane in memory: what is programmed, when, and what it says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

import virtual
from forwarded import HERE, cluster_ip, endpoint, pod, to_tree, zones
from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.api.kinds import ENDPOINT_SLICE, EVENT, NAMESPACE, NODE, PROXY_STATUS, SERVICE
from pierhead.api.views import Service
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.auth import ADMIN, node_identity
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.client.inprocess import InProcess
from pierhead.client.pace import QUIET
from pierhead.dataplane import proxier as module
from pierhead.dataplane.dataplane import Stranger
from pierhead.dataplane.memory import Memory
from pierhead.dataplane.proxier import Proxier
from pierhead.errors import ApiError
from pierhead.forwarding.build import Part, build
from pierhead.forwarding.diff import Change, Reset
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import Frontend, Refusal, ServiceName
from pierhead.forwarding.trace import Packet
from pierhead.store.memory import MemoryStore
from scenes import Logs

WEB = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web"}}
ADDRESS = cluster_ip(7)
PACKET = Packet("127.0.0.1", "TCP", ADDRESS, 8080)
FRONTEND = Frontend("TCP", ADDRESS, 8080)


class Stage:
    """A region without controllers or nodes, and one proxy."""

    def __init__(self, dataplane: Memory | None = None) -> None:
        tokens = {"admin": ADMIN, "node": node_identity("node-a")}
        self.app = ApiServer(MemoryStore(stamp), HERE.network, tokens, Logs())
        self.admin = Client(InProcess(self.app, "admin"))
        self.node = Client(InProcess(self.app, "node"))
        self.informers = Informers(self.node)
        self.dataplane = dataplane or Memory(HERE)
        self.recorder = Recorder(self.node, "service-proxy", "node-a")
        self.proxier = Proxier(
            self.node, self.informers, self.dataplane, HERE, name="node-a", store="store-1", recorder=self.recorder
        )

    @asynccontextmanager
    async def at_work(self, before: Callable[[Stage], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """With the namespace ``default`` and what ``before`` makes, all roles running."""
        await self.admin.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        if before:
            await before(self)
        async with asyncio.TaskGroup() as group:
            roles = [group.create_task(role.run()) for role in (self.informers, self.recorder, self.proxier)]
            yield
            for role in roles:
                role.cancel()
        self.app.close()

    async def service(self, **spec: Any) -> Tree:
        ports = [{"name": "http", "port": 8080}]
        return await self.admin.create(SERVICE, WEB | {"spec": {"clusterIP": ADDRESS, "ports": ports} | spec})

    async def slice(self, *endpoints: dict[str, Any], name: str = "web-1") -> Tree:
        return await self.admin.create(ENDPOINT_SLICE, to_tree("web", name, *endpoints))

    async def status(self) -> Tree:
        found = await self.admin.get(PROXY_STATUS, "node-a")
        status: Tree = found.get("status", {})
        return status

    async def reported(self) -> bool:
        """Whether the proxy has said anything: it makes its ProxyStatus first, and fills it then."""
        return "observedAt" in await self.status()

    async def endpoints(self) -> set[str]:
        return {found.address for found in self.dataplane.trace(PACKET).endpoints}


class Failing(Memory):
    """The first eight commits fail; when it was tried."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.tried: list[float] = []

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        self.tried.append(asyncio.get_running_loop().time())
        if len(self.tried) <= 8:
            raise OSError("the kernel says no")
        return await super().commit(changes)


class Wrong(Memory):
    """The first commit fails for a reason that no data plane says it has."""

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        if not self.commits:
            self.commits.append(())
            raise ZeroDivisionError("a bug")
        return await super().commit(changes)


class Deaf(Memory):
    """It hears of others when it was asked so often; when it was asked."""

    def __init__(self, place: Place, *, until: int = 1 << 30) -> None:
        super().__init__(place)
        self.until = until
        self.asked: list[float] = []

    async def disturbed(self) -> Stranger:
        self.asked.append(asyncio.get_running_loop().time())
        if len(self.asked) < self.until:
            raise OSError("no notices any more")
        return await super().disturbed()


def play(
    scene: Callable[[Stage], Awaitable[None]], *, before: Callable[[Stage], Awaitable[None]] | None = None
) -> None:
    """Runs a scene beside the running roles; ``before``: what is there when the proxy starts."""

    async def main() -> None:
        stage = Stage()
        async with asyncio.timeout(20), stage.at_work(before):
            await scene(stage)

    asyncio.run(main())


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Looks again with each turn of the loop."""
    while not await _true(holds):
        await turn()


async def turn() -> None:
    await asyncio.sleep(0.001)


async def _true(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await holds()
    except ApiError as error:
        if error.code == 404:
            return False
        raise


def test_what_is_there_at_the_start_is_one_whole_table() -> None:
    async def before(stage: Stage) -> None:
        await stage.service()
        await stage.slice(endpoint(1))

    async def scene(stage: Stage) -> None:
        async def programmed() -> bool:
            return await stage.endpoints() == {pod(1)}

        await until(programmed)
        (first,) = stage.dataplane.commits
        assert first[0] == Reset()

    play(scene, before=before)


def test_a_service_is_followed_from_its_creation_to_its_end() -> None:
    async def scene(stage: Stage) -> None:
        async def meets(*addresses: str) -> None:
            async def so() -> bool:
                return await stage.endpoints() == set(addresses)

            await until(so)

        await stage.service()
        await stage.slice(endpoint(1))
        await meets(pod(1))
        await stage.slice(endpoint(2), name="web-2")
        await meets(pod(1), pod(2))
        await stage.admin.delete(ENDPOINT_SLICE, "web-1", "default")
        await meets(pod(2))
        label = {"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}
        await stage.admin.patch(ENDPOINT_SLICE, "web-2", label, "default")
        await meets()
        await stage.admin.delete(SERVICE, "web", "default")

        async def gone() -> bool:
            return not stage.dataplane.table.rules

        await until(gone)

    play(scene)


def test_a_node_that_moves_to_another_zone_brings_other_endpoints_near() -> None:
    async def scene(stage: Stage) -> None:
        async def meets(*addresses: str) -> None:
            async def so() -> bool:
                return await stage.endpoints() == set(addresses)

            await until(so)

        def in_zone(zone: str | None) -> Tree:
            return {"metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": zone}}}

        await stage.service()
        await stage.slice(endpoint(1, hints=zones("z1")), endpoint(2, hints=zones("z2")))
        await meets(pod(1))
        await stage.admin.create(NODE, in_zone("z2"))
        await meets(pod(2))
        await stage.admin.patch(NODE, "node-a", in_zone("z1"))
        await meets(pod(1))
        await stage.admin.patch(NODE, "node-a", in_zone(None))
        await meets(pod(1), pod(2))

    play(scene)


def test_after_a_failed_commit_the_next_one_is_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)

    async def scene(stage: Stage) -> None:
        await stage.service()
        await until(lambda: _holds(stage.dataplane, FRONTEND))
        stage.dataplane.failing = OSError("the kernel says no")
        stage.dataplane.commits.clear()
        await stage.slice(endpoint(1))

        async def programmed() -> bool:
            return await stage.endpoints() == {pod(1)}

        await until(programmed)
        assert [changes[:1] for changes in stage.dataplane.commits] == [(Reset(),)]

    play(scene)


def test_what_nobody_foresaw_ends_no_region_and_loses_no_change(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)

    async def scenario() -> None:
        stage = Stage(Wrong(HERE))
        async with asyncio.timeout(20), stage.at_work():
            await stage.service()
            await until(lambda: _holds(stage.dataplane, FRONTEND))
            (told,) = [found for found in caplog.records if "programming failed" in found.getMessage()]
            assert told.exc_info is not None
            assert told.exc_info[0] is ZeroDivisionError

    asyncio.run(scenario())


def test_a_service_that_nobody_understands_is_refused_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def sometimes_wrong(found: Service, *given: Any) -> Part:
        if found.metadata.name == "odd":
            raise ZeroDivisionError("a bug")
        return build(found, *given)

    async def before(stage: Stage) -> None:
        odd = WEB | {"metadata": {"namespace": "default", "name": "odd"}}
        await stage.admin.create(SERVICE, odd | {"spec": {"ports": [{"port": 8080}]}})
        await stage.service()

    async def scene(stage: Stage) -> None:
        await until(lambda: _holds(stage.dataplane, FRONTEND))
        await until(stage.reported)
        (refusal,) = (await stage.status())["refusals"]
        assert (refusal["name"], refusal["reason"]) == ("odd", "NotUnderstood")
        (told,) = [found for found in caplog.records if "default/odd cannot be served" in found.getMessage()]
        assert told.exc_info is not None
        assert len(stage.dataplane.commits) == 1

    monkeypatch.setattr(module, "build", sometimes_wrong)
    play(scene, before=before)


@pytest.mark.parametrize("number", [-1, 0, 70000])
def test_an_endpoint_whose_port_is_none_is_said_in_an_event_and_the_others_are_served(number: int) -> None:
    async def scene(stage: Stage) -> None:
        await stage.service()
        await stage.slice(endpoint(1))
        odd = to_tree("web", "web-2", endpoint(2))
        odd["ports"] = [{"name": "http", "protocol": "TCP", "port": number}]
        await stage.admin.create(ENDPOINT_SLICE, odd)

        async def said() -> bool:
            found = (await stage.admin.list(EVENT, "default")).items
            return [(one["reason"], one["message"]) for one in found] == [
                ("EndpointNotAllowed", f"{number} is no port of {pod(2)}: ports are 1 to 65535")
            ]

        async def reported() -> bool:
            return [found.get("port", 0) for found in (await stage.status()).get("refusals", ())] == [number]

        await until(said)
        await until(reported)
        assert await stage.endpoints() == {pod(1)}

    play(scene)


def test_a_commit_that_goes_on_failing_is_tried_ever_later() -> None:
    """With virtual time, in which nothing else passes it."""

    async def scenario() -> None:
        failing = Failing(HERE)
        stage = Stage(failing)
        async with stage.at_work():
            await stage.service()
            await asyncio.sleep(60)
            assert [round(later - at, 1) for at, later in pairwise(failing.tried[:9])] == [
                0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0
            ]  # fmt: skip
            assert FRONTEND in failing.table.rules

    virtual.run(scenario())


def test_what_a_stranger_changed_is_written_again_at_once_and_said_of_the_node() -> None:
    async def scene(stage: Stage) -> None:
        await stage.admin.create(NODE, {"metadata": {"name": "node-a"}})
        await stage.service()
        await until(lambda: _holds(stage.dataplane, FRONTEND))
        stage.dataplane.commits.clear()
        stage.dataplane.strangers.put_nowait(Stranger("nft", 77, "table ip pierhead"))

        async def written() -> bool:
            return bool((await stage.admin.list(EVENT, "default")).items)

        await until(written)
        assert [changes[:1] for changes in stage.dataplane.commits] == [(Reset(),)]
        assert FRONTEND in stage.dataplane.table.rules
        (event,) = (await stage.admin.list(EVENT, "default")).items
        assert event["involvedObject"]["kind"] == "Node"
        text = "nft changed table ip pierhead, which the service proxy keeps: it is written again"
        assert (event["reason"], event["message"]) == ("RulesetChanged", text)

    play(scene)


def test_a_stranger_who_insists_is_answered_ever_later_and_one_who_comes_back_another_day_at_once() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.at_work():
            await stage.service()
            await asyncio.sleep(1)
            stage.dataplane.commits.clear()
            for _ in range(300):
                stage.dataplane.strangers.put_nowait(Stranger("nft", 77, "table ip pierhead"))
            await asyncio.sleep(20)
            assert len(stage.dataplane.commits) == 9  # after 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3 and 16.3 s
            while not stage.dataplane.strangers.empty():
                stage.dataplane.strangers.get_nowait()
            await asyncio.sleep(QUIET + 10)
            stage.dataplane.commits.clear()
            for _ in range(2):
                stage.dataplane.strangers.put_nowait(Stranger("nft", 77, "table ip pierhead"))
            await asyncio.sleep(0.2)
            assert len(stage.dataplane.commits) == 2

    virtual.run(scenario())


def test_a_data_plane_that_no_longer_hears_others_goes_on_carrying() -> None:
    async def scenario() -> None:
        stage = Stage(Deaf(HERE))
        async with stage.at_work():
            await asyncio.sleep(1)
            await stage.service()
            await asyncio.sleep(1)
            assert FRONTEND in stage.dataplane.table.rules

    virtual.run(scenario())


def test_a_data_plane_that_hears_others_again_writes_again_what_they_changed(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        dataplane = Deaf(HERE, until=9)
        stage = Stage(dataplane)
        async with stage.at_work():
            await stage.service()
            await asyncio.sleep(30)
            assert [round(later - at, 1) for at, later in pairwise(dataplane.asked)] == [
                0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0
            ]  # fmt: skip
            dataplane.commits.clear()
            dataplane.strangers.put_nowait(Stranger("nft", 77, "table ip pierhead"))
            await asyncio.sleep(0.01)
            assert [changes[:1] for changes in dataplane.commits] == [(Reset(),)]

    virtual.run(scenario())
    assert len([found for found in caplog.records if "not noticed for now" in found.getMessage()]) == 1


async def _holds(dataplane: Memory, frontend: Frontend) -> bool:
    return frontend in dataplane.table.rules


def test_the_first_report_names_the_store_the_nodes_and_what_is_programmed() -> None:
    async def before(stage: Stage) -> None:
        await stage.service()

    async def scene(stage: Stage) -> None:
        await until(stage.reported)
        status = await stage.status()
        assert (status["store"], status["nodes"]) == ("store-1", ["node-a"])
        assert int(status["programmed"]["services"]) >= 1
        assert status["observedAt"]

    play(scene, before=before)


def test_who_waits_for_a_revision_is_told_at_once() -> None:
    async def scene(stage: Stage) -> None:
        await until(stage.reported)
        for number in range(3):
            made = await stage.slice(endpoint(number), name=f"web-{number}")
            revision = int(made["metadata"]["resourceVersion"])
            want = {"spec": {"want": {"endpointSlices": str(revision), "services": "0"}}}
            await stage.admin.patch(PROXY_STATUS, "node-a", want)

            async def arrived(revision: int = revision) -> bool:
                return int((await stage.status())["programmed"]["endpointSlices"]) >= revision

            await until(arrived)

    play(scene)


def test_nobody_waits_and_nothing_is_written() -> None:
    async def scene(stage: Stage) -> None:
        await until(stage.reported)
        before = await stage.admin.get(PROXY_STATUS, "node-a")
        await stage.service()
        await until(lambda: _holds(stage.dataplane, FRONTEND))
        for _ in range(20):
            await turn()
        assert await stage.admin.get(PROXY_STATUS, "node-a") == before

    play(scene)


def test_a_refusal_is_one_event_and_part_of_the_report() -> None:
    text = "another process listens at TCP"

    async def scene(stage: Stage) -> None:
        stage.dataplane.refuse[FRONTEND] = Refusal(
            ServiceName("default", "web"), "TCP", ADDRESS, 8080, "AddressInUse", text
        )
        await stage.service()

        async def told() -> bool:
            return bool((await stage.status()).get("refusals"))

        await until(told)
        for number in range(3):
            await stage.slice(endpoint(number), name=f"web-{number}")

        async def written() -> bool:
            return bool((await stage.admin.list(EVENT, "default")).items)

        await until(written)
        (event,) = (await stage.admin.list(EVENT, "default")).items
        assert (event["reason"], event["message"], event["count"]) == ("AddressInUse", text, 1)
        (refusal,) = (await stage.status())["refusals"]
        assert (refusal["namespace"], refusal["name"], refusal["port"]) == ("default", "web", 8080)

    play(scene)


def test_what_is_refused_is_tried_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)

    async def scene(stage: Stage) -> None:
        name = ServiceName("default", "web")
        stage.dataplane.refuse[FRONTEND] = Refusal(name, "TCP", ADDRESS, 8080, "PortNotPermitted", "needs root")
        await stage.service()

        async def refused() -> bool:
            return bool((await stage.status()).get("refusals"))

        async def served() -> bool:
            return not await refused()

        await until(refused)
        del stage.dataplane.refuse[FRONTEND]
        await until(served)
        tried = len(stage.dataplane.commits)
        for _ in range(20):
            await turn()
        assert len(stage.dataplane.commits) == tried

    play(scene)


def test_an_unbound_port_of_the_api_is_no_failure() -> None:
    frontend = Frontend("TCP", cluster_ip(), 443)
    kubernetes = WEB | {"metadata": {"namespace": "default", "name": "kubernetes"}}

    async def scene(stage: Stage) -> None:
        name = ServiceName("default", "kubernetes")
        stage.dataplane.refuse[frontend] = Refusal(name, "TCP", cluster_ip(), 443, "PortNotPermitted", "needs root")
        spec = {"clusterIP": cluster_ip(), "ports": [{"name": "https", "port": 443}]}
        await stage.admin.create(SERVICE, kubernetes | {"spec": spec})
        await until(lambda: _holds(stage.dataplane, frontend))

        await until(stage.reported)
        assert not (await stage.status()).get("refusals")

    play(scene)
