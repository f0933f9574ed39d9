"""A test that is skipped fails the run, unless its reason stands in ``tests/skips.txt``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
LISTED = (HERE / "skips.txt").read_text().splitlines()[-1]
TESTS = f"""
import pytest

def test_listed() -> None:
    pytest.skip({LISTED!r})

def test_tired() -> None:
    pytest.skip("no time today")

def test_missing() -> None:
    pytest.importorskip("no_such_module")
"""


def test_a_skip_needs_a_reason_from_the_list(tmp_path: Path) -> None:
    for name in ("conftest.py", "skips.txt"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    found = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=tmp_path, env=found, capture_output=True, text=True, timeout=60, check=False)
    assert "2 failed, 1 skipped" in done.stdout
    assert "skipped for a reason that is not in tests/skips.txt: no time today" in done.stdout
