"""What a real kube-apiserver 1.36 answered, request by request, is what we answer.

``open.txt`` lists the cases that do not pass yet, with a reason each. It only shrinks: a case in it that passes fails the run
until its row is taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorded.player import Player, Server
from recorded.recording import cases, rows

HERE = Path(__file__).parent
IMPATIENT = 1.0
"""Seconds to poll in a case of which we know that it does not pass."""


OPEN = rows(HERE / "open.txt")
CASES = [case for area in sorted((HERE / "cases").glob("*.jsonl")) for case in cases(area)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_recorded(case: dict[str, Any], server: Callable[[str], Server]) -> None:
    reason = OPEN.get(case["id"])
    found = Player(server(case["config"]), patience=IMPATIENT if reason else None).play(case)
    if reason is None:
        assert not found, "\n".join([case["title"], *found])
    else:
        assert found, f"{case['id']} passes now: take its row out of open.txt"


def test_every_open_case_exists() -> None:
    assert OPEN.keys() <= {case["id"] for case in CASES}
