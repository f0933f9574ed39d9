"""What the real kube-proxy 1.36 did with packets, our rules in the kernel do, in the same network.

``recorded.jsonl`` holds a scenario a line: objects, and steps with the outcome of real connections. ``open.txt`` lists the scenarios
that end otherwise here, with a reason each. It only shrinks: a scenario in it that passes fails the run until its row is taken out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kernel.packets.conftest import Recorded
from kernel.packets.playing import Player
from kernel.packets.topology import ADDRESSES
from recorded.recording import cases, rows

HERE = Path(__file__).parent
IMPATIENT = 0.5
"""Seconds for an answer in a scenario of which we know that it ends otherwise."""
OPEN = rows(HERE / "open.txt")
SCENARIOS = list(cases(HERE / "recorded.jsonl"))
MIXED = "sourceranges-1500"
"""It is about a client of the other family."""
AREAS = ("live", "affinity", "hairpin", "sourceranges")
OVER_IPV6 = [scenario for scenario in SCENARIOS if scenario["area"] in AREAS and scenario["id"] not in (*OPEN, MIXED)]
LIKE = dict(ADDRESSES.values()) | {
    "10.96.1.1": "fd00:10:96::1:1", "10.96.1.2": "fd00:10:96::1:2",
    "203.0.113.10": "2001:db8:113::10", "198.51.100.10": "2001:db8:51::10",
    "10.244.0.0": "fd00:10:244::", "10.244.1.0": "fd00:10:244:1::", "192.168.100.0": "fd00:100::", "0.0.0.0": "::",
}  # fmt: skip
LENGTHS = {"/32": "/128", "/24": "/64", "/16": "/48", "/0": "/0"}
ADDRESS = re.compile(r"(\d+(?:\.\d+){3})(/\d+)?(:\d+)?")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_recorded(scenario: dict[str, Any], recorded: Recorded) -> None:
    reason = OPEN.get(scenario["id"])
    player = Player(recorded.network, scenario, **({"patience": IMPATIENT} if reason else {}))
    found = recorded.runner.run(player.play())
    if reason is None:
        assert not found, "\n".join([scenario["title"], *found])
    else:
        assert found, f"{scenario['id']} passes now: take its row out of open.txt"


@pytest.mark.parametrize("scenario", OVER_IPV6, ids=lambda scenario: scenario["id"])
def test_recorded_over_ipv4_and_the_same_over_ipv6(scenario: dict[str, Any], recorded: Recorded) -> None:
    found = recorded.runner.run(Player(recorded.network, six(scenario)).play())
    assert not found, "\n".join([scenario["title"], *found])


def six(value: Any) -> Any:
    """The scenario with all addresses exchanged for their like."""
    if isinstance(value, dict):
        return {key: six(item) for key, item in value.items()}
    if isinstance(value, list):
        return [six(item) for item in value]
    if not isinstance(value, str):
        return value
    return {"IPv4": "IPv6", "icmp 3/3": "icmp6 1/4"}.get(value) or ADDRESS.sub(_six, value)


def _six(found: re.Match[str]) -> str:
    address, length, port = found.groups()
    like = LIKE.get(address, address) + (LENGTHS[length] if length else "")
    return f"[{like}]{port}" if port else like


def test_an_open_connection_outlives_that_its_client_is_no_longer_welcome(recorded: Recorded) -> None:
    there = next(scenario for scenario in SCENARIOS if scenario["id"] == "loadbalancer-2f2a")["objects"]
    (service,), (endpoints,) = there["services"], there["endpointslices"]
    objects = {"services": [service], "endpointslices": [endpoints | {"endpoints": endpoints["endpoints"][:1]}]}
    closed = service | {"spec": service["spec"] | {"loadBalancerSourceRanges": ["192.168.100.100/32"]}}
    client = {"from": "outside2", "to": "203.0.113.10:80", "protocol": "TCP"}
    answered = {"outcome": "answered", "order": ["pod-a2:8080"], "sent": 2, "answered": 2}
    steps = [
        {"probe": client | {"connection": "c", "open": True}, "result": {"outcome": "answered"}},
        {"change": {"apply": [closed]}, "probe": client | {"times": 1}, "result": {"outcome": "timeout"}},
        {"probe": {"connection": "c", "times": 2}, "result": answered},
    ]
    assert recorded.runner.run(Player(recorded.network, {"objects": objects, "steps": steps}).play()) == []


def test_every_open_scenario_exists() -> None:
    assert OPEN.keys() <= {scenario["id"] for scenario in SCENARIOS}
