"""What `pierhead lab up` is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pierhead.cli.labs import run, settings, spread
from pierhead.errors import UsageError
from pierhead.region.labdirectory import recorded


@pytest.mark.parametrize(
    ("nodes", "zones", "expected"),
    [
        (None, None, "abc"),
        (1, None, "a"),
        (5, None, "abcab"),
        (None, "x,y", "xy"),
        (3, "x,y", "xyx"),
        (100, "x", "x" * 100),
    ],
)
def test_nodes_are_put_into_zones_in_turn(nodes: int | None, zones: str | None, expected: str) -> None:
    assert "".join(spread(nodes, zones)) == expected


@pytest.mark.parametrize(
    ("nodes", "zones", "line"),
    [
        (0, None, "1 to 100 nodes, not 0"),
        (101, None, "not 101"),
        (2, "x,y,z", "too few for 3 zones"),
        (None, "x,x", "names x twice"),
        (None, "", "''"),
    ],
)
def test_others_are_refused(nodes: int | None, zones: str | None, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        spread(nodes, zones)


@pytest.mark.parametrize("listen", ["0.0.0.0:6443", "[::]:0"])
def test_its_api_is_at_an_address(listen: str) -> None:
    with pytest.raises(UsageError, match="listens at one address"):
        settings(None, None, None, listen, allow_root_pods=False)


def test_a_second_one_in_the_same_directory_is_told_of_the_first(tmp_path: Path) -> None:
    """With the number by which it is known here: inside it is another."""
    with recorded(tmp_path, os.getpid()), pytest.raises(UsageError, match=rf"a lab runs in .*, process {os.getpid()}"):
        run(settings(tmp_path, None, None, "127.0.0.1:0", allow_root_pods=False))
