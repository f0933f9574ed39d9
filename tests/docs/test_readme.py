"""The README's commands, replayed as they stand: what it prints is what it says, where … stands for anything."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import PIERHEAD, ROOT, ranges, running, usable_by_pods

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
