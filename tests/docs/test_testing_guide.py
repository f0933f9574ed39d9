"""The guide to testing as a program: its Python blocks that begin with a file's name are saved, and pytest runs what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from docs.pages import blocks
from running import ROOT

FILE = re.compile(r"# (\S+\.py)\n")


def test_what_the_guide_to_testing_shows(tmp_path: Path) -> None:
    for language, content in blocks((ROOT / "docs" / "guides" / "testing.md").read_text()):
        named = FILE.match(content)
        assert language == "python"
        assert named, content
        (tmp_path / named[1]).write_text(content)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KUBECONFIG"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "6 passed" in done.stdout, done.stdout + done.stderr
