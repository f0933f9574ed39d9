"""The entry point: what is not a command's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pierhead.cli import INTERRUPTED


def test_ctrl_c_while_the_first_modules_are_imported_is_silent(tmp_path: Path) -> None:
    """It comes at a moment that can be repeated: when click is looked for."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "pierhead", "up"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")
