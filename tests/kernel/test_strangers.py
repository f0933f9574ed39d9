"""Somebody else in the node's network changes our rules: the real proxier over the real kernel puts them right without being asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from compiled import GROUND
from dataplanes import names, to
from forwarded import HERE, cluster_ip, endpoint, to_tree
from inkernel import InKernel, in_kernel
from inside import Inside, server
from namespaces import Namespace
from pierhead.api.kinds import ENDPOINT_SLICE, EVENT, NODE, SERVICE
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.proxier import Proxier
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.forwarding.diff import Reset

ADDRESS = cluster_ip(7)
TCP = to(ADDRESS)
METADATA = {"namespace": "default", "name": "web"}
PATIENCE = 10.0
"""Seconds; mostly it is milliseconds, but for who insists."""


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await turn()


async def turn() -> None:
    await asyncio.sleep(0.001)


class Counted(Nftables):
    """Remembers which commits held everything."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rewrites = 0
        self.commits = self.failures = 0

    async def commit(self, changes: Any) -> Any:
        self.commits += 1
        self.rewrites += bool(changes) and isinstance(changes[0], Reset)
        try:
            return await super().commit(changes)
        except OSError:
            self.failures += 1
            raise


class Listening(RulesetWatch):
    """One that says when it begins to hear: who acts before that is not heard by his name."""

    begun = False

    def begin(self, own: int) -> None:
        super().begin(own)
        self.begun = True


class Scene:
    def __init__(self, namespace: Namespace, world: InKernel, dataplane: Counted, api: Inside) -> None:
        self.namespace, self.world, self.dataplane, self.api = namespace, world, dataplane, api

    async def mended(self) -> None:
        """Waits until a new connection is carried again."""
        await until(self.answered)

    async def answered(self) -> bool:
        return await self.world.once(TCP) in names(11, 12)

    async def hears_of_one_more(self) -> None:
        """One more change of our rules, which is heard of after all that others did before, and answered after whatever that led to."""
        self.namespace.nft("flush", "chain", "ip", "pierhead", "services")
        await self.mended()
        await until(self.events)

    async def events(self) -> list[tuple[str, str, int]]:
        found = (await self.api.client.list(EVENT)).items
        return [
            (one["reason"], one["message"], one["count"]) for one in found if one["involvedObject"]["kind"] == "Node"
        ]


def play(namespace: Namespace, scenario: Callable[[Scene], Awaitable[None]]) -> None:
    """With a Service of two pods, programmed, and a node of the proxy's name."""

    async def run() -> None:
        async with in_kernel(namespace) as world, server(HERE.network) as api:
            client = api.client
            await client.create(NODE, {"metadata": {"name": "node-a"}})
            ports = [{"name": "http", "port": 8080}]
            await client.create(SERVICE, {"metadata": METADATA, "spec": {"clusterIP": ADDRESS, "ports": ports}})
            await client.create(ENDPOINT_SLICE, to_tree("web", "web-1", endpoint(11), endpoint(12)))
            watch = Listening(namespace.socket())
            dataplane = Counted([GROUND], namespace.open(), watch)
            informers, recorder = Informers(client), Recorder(client, "service-proxy", "node-a")
            proxier = Proxier(client, informers, dataplane, HERE, name="node-a", store="s", recorder=recorder)
            scene = Scene(namespace, world, dataplane, api)
            async with asyncio.TaskGroup() as group:
                roles = [group.create_task(role.run()) for role in (informers, recorder, proxier)]
                await scene.mended()
                while not watch.begun:
                    await turn()
                await scenario(scene)
                for role in roles:
                    role.cancel()
            await dataplane.close()

    asyncio.run(run())


def rules(namespace: Namespace) -> list[str]:
    """All chains and sets that stand there, but for what traffic taught; nft lists them by their age."""
    listed = re.sub(r"\s*elements = \{[^}]* counter [^}]*\}", "", namespace.nft("list", "ruleset"))
    return sorted(re.findall(r"^\t(?:chain|map|set) .*?^\t\}", listed, re.MULTILINE | re.DOTALL))


def exchange(namespace: Namespace) -> None:
    """One element for another: there are as many as before."""
    listed = namespace.nft("list", "map", "ip", "pierhead", "frontends")
    (elements,) = re.findall(r"elements = \{(.*?)\}", listed, re.DOTALL)
    other = elements.replace("8080", "8081")
    namespace.nft(f"flush map ip pierhead frontends; add element ip pierhead frontends {{{other}}}")


