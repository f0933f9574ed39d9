"""The README's commands, replayed as they stand: what it prints is what it says, where … stands for anything."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import PIERHEAD, ranges, running

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- test: five-minutes -->\n```console\n(.*?)```", re.DOTALL)


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each command with the output it should have."""
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def matches(expected: str, actual: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in expected.strip().split("…"))
    return re.fullmatch(pattern, actual.replace("\r", "").strip(), re.DOTALL) is not None


def usable_by_pods() -> bool:
    """As root, pods run as nobody: whether that account can use this checkout and its interpreter, as the README asks."""
    if os.geteuid():
        return True
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    look = f"cd {ROOT} && {PIERHEAD.with_name('python3')} -c 'import PIL'"
    return subprocess.run([*nobody, "sh", "-c", look], capture_output=True, check=False).returncode == 0


def test_the_first_five_minutes(tmp_path: Path) -> None:
    if not usable_by_pods():
        pytest.skip("nobody may not enter this checkout")
    found = list(steps((ROOT / "README.md").read_text()))
    assert len(found) >= 8
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    tools = f"{PIERHEAD.parent}:{os.environ['PATH']}"
    with running(tmp_path / "d", "--network", "loopback", *ranges(worker, part=20)) as region:
        variables = os.environ | {"PATH": tools, "KUBECONFIG": str(region.kubeconfig), "HOME": str(tmp_path)}
        address = ""
        for command, expected in found:
            script = f"IP={address}; cd {ROOT}; {command.replace('small.jpg', str(tmp_path / 'small.jpg'))}\necho; echo IP=$IP"
            done = subprocess.run(
                ["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=60, check=False
            )
            output, _, address = done.stdout.rpartition("\nIP=")
            address = address.strip()
            assert matches(expected, output), f"$ {command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "small.jpg").read_bytes()[:2] == b"\xff\xd8"
