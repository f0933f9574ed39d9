"""Which lab is meant by who enters or ends one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pierhead.cli.labentry import directory_of
from pierhead.region import labdirectory


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of one, beside whose kubeconfig others are named."""
    (tmp_path / labdirectory.RECORD).touch()
    named = ("/root/nowhere/config", f"/{'x' * 300}/config", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("KUBECONFIG", ":".join(named))
    return tmp_path


def test_the_one_that_is_asked_for(lab: Path) -> None:
    assert directory_of(lab / "other") == lab / "other"


def test_else_the_one_whose_kubeconfig_is_in_use_whatever_else_is_named(lab: Path) -> None:
    assert directory_of(None) == lab


def test_else_the_one_of_this_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert directory_of(None) == labdirectory.default()