HARM: dict[str, Callable[[Namespace], object]] = {
    "a rule": lambda namespace: namespace.nft("flush", "chain", "ip", "pierhead", "services"),
    "all rules": lambda namespace: namespace.nft("flush", "table", "ip", "pierhead"),
    "a map": lambda namespace: namespace.nft("flush", "map", "ip", "pierhead", "frontends"),
    "an element": exchange,
    "the table": lambda namespace: namespace.nft("delete", "table", "ip", "pierhead"),
    "everything": lambda namespace: namespace.nft("flush", "ruleset"),
    "the hooks": lambda namespace: namespace.nft("add table ip pierhead { flags dormant; }"),
    "room, by a map that leads to chains": lambda namespace: namespace.nft(
        "flush chain ip pierhead services; add chain ip pierhead theirs; add map ip pierhead their { type mark : verdict; }; "
        "add element ip pierhead their { 1 : jump theirs, 2 : jump services }"
    ),
    "a map and all rules": lambda namespace: namespace.nft("flush table ip pierhead; delete map ip pierhead frontends"),
    "a chain, by one of another kind": lambda namespace: namespace.nft(
        "flush table ip pierhead; delete chain ip pierhead hide; "
        "add chain ip pierhead hide { type filter hook input priority 0; }"
    ),
    "a map, by one of another kind": lambda namespace: namespace.nft(
        "flush table ip pierhead; delete map ip pierhead affinity; add map ip pierhead affinity { type mark : mark; }"
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_a_stranger_takes_away_is_back_in_a_moment(namespace: Namespace, harm: str) -> None:
    async def scenario(scene: Scene) -> None:
        before = rules(namespace)
        kept = [await scene.world.talk(TCP) for _ in range(5)]
        await asyncio.to_thread(HARM[harm], namespace)
        await scene.mended()
        for talk in kept:
            assert await talk.ask() in names(11, 12)
            await talk.close()
        assert rules(namespace) == before
        await until(scene.events)
        text = "nft changed table ip pierhead, which the service proxy keeps: it is written again"
        assert await scene.events() == [("RulesetChanged", text, 1)]

    play(namespace, scenario)


def test_who_changes_only_his_own_table_is_nobodys_business(namespace: Namespace) -> None:
    async def scenario(scene: Scene) -> None:
        before = scene.dataplane.rewrites, scene.dataplane.commits
        for number in range(20):
            namespace.nft(f"add table ip foreign; add chain ip foreign c{number}; add table ip6 pierhead")
        namespace.nft("flush", "table", "ip", "foreign")
        await scene.hears_of_one_more()
        assert (scene.dataplane.rewrites, scene.dataplane.commits) == (before[0] + 1, before[1] + 1)
        assert [(reason, times) for reason, _, times in await scene.events()] == [("RulesetChanged", 1)]

    play(namespace, scenario)


def test_with_one_who_insists_it_does_not_fight(namespace: Namespace) -> None:
    async def scenario(scene: Scene) -> None:
        before, loop = scene.dataplane.rewrites, asyncio.get_running_loop()
        end = loop.time() + 1.5
        times = 0
        while loop.time() < end:
            await asyncio.to_thread(namespace.nft, "flush", "chain", "ip", "pierhead", "services")
            times += 1
        # At once, and then 0.1, 0.2, 0.4 and 0.8 s later.
        assert 2 <= scene.dataplane.rewrites - before <= 5 < times
        await scene.mended()

    play(namespace, scenario)


def test_a_table_that_somebody_puts_in_its_place_is_left_alone_until_he_takes_it_away(namespace: Namespace) -> None:
    async def scenario(scene: Scene) -> None:
        theirs = 'table ip pierhead { comment "theirs"; chain c { accept; }; }'
        namespace.nft(f"delete table ip pierhead; {theirs}")

        async def refused() -> bool:
            return scene.dataplane.failures > 0

        await until(refused)
        assert "accept" in namespace.nft("list", "table", "ip", "pierhead")
        namespace.nft("delete", "table", "ip", "pierhead")
        before = scene.dataplane.rewrites - scene.dataplane.failures
        await scene.mended()
        await scene.hears_of_one_more()
        assert scene.dataplane.rewrites - scene.dataplane.failures - before in (2, 3)

    play(namespace, scenario)
