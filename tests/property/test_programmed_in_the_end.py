"""Whatever nodes, proxies and users did before, and in whatever order: in the end each Service says what is true of it."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import virtual
from inside import STORE, controlled, network
from pierhead.api import Tree
from pierhead.api.kinds import NODE, PROXY_STATUS, SERVICE
from pierhead.api.views.services import OTHER_PROXY
from pierhead.client.client import Client
from pierhead.controllers.programmed import PATIENCE

NAMES = st.sampled_from(("a", "b"))
READY = st.sampled_from(("True", "False"))
STEPS = st.one_of(
    st.tuples(st.just("node"), NAMES, READY),
    st.tuples(st.just("report"), NAMES, st.booleans(), st.frozensets(NAMES)),
    st.tuples(st.just("service"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("label"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("carrier"), NAMES, st.booleans()),
    st.tuples(st.just("gone"), NAMES),
    st.tuples(st.just("wait"), st.sampled_from((0.001, 0.1, PATIENCE))),
)


class World:
    """What there is, and what its proxies refuse."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ready: dict[str, bool] = {}
        self.refused: dict[str, frozenset[str]] = {}
        self.reached: dict[str, str] = {}
        self.written: dict[str, int] = {}
        """When each Service became what it is."""
        self.elsewhere: set[str] = set()
        """Those that another proxy carries."""

    async def step(self, verb: str, *arguments: Any) -> None:
        await getattr(self, f"do_{verb}")(*arguments)

    async def do_node(self, name: str, ready: str) -> None:
        if name not in self.ready:
            await self._client.create(NODE, {"metadata": {"name": name}})
        self.ready[name] = ready == "True"
        conditions = [{"type": "Ready", "status": ready}]
        await self._client.patch(NODE, name, {"status": {"conditions": conditions}}, subresource="status")

    async def do_report(self, name: str, caught_up: bool, refused: frozenset[str]) -> None:
        """Node and proxy have one name. ``caught_up``: as far as it is asked to, else no further than before."""
        if name not in self.refused:
            await self._client.create(PROXY_STATUS, {"metadata": {"name": name}})
        self.refused[name] = refused
        services = self.reached.get(name, "0")
        if caught_up:
            found = await self._client.get(PROXY_STATUS, name)
            services = self.reached[name] = found.get("spec", {}).get("want", {}).get("services", "0")
        refusals = [{"namespace": "default", "name": one, "reason": "AddressInUse", "message": one} for one in refused]
        status = {
            "store": STORE,
            "nodes": [name],
            "programmed": {"services": services},
            "refusals": sorted(refusals, key=str),
        }
        await self._client.patch(PROXY_STATUS, name, {"status": status}, subresource="status")

    async def do_service(self, name: str, port: int) -> None:
        spec = {"ports": [{"port": port}]}
        if name in self.written:
            before = await self._client.get(SERVICE, name, "default")
            stored = await self._client.patch(SERVICE, name, {"spec": spec}, "default")
            if stored["metadata"]["generation"] == before["metadata"]["generation"]:
                return
        else:
            body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
            stored = await self._client.create(SERVICE, body)
        self.written[name] = int(stored["metadata"]["resourceVersion"])

    async def do_label(self, name: str, value: int) -> None:
        if name in self.written:
            await self._client.patch(SERVICE, name, {"metadata": {"labels": {"x": str(value)}}}, "default")

    async def do_carrier(self, name: str, ours: bool) -> None:
        if name not in self.written or ours is (name not in self.elsewhere):
            return
        (self.elsewhere.discard if ours else self.elsewhere.add)(name)
        labels = {OTHER_PROXY: None if ours else "another"}
        await self._client.patch(SERVICE, name, {"metadata": {"labels": labels}}, "default")

    async def do_gone(self, name: str) -> None:
        if name in self.written:
            del self.written[name]
            self.elsewhere.discard(name)
            await self._client.delete(SERVICE, name, "default")

    async def do_wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Every proxy reports, is asked, and gets there."""
        for name in self.ready:
            if name not in self.refused:
                await self.do_report(name, False, frozenset())
        await asyncio.sleep(PATIENCE * 2)
        for name in self.ready:
            await self.do_report(name, True, self.refused[name])
        await asyncio.sleep(PATIENCE * 2)

    async def check_what_is_said(self) -> None:
        """No generation is called programmed that no proxy has seen."""
        for name, service, condition in await self.conditions():
            if (condition["status"], condition["observedGeneration"]) == ("True", service["metadata"]["generation"]):
                assert max(map(int, self.reached.values()), default=0) >= self.written[name]

    async def check_what_is_true(self) -> None:
        """Everything that is ours is programmed, but for what a node that is ready refuses."""
        found = await self.conditions()
        assert {name for name, _, _ in found} == self.written.keys() - self.elsewhere
        for name, service, condition in found:
            refused = any(name in self.refused[node] for node, ready in self.ready.items() if ready)
            assert condition["observedGeneration"] == service["metadata"]["generation"]
            assert condition["status"] == str(not refused), condition

    async def conditions(self) -> list[tuple[str, Tree, Tree]]:
        services = [(name, await self._client.get(SERVICE, name, "default")) for name in self.written]
        return [(name, found, one) for name, found in services for one in found["status"].get("conditions", ())]


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_in_the_end_it_says_what_is_true(steps: list[tuple[Any, ...]]) -> None:
    async def scenario() -> None:
        async with controlled(network("loopback")) as (client, _):
            world = World(client)
            for verb, *arguments in steps:
                await world.step(verb, *arguments)
                await asyncio.sleep(0.001)
                await world.check_what_is_said()
            if not any(world.ready.values()):
                await world.do_node("a", "True")
            await world.settle()
            await world.check_what_is_true()

    virtual.run(scenario())
