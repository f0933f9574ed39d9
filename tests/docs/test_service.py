"""The systemd unit, and the page that installs it: systemd takes it, the command takes its options, and both mean the same paths."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from pierhead.cli.commands import commands
from running import PIERHEAD, ROOT, START_LIMIT, running

UNIT = (ROOT / "packaging" / "pierhead.service").read_text()
PAGE = (ROOT / "docs" / "guides" / "service.md").read_text()
DIRECTIVES = dict(line.split("=", 1) for line in UNIT.splitlines() if "=" in line and not line.startswith("#"))
STATE = f"/var/lib/{DIRECTIVES['StateDirectory']}"


def started(line: str = DIRECTIVES["ExecStart"], *, state: str = "/var/lib") -> tuple[Path, list[str]]:
    """The program and its arguments, as systemd makes them of an ExecStart."""
    program, *arguments = shlex.split(line.replace("%S", state))
    return Path(program), arguments


@pytest.mark.parametrize("line", [DIRECTIVES["ExecStart"], *re.findall(r"^ExecStart=(.+)$", PAGE, re.MULTILINE)])
def test_the_command_takes_what_it_is_given(line: str, tmp_path: Path) -> None:
    """Of a state directory that is nobody else's: a region of root's may have the real one."""
    program, (name, *options) = started(line, state=str(tmp_path))
    assert program == started()[0]
    with commands.commands[name].make_context(name, options) as context:
        assert context.params["data_dir"] == tmp_path / DIRECTIVES["StateDirectory"]


def test_the_page_installs_what_the_unit_starts() -> None:
    program, _ = started()
    for line in (
        f"/usr/bin/python3 -m venv {program.parents[1]}",
        f"{program.with_name('pip')} install .",
        f"--shell /usr/sbin/nologin {DIRECTIVES['User']}",
        "packaging/pierhead.service /etc/systemd/system/pierhead.service",
        f"export KUBECONFIG={STATE}/kubeconfig",
        f"`{program} kubeconfig`",
    ):
        assert line in PAGE


def test_it_has_started_when_it_serves(tmp_path: Path) -> None:
    """Whoever waits for the unit finds the API."""
    assert DIRECTIVES["Type"] == "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, pytest.MonkeyPatch.context() as environment:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_LIMIT)
        environment.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(tmp_path / "d", "--network", "none") as region:
            assert manager.recv(100) == b"READY=1"
            assert region.call("GET", "/readyz") == (200, "ok")


def test_the_region_ends_its_pods_itself() -> None:
    """systemd's own SIGTERM to every process would break the connections that pods are still answering."""
    assert DIRECTIVES["KillMode"] == "mixed"
    assert int(DIRECTIVES["TimeoutStopSec"]) > 5


def test_systemd_takes_it(tmp_path: Path) -> None:
    """Where there is no systemd, at least every directive belongs to a section and none stands twice."""
    program, _ = started()
    unit = tmp_path / "pierhead.service"
    unit.write_text(UNIT.replace(str(program), str(PIERHEAD)))
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        assert "pierhead.service" not in done.stderr, done.stderr
    names = [line.partition("=")[0] for line in UNIT.splitlines() if "=" in line and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert UNIT.index("[Unit]") < UNIT.index("[Service]") < UNIT.index("[Install]")
