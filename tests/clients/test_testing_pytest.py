"""The fixture ``pierhead`` in somebody else's tests, in several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from pierhead.testing import Region

@pytest.mark.parametrize("number", range(6))
def test_each_finds_it_new(pierhead: Region, number: int) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"n": str(number)}}
    [stored] = pierhead.apply(made)
    assert stored["data"] == {"n": str(number)}
    assert len(pierhead.apply({"apiVersion": "v1", "kind": "List", "items": []})) == 0
"""


def test_the_tests_of_several_processes_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "test_maps.py").write_text(TESTS)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert "6 passed" in done.stdout, done.stdout + done.stderr
    assert len(list((tmp_path / "cache").rglob("ca.key"))) == 1
