"""A test that forgets its region: it ends, and a warning names where it was made."""

from __future__ import annotations

import gc
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
