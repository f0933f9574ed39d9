"""Where the kubeconfig of a region is looked for, and what helps where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pierhead.cli import kubeconfig
from pierhead.errors import UsageError
from pierhead.region import directory


def test_it_is_the_one_in_the_data_directory_whatever_the_shell_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubeconfig").write_text("ours")
    (tmp_path / "theirs").write_text("theirs")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "theirs"))
    assert kubeconfig.read(tmp_path) == "ours"


def test_what_is_no_directory_is_no_matter_of_the_account(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Not a directory") as caught:
        kubeconfig.read(tmp_path / "file")
    assert caught.value.hint == "name the data directory of one that runs: --data-dir DIR"


def test_where_there_is_none_the_next_step_leads_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as caught:
        kubeconfig.read(tmp_path / "two words")
    assert caught.value.hint == f"start one with: pierhead up --data-dir '{tmp_path}/two words'"
    monkeypatch.setattr(directory, "default", lambda: tmp_path)
    with pytest.raises(UsageError, match=f"no region has written {tmp_path}/kubeconfig") as caught:
        kubeconfig.read(None)
    assert "pierhead kubeconfig --data-dir DIR" in caught.value.hint
