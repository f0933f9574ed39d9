"""A test that forgets its region: it ends, and a warning names where it was made."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from pierhead.testing import region


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


FORGOTTEN = """
from pierhead.testing import region

kept = []


def test_it_is_forgotten() -> None:
    kept.append(region())
"""


@pytest.mark.parametrize(("options", "shown"), [([], False), (["-W", "default::ResourceWarning"], True)])
def test_the_warning_at_the_end_is_shown_as_the_guide_says(options: list[str], shown: bool, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FORGOTTEN)
    command = [sys.executable, *options, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert ("test_it.py:8: ResourceWarning: this region was never closed" in done.stderr) is shown
