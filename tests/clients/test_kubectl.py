"""What kubectl says of a real kube-apiserver 1.36, it says of ours: exit code, standard output and standard error.

``kubectl.jsonl`` holds the commands. Those of a case share a folder and a namespace; ``{dir}`` and ``{ns}`` stand for them.
``open.txt`` lists the cases that do not pass yet, with a reason each. It only shrinks: a case in it that passes fails the run
until its row is taken out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.kubectls import OWN_WORDS
from recorded.player import Server, home
from recorded.recording import Bindings, Comparison, cases, rows

HERE = Path(__file__).parent
OPEN = rows(HERE / "open.txt")
CASES = list(cases(HERE / "kubectl.jsonl"))


def kubeconfig(server: Server, namespace: str) -> str:
    """For the administrator, at home in that namespace."""
    cluster = {"server": server.url, "certificate-authority": str(server.ca)}
    context = {"cluster": "c", "user": "u", "namespace": namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": server.token}}],
            "contexts": [{"name": "x", "context": context}],
            "current-context": "x",
        }
    )


def words(text: str) -> str:
    """What is compared of a text. Runs of blanks count as one: the width of a column follows from names and ages."""
    return "\n".join(re.sub(r"[ \t]{2,}", "  ", line).rstrip() for line in OWN_WORDS.sub("", text).split("\n"))


def run(command: dict[str, Any], folder: Path, bindings: Bindings) -> dict[str, Any]:
    """What is compared of a command: its exit code and what it wrote."""
    for name, text in command.get("files", {}).items():
        (folder / name).write_text(bindings.fill(text))
        (folder / name).chmod(0o755)
    time.sleep(command.get("sleep", 0))  # recorded: time for the controllers to settle
    environment = os.environ | {"HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig")} | command.get("env", {})
    done = subprocess.run(
        bindings.fill(command["argv"]), cwd=folder, env=environment, input=bindings.fill(command.get("stdin", "")),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    stdout, stderr = (text.replace(str(folder), "{dir}") for text in (done.stdout, done.stderr))
    return {"exit": done.returncode, "stdout": words(stdout), "stderr": words(stderr)}


def play(case: dict[str, Any], server: Server, folder: Path) -> Iterator[str]:
    """Every difference between what was recorded and what kubectl says now."""
    with home(server) as bindings:
        (folder / "kubeconfig").write_text(kubeconfig(server, bindings.namespace))
        for command in case["commands"]:
            actual = run(command, folder, bindings)
            expected = {
                "exit": command["exit"],
                "stdout": words(command["stdout"]),
                "stderr": words(command["stderr"]),
            }
            for difference in Comparison(bindings).differences(expected, actual):
                yield f"$ {' '.join(command['argv'])}\n{difference}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_kubectl(case: dict[str, Any], server: Server, tmp_path: Path) -> None:
    found = list(play(case, server, tmp_path))
    if case["id"] not in OPEN:
        assert not found, "\n".join([case["title"], *found])
    else:
        assert found, f"{case['id']} passes now: take its row out of open.txt"


def test_every_open_case_exists() -> None:
    assert OPEN.keys() <= {case["id"] for case in CASES}
