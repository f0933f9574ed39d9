"""The entry point: what is not a command's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pierhead.cli import INTERRUPTED


def test_ctrl_c_while_the_first_modules_are_imported_is_silent(tmp_path: Path) -> None:
    """It comes at a moment that can be repeated: when click is looked for."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "pierhead", "up"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")


def test_in_a_directory_that_was_removed_it_is_said(tmp_path: Path) -> None:
    gone = (
        f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m pierhead up --data-dir x"
    )
    done = subprocess.run(["sh", "-c", gone], capture_output=True, text=True, check=False)
    said = "pierhead: the directory that this shell is in was removed\n  go to one that is there: cd\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["completion", "bash"], ["kubeconfig", "--data-dir", "."]]
)
def test_who_reads_no_further_is_told_nothing_and_it_counts_as_a_signal(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("x" * 100_000)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "pierhead", *words],
            cwd=tmp_path, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_failure_stays_one_where_nobody_hears_of_it() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as nobody:
        done = subprocess.run([sys.executable, "-m", "pierhead", "nonsense"], stderr=nobody, check=False)
    assert done.returncode == 1
