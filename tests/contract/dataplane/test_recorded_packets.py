"""The recorded scenarios of kube-proxy without a kernel: the tracer and the compiled rules say of each new connection what it met.

What the recorded network lost or a server refused is no matter of rules; that the real kernel does the same is shown beside the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from kernel.packets.objects import FAMILIES, Objects, Tree
from kernel.packets.playing import target
from kernel.packets.topology import ADDRESSES, NAMES
from pierhead.forwarding.assembly import Assembly
from pierhead.forwarding.diff import whole
from pierhead.forwarding.nft import PROTOCOLS, Compiler
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Sent, fates
from pierhead.forwarding.trace import Packet, trace
from recorded.recording import cases, rows

HERE = Path(__file__).parents[2] / "kernel/packets"
OPEN = rows(HERE / "open.txt")
SCENARIOS = [scenario for scenario in cases(HERE / "recorded.jsonl") if scenario["id"] not in OPEN]


class Said(NamedTuple):
    verdict: str
    servers: frozenset[str]
    ports: frozenset[int]
    peers: frozenset[str]
    """Whom the servers see."""


class Rules:
    """What a proxy on node-a holds at one point of a scenario, asked in two ways."""

    def __init__(self, objects: Objects, own: frozenset[str]) -> None:
        network = objects.network()
        self._place = objects.place(network)
        self._own = frozenset(map(ip_address, own))
        assembly = Assembly()
        assembly.update(objects.parts(self._place))
        self._table = assembly.table()
        self._rules: dict[int, Ruleset] = {}
        self._nodes: set[str] = set()
        for family in FAMILIES:
            compiler = Compiler(objects.ground(network, family))
            self._rules[6 if compiler.layout.ground.six else 4] = rules = Ruleset(compiler.layout.table)
            self._nodes.update(compiler.layout.ground.nodes)
            rules.apply(compiler.layout.skeleton())
            rules.apply(compiler.take(whole(self._table)[1:]).messages)

    def traced(self, packet: Packet) -> Said:
        node = ADDRESSES["node-a"][":" in packet.address]
        here = packet.address if packet.address in self._nodes else node
        place = replace(self._place, network=replace(self._place.network, node_address=here))
        found = trace(self._table, packet, place)
        return _said(found.verdict, (
            (one.address, one.port, node if found.hides(packet, one, place) else packet.source) for one in found.endpoints
        ))  # fmt: skip

    def walked(self, packet: Packet, link: str) -> Said:
        node, destination = ADDRESSES["node-a"][":" in packet.address], ip_address(packet.address)
        sent = Sent(ip_address(packet.source), destination, PROTOCOLS[packet.protocol], packet.port, link=link)
        found = list(fates(self._rules[destination.version], sent, self._own.__contains__))
        (verdict,) = {fate.verdict for fate in found}
        met = ((str(fate.destination), fate.port, node if fate.masquerade else packet.source) for fate in found)
        return _said(verdict, met if verdict == "forward" else ())


def _said(verdict: str, met: Iterable[tuple[str, int, str]]) -> Said:
    servers, ports, peers = map(frozenset, zip(*met, strict=True)) if verdict == "forward" else [frozenset()] * 3
    return Said(verdict, frozenset(NAMES.get(server, server) for server in servers), ports, peers)


def first_packets(scenario: Tree) -> Iterator[tuple[Tree, Tree, Rules, frozenset[str]]]:
    """Every probe of new connections over TCP and UDP: probe, result, what the proxy holds, and node-a's own addresses."""
    objects = Objects(scenario)
    own = frozenset(("127.0.0.1", "::1", *ADDRESSES["node-a"], *ADDRESSES["node-a-second"]))
    own |= {route.split()[1].partition("/")[0] for routes in scenario.get("routes", {}).values() for route in routes}
    rules = Rules(objects, own)
    for step in scenario["steps"]:
        change = step.get("change", {})
        if "terminateBackendOf" in change:
            return  # who that was is chance
        objects.change(change.get("apply", ()), change.get("delete", ()))
        rules = Rules(objects, own) if change else rules
        if step["probe"].get("protocol") in PROTOCOLS and not step.get("quirk"):
            yield step["probe"], step["result"], rules, own


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_a_new_connection_meets_what_was_recorded(scenario: Tree) -> None:
    for probe, result, rules, own in first_packets(scenario):
        address, port = target(probe)
        source = ADDRESSES[probe["from"]][":" in address]
        if probe["from"] == "node-a" and address in own:
            source = address
        packet = Packet(source, probe["protocol"], address, port)
        link = "" if probe["from"] == "node-a" else "eth0"
        for said in (rules.traced(packet), rules.walked(packet, link)):
            compare(said, probe, result)


def compare(said: Said, probe: Tree, result: Tree) -> None:
    match said.verdict, result["outcome"]:
        case "forward", "answered":
            one = "oneOf" in result
            assert said.servers == set(result["oneOf"] if one else result["by"]), (probe, said)
            assert said.ports == set(result["ports"]), (probe, said)
            seen = set(result["peerAddresses"])
            assert seen <= said.peers if one else seen == said.peers, (probe, said)
        case "reject", outcome:
            assert (outcome, result["via"].partition(" ")[0][:4]) == ("refused", "icmp"), (probe, said)
        case "drop", outcome:
            assert outcome in ("timeout", "unreachable"), (probe, said)
        case "pass", "refused":
            assert result["via"] == "tcp-reset", (probe, said)
        case verdict, _:
            assert verdict in ("pass", "forward")
