"""What test regions share: certificates of an account, and the parts of 127.0.0.0/8 on a machine."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.testing import ground

NAMES = ["127.0.0.1", "localhost"]
MAKE = f"""
import sys
from pathlib import Path
from pierhead.testing import ground
sys.stdin.read()
with ground.credentials({NAMES}, Path("spare")) as found:
    print(found.ca.read_text(), found.certificate.read_text(), found.key.read_text())
"""

LIVE = """
from pierhead.testing import ground
with ground.home() as found:
    (found / "kubeconfig").touch()
    print(found, flush=True)
    input()
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pierhead" / "testing"


def test_the_certificates_are_made_once_and_the_tokens_each_time(cache: Path, tmp_path: Path) -> None:
    with ground.credentials(NAMES, tmp_path) as first:
        made = first.certificate.read_bytes()
    with ground.credentials(NAMES, tmp_path) as second:
        assert second.certificate.read_bytes() == made
    assert len({first.admin, first.controller, second.admin, second.controller}) == 4
    assert cache in first.ca.parents


def test_only_their_owner_reads_the_keys(cache: Path, tmp_path: Path) -> None:
    with ground.credentials(NAMES, tmp_path) as found:
        assert stat.S_IMODE(found.key.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in found.key.parent.iterdir()} == {0o600}


def test_processes_that_start_together_get_one_whole_set(cache: Path) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", MAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    processes = [start() for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    assert len({process.communicate(timeout=30)[0] for process in processes}) == 1
    assert all(process.returncode == 0 for process in processes)


def test_a_cache_that_others_can_read_or_that_cannot_be_made_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    (cache / "-".join(NAMES)).mkdir(parents=True, mode=0o755)
    with ground.credentials(NAMES, spare) as found:
        assert found.ca.parent == spare
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with ground.credentials(NAMES, spare) as found:
        assert found.ca.parent == spare


def test_each_network_of_loopback_mode_has_a_part_of_its_own() -> None:
    with ground.network("loopback") as one, ground.network("loopback") as other:
        mine, theirs = ((*each.service_ranges, *each.pod_ranges, *each.floating_ranges) for each in (one, other))
        assert not any(found.overlaps(another) for found in mine for another in theirs)


def test_a_network_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(UsageError, match="needs Linux"), ground.network("loopback"):
        pass
    with ground.network("none") as found:
        assert found.mode == "none"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@contextmanager
def lived_in() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a directory, and that."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


@pytest.mark.usefixtures("temporary")
def test_the_directory_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_never() -> None:
    with lived_in() as (process, left), lived_in() as (_, kept):
        process.kill()
        process.wait()
        assert left.exists()
        with ground.home() as mine:
            assert not left.exists()
            assert (kept / "kubeconfig").exists()
            with ground.home():
                assert mine.exists()
        assert not mine.exists()


def test_nothing_is_removed_but_directories_of_test_regions(temporary: Path) -> None:
    (temporary / "mine").mkdir()
    others = [temporary / "pierhead-page-1", temporary / f"{ground.HOME}file", temporary / f"{ground.HOME}link"]
    others[0].mkdir()
    others[1].touch()
    others[2].symlink_to(temporary / "mine")
    with ground.home():
        assert all(found.exists() for found in (temporary / "mine", *others))
