"""The guides' code, replayed as it stands: each block that begins with a file's name is written, and pytest runs what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
FILE = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


def test_what_the_guide_to_testing_shows(tmp_path: Path) -> None:
    for name, code in FILE.findall((GUIDES / "testing.md").read_text()):
        (tmp_path / name).write_text(code)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KUBECONFIG"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "6 passed" in done.stdout, done.stdout + done.stderr
