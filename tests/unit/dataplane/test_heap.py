"""The C library's heap."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from pierhead.dataplane.heap import give_back

PIECE = 64 * 1024
"""Bytes; what is larger has pages of its own, which go back by themselves."""


def resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_was_freed_below_what_is_still_in_use_goes_back_to_the_system() -> None:
    pieces = [b"x" * PIECE for _ in range(500)]
    last = pieces[-1]
    before = resident()
    pieces.clear()
    give_back()
    assert last
    assert resident() < before - 400 * PIECE
