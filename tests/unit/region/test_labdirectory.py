"""Whether a lab runs, as others see it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.region.labdirectory import RECORD, first_of, recorded


def test_while_it_runs_others_learn_its_number_and_afterwards_that_there_is_none(tmp_path: Path) -> None:
    with recorded(tmp_path, os.getpid()):
        assert first_of(tmp_path) == os.getpid()
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path)


def test_what_a_killed_one_wrote_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("4711\n")
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path)
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path / "elsewhere")


def test_what_is_no_directory_is_no_matter_of_the_account(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Not a directory") as caught:
        first_of(tmp_path / "file")
    assert caught.value.hint == "name the data directory of one that runs: --data-dir DIR"


@pytest.mark.parametrize("written", ["", "x", "-1", "4194305", "9" * 5000])
def test_a_record_that_names_no_process_is_nobodys(written: str, tmp_path: Path) -> None:
    with recorded(tmp_path, os.getpid()):
        (tmp_path / RECORD).write_text(written)
        with pytest.raises(UsageError, match="no lab runs in"):
            first_of(tmp_path)


def test_nobody_can_name_another_accounts_process(tmp_path: Path) -> None:
    """Or root could be made to end it."""
    mine = os.geteuid() != 0
    with recorded(tmp_path, 1 if mine else os.getpid()):
        if not mine:
            os.chown(tmp_path / RECORD, 65534, -1)
        with pytest.raises(UsageError, match="no lab runs in"):
            first_of(tmp_path)
