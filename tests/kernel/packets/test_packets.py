"""What the real kube-proxy 1.36 did with packets, our rules in the kernel do, in the same network.

``recorded.jsonl`` holds a scenario a line: objects, and steps with the outcome of real connections. ``open.txt`` lists the scenarios
that end otherwise here, with a reason each. It only shrinks: a scenario in it that passes fails the run until its row is taken out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel.packets.conftest import Recorded
from kernel.packets.playing import Player
from recorded.recording import cases, rows

HERE = Path(__file__).parent
IMPATIENT = 0.5
"""Seconds for an answer in a scenario of which we know that it ends otherwise."""
OPEN = rows(HERE / "open.txt")
SCENARIOS = list(cases(HERE / "recorded.jsonl"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_recorded(scenario: dict[str, Any], recorded: Recorded) -> None:
    reason = OPEN.get(scenario["id"])
    player = Player(recorded.network, scenario, **({"patience": IMPATIENT} if reason else {}))
    found = recorded.runner.run(player.play())
    if reason is None:
        assert not found, "\n".join([scenario["title"], *found])
    else:
        assert found, f"{scenario['id']} passes now: take its row out of open.txt"


def test_every_open_scenario_exists() -> None:
    assert OPEN.keys() <= {scenario["id"] for scenario in SCENARIOS}
