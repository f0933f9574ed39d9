"""The data directory."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.pki.credentials import ensure
from pierhead.region import directory


def test_the_default_is_where_state_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert directory.default() == Path("/state/pierhead")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert directory.default() == Path("/home/somebody/.local/state/pierhead")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert directory.default() == Path("/var/lib/pierhead")


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    directory.prepare(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_beginning_that_is_undone_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, left in ((tmp_path / "a" / "b", tmp_path / "a"), (tmp_path / "empty", None)):
        begun = directory.prepare(path)
        (path / "lock").touch()
        (path / "network").mkdir()
        (path / "network" / "mark").touch()
        assert begun
        begun.undo()
        assert not (left or path / "lock").exists()
    assert [*tmp_path.iterdir()] == [tmp_path / "empty"]


def test_what_somebody_else_has_put_there_meanwhile_stays_and_the_reason_is_said(tmp_path: Path) -> None:
    begun = directory.prepare(tmp_path / "a" / "b")
    (tmp_path / "a" / "theirs").touch()
    with pytest.raises(UsageError, match="the reason"), directory.undone_if_refused(begun):
        raise UsageError("the reason")
    assert [*(tmp_path / "a").iterdir()] == [tmp_path / "a" / "theirs"]


def test_where_a_region_is_nothing_is_to_be_undone(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    assert directory.prepare(tmp_path) is None


def test_what_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="something else") as caught:
        directory.prepare(tmp_path)
    assert "--data-dir" in caught.value.hint
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_where_only_the_namespaces_of_a_killed_run_are_left_a_region_begins(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    begun = directory.prepare(tmp_path)
    assert begun
    assert begun.made == ()


def test_a_region_that_is_there_is_taken_up_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "store.db").touch()
    tmp_path.chmod(0o755)
    directory.prepare(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_where_no_directory_can_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in ((tmp_path / "file", "File exists"), (tmp_path / ("a" * 300), "File name too long")):
        with pytest.raises(UsageError, match=rf"^cannot make .*: {why}$") as caught:
            directory.prepare(path)
        assert "--data-dir" in caught.value.hint


def test_the_kubeconfig_is_private_and_complete(tmp_path: Path) -> None:
    credentials = ensure(tmp_path / "pki", ["127.0.0.1"], datetime.now(UTC))
    path = tmp_path / "kubeconfig"
    directory.write_kubeconfig(path, "https://127.0.0.1:1", credentials)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert credentials.admin in text
    assert "server: https://127.0.0.1:1" in text
    assert credentials.controller not in text


def test_a_directory_remembers_its_network_mode(tmp_path: Path) -> None:
    assert directory.mode(tmp_path / "d") is None
    directory.prepare(tmp_path / "d")
    assert directory.mode(tmp_path / "d") is None
    (tmp_path / "d" / "lock").touch()
    assert directory.mode(tmp_path / "d") == "loopback", "one that is older than this"
    directory.keep_mode(tmp_path / "d", "namespace")
    assert directory.mode(tmp_path / "d") == "namespace"
