"""Whether a lab runs, as others see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.region.labdirectory import RECORD, first_of, recorded


def test_while_it_runs_others_learn_its_number_and_afterwards_that_there_is_none(tmp_path: Path) -> None:
    with recorded(tmp_path, 4711):
        assert first_of(tmp_path) == 4711
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path)


def test_what_a_killed_one_wrote_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("4711\n")
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path)
    with pytest.raises(UsageError, match="no lab runs in"):
        first_of(tmp_path / "elsewhere")
