"""A benchmark in a network namespace of its own: root's, or within a user namespace where anybody may make one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks import Figure


def apart(module: str, *words: str) -> Iterator[Figure]:
    """Runs ``module`` there with these words, which prints a figure a line."""
    options = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = [
        "unshare",
        *options,
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        sys.executable,
        "-m",
        module,
        *words,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            yield Figure(*json.loads(line))
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}; it needs root or user namespaces, and nftables")


def tell(figure: str, value: float, unit: str) -> None:
    """For who reads in the namespace above."""
    print(json.dumps(Figure(figure, value, unit)), flush=True)


def ip(*lines: str) -> None:
    """Has ``ip`` do each of these."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, env={**os.environ, "PATH": path}
    )
