"""A test that forgets its region, or dies: the process ends, and of the region only a warning is left that names its maker."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from pierhead.testing import region

HEAD = """
from pierhead.testing import region
r = region()
print(r.kubeconfig, flush=True)
"""


def run(tmp_path: Path, rest: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A script that has made a region in its third line, and the folder of that region."""
    script = tmp_path / "script.py"
    script.write_text(HEAD + rest)
    command = [sys.executable, "-W", "always::ResourceWarning", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done, Path(done.stdout.strip()).parent


@pytest.mark.parametrize(("rest", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_a_process_that_never_closes_it_ends_and_leaves_nothing(tmp_path: Path, rest: str, code: int) -> None:
    done, folder = run(tmp_path, rest)
    assert done.returncode == code
    assert "script.py:3: ResourceWarning: this region was never closed: use `with region()`" in done.stderr
    assert not folder.exists()


def test_a_process_that_dies_takes_it_along(tmp_path: Path) -> None:
    done, folder = run(tmp_path, "import os, shutil\nshutil.rmtree(r.kubeconfig.parent)\nos._exit(7)")
    assert (done.returncode, done.stderr, folder.exists()) == (7, "", False)


def test_one_that_nobody_can_reach_any_more_ends_at_once() -> None:
    def forget() -> Path:
        kubeconfig = region().kubeconfig
        gc.collect()
        return kubeconfig

    before = threading.active_count()
    with pytest.warns(ResourceWarning, match="never closed") as told:
        kubeconfig = forget()
    assert threading.active_count() == before
    assert not kubeconfig.exists()
    assert told[0].filename == __file__


def test_one_that_is_closed_is_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with region():
            pass
        region().close()
        gc.collect()
