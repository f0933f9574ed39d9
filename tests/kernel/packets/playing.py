"""Plays a recorded scenario against the proxy under test, and says where the kernel does something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlsplit

from kernel.packets.objects import Objects, Tree
from kernel.packets.probes import SILENCE, Call, Met, meet
from kernel.packets.proxying import Proxy
from kernel.packets.topology import ADDRESSES, NAMES, Topology

QUIET: Final = 0.5
"""Seconds without an answer after which a timeout that was recorded is one; in here an answer takes milliseconds."""
PATIENCE: Final = 3.0
"""Seconds for an answer that was recorded."""
AT_ONCE: Final = 12
ROUNDS: Final = 12
"""How often a step is played until everybody who was recorded has answered: a choice that did not fall is no difference."""
LOST: Final = 0.1
"""Seconds for each request on an open connection."""
BEFORE_CHANGE: Final = 5
"""Requests on an open connection before the change that comes meanwhile."""

FACETS: Final[Mapping[str, Callable[[Met], Any]]] = {
    "outcome": lambda met: met.outcome,
    "via": lambda met: met.via,
    "sendError": lambda met: met.send_error,
    "answeredBy": lambda met: met.answered_by,
    "by": lambda met: met.by,
    "ports": lambda met: met.port,
    "peerSeen": lambda met: NAMES.get(met.peer, met.peer),
    "peerAddresses": lambda met: met.peer,
    "peerSeenBy": lambda met: (met.by, NAMES.get(met.peer, met.peer)),
}
ALWAYS: Final = ("outcome", "via", "sendError")
"""What a result tells also by leaving it out."""


class Player:
    def __init__(self, network: Topology, scenario: Tree, *, patience: float = PATIENCE) -> None:
        self._network, self._scenario, self._patience = network, scenario, patience
        self._proxy = Proxy(network, Objects(scenario))
        self._calls: dict[str, tuple[Call, str]] = {}
        self._answered: dict[int, str] = {}
        """Step → the one server of a client that sticks."""
        self._stack = ExitStack()

    async def play(self) -> list[str]:
        """The differences between what was recorded and ours, up to the first probes that show one."""
        with self._stack:
            for host, routes in self._scenario.get("routes", {}).items():
                self._route(host, routes)
            self._stack.callback(self._proxy.clear)
            await self._proxy.start()
            for steps in together(self._scenario["steps"]):
                await self._prepare(steps[0][1])
                found = [
                    text for texts in await asyncio.gather(*(self._step(*step) for step in steps)) for text in texts
                ]
                if found:
                    return found
        return []

    async def _step(self, number: int, step: Tree) -> list[str]:
        probe, result = step["probe"], step["result"]
        if probe.get("open"):
            found = await self._open(probe, result)
        elif "connection" in probe:
            found = await self._go_on(step)
        elif "http" in probe:
            found = await self._fetch(probe, result)
        elif probe["protocol"] == "SCTP":
            found = ["SCTP is not served"]
        elif probe.get("sequential"):
            found = await self._stick(number, probe, result)
        else:
            found = await self._meet(probe, result)
        return [] if step.get("quirk") else [f"step {number} {probe}: {text}" for text in found]

    async def _prepare(self, step: Tree) -> None:
        """What comes before the probes that begin with this step."""
        await asyncio.sleep(step.get("wait", 0))  # recorded: the scenario is about this pause
        if not step.get("during"):
            await self._change(step.get("change", {}))

    async def _change(self, change: Tree) -> None:
        for host, routes in change.get("addRoute", {}).items():
            self._route(host, routes)
        if "terminateBackendOf" in change:
            for address in ADDRESSES[self._answered[change["terminateBackendOf"]]]:
                await self._proxy.terminate(address)
        elif "restartProxy" in change:
            await self._proxy.start()
        elif change:
            await self._proxy.change(change.get("apply", ()), change.get("delete", ()))

    def _route(self, host: str, routes: Iterable[str]) -> None:
        for route in routes:
            self._network.route(host, route)
            self._stack.callback(self._network.route, host, route, add=False)

    def _call(self, probe: Tree) -> tuple[Call, int]:
        host, (address, port) = probe["from"], target(probe)
        source = ADDRESSES[host][":" in address] if host == "outside2" else ""
        return Call(self._network.host(host).sockets, probe["protocol"], address, source), port

    async def _once(self, probe: Tree, patience: float) -> Met:
        call, port = self._call(probe)
        return await meet(call, port, patience)

    def _patience_for(self, result: Tree) -> float:
        return QUIET if result["outcome"] == "timeout" else self._patience

    async def _meet(self, probe: Tree, result: Tree) -> list[str]:
        seen: set[Met] = set()
        patience = self._patience_for(result)
        for _ in range(ROUNDS):
            seen |= set(
                await asyncio.gather(*(self._once(probe, patience) for _ in range(min(probe["times"], AT_ONCE))))
            )
            if found := list(differences(result, seen)):
                return found
            if not list(differences(result, seen, whole=True)):
                return []
        return list(differences(result, seen, whole=True))

    async def _stick(self, number: int, probe: Tree, result: Tree) -> list[str]:
        """Whose turn it is was chance, and nobody else's afterwards."""
        seen = {await self._once(probe, self._patience) for _ in range(probe["times"])}
        found = list(differences({key: value for key, value in result.items() if key != "by"}, seen, whole=True))
        who, *others = sorted({met.by for met in seen})
        if others:
            found.append(f"answered by {who} and {others}")
        if "oneOf" in result and who not in result["oneOf"]:
            found.append(f"answered by {who}, expected one of {result['oneOf']}")
        for relation, same in (("sameBackendAsStep", True), ("otherBackendThanStep", False)):
            if relation in result and (self._answered[result[relation]] == who) != same:
                found.append(f"answered by {who}: not {relation} {result[relation]}")
        self._answered[number] = who
        return found

    async def _open(self, probe: Tree, result: Tree) -> list[str]:
        call, port = self._call(probe)
        self._calls[probe["connection"]] = self._stack.enter_context(call), probe["protocol"]
        try:
            async with asyncio.timeout(self._patience_for(result)):
                met = await call.connect(port) or await call.ask()
        except TimeoutError:
            met = SILENCE
        return list(differences(result, {met}, whole=True))

    async def _go_on(self, step: Tree) -> list[str]:
        probe, result = step["probe"], step["result"]
        call, protocol = self._calls[probe["connection"]]
        mets: list[Met] = []
        for count in range(min(probe["times"], 2 * BEFORE_CHANGE)):
            if count == BEFORE_CHANGE and step.get("during"):
                await self._change(step["change"])
            try:
                async with asyncio.timeout(LOST):
                    mets.append(await call.ask())
            except TimeoutError:
                mets.append(SILENCE)
        answers = [met for met in mets if met.outcome == "answered"]
        order = [who for who, _ in groupby(f"{met.by}:{met.port}" for met in answers)]
        found = [] if order == result["order"] else [f"answered by {order}, expected {result['order']}: {mets}"]
        if result["sent"] == result["answered"] and (protocol == "TCP" or not step.get("during")) and answers != mets:
            found.append(f"of {len(mets)} requests {len(answers)} were answered: {set(mets)}")
        return found

    async def _fetch(self, probe: Tree, result: Tree) -> list[str]:
        url = urlsplit(probe["http"])
        call = Call(self._network.host(probe["from"]).sockets, "TCP", url.hostname or "")
        with call:
            async with asyncio.timeout(self._patience):
                met = await call.connect(url.port or 80)
                if met:
                    return list(differences(result, {met}))
                answer = await call.text(f"GET {url.path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode())
        head, _, body = answer.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        ours = {
            "outcome": "answered", "status": int(first.split()[1]), "body": body,
            "headers": {name: headers.get(name) for name in result.get("headers", {})},
        }  # fmt: skip
        return [] if ours == result else [f"expected {result}, got {ours}"]


def together(steps: Sequence[Tree]) -> Iterator[list[tuple[int, Tree]]]:
    """Steps between two changes whose order does not count are played at the same time."""
    group: list[tuple[int, Tree]] = []
    for number, step in enumerate(steps, 1):
        alone = {"connection", "sequential"} & step["probe"].keys()
        if group and (alone or {"change", "wait"} & step.keys()):
            yield group
            group = []
        group.append((number, step))
        if alone:
            yield group
            group = []
    if group:
        yield group


def differences(result: Tree, seen: Iterable[Met], *, whole: bool = False) -> Iterator[str]:
    """Where connections met something else than was recorded; ``whole``: or have not met all of it."""
    for name, facet in FACETS.items():
        if name not in result and name not in ALWAYS:
            continue
        expected, ours = set(_values(result.get(name, ""))), {facet(met) for met in seen}
        if not ours <= expected or (whole and ours != expected):
            yield f"{name}: expected {expected}, got {ours}"


def _values(recorded: Any) -> Iterator[Any]:
    if not isinstance(recorded, dict | list):
        yield recorded
        return
    for value in recorded:
        several = recorded[value] if isinstance(recorded, dict) else None
        yield from ((value, one) for one in several) if isinstance(several, list) else (value,)


def target(probe: Tree) -> tuple[str, int]:
    """An echo goes to an address alone."""
    if probe["protocol"] == "ICMP":
        return probe["to"], 0
    address, _, port = probe["to"].rpartition(":")
    return address.strip("[]"), int(port)
