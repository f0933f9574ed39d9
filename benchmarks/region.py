"""A region to measure: ``pierhead up`` in a process of its own, with a data directory that goes with it."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PIERHEAD = Path(sys.executable).with_name("pierhead")


class Region:
    """A running ``pierhead up``: where it is, and its API for what a benchmark prepares."""

    def __init__(self, process: subprocess.Popen[str], directory: Path, port: int) -> None:
        self.process = process
        self.directory = directory
        self.port = port
        self.ca = directory / "pki" / "ca.crt"
        found = re.search(r"token: (\S+)", (directory / "kubeconfig").read_text())
        assert found, "the kubeconfig has no token"
        self.token = found[1]
        self._context = ssl.create_default_context(cafile=self.ca)

    def open(self, method: str, path: str, body: object = None) -> Any:
        """The open answer to one request, as urllib gives it."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        return urllib.request.urlopen(request, context=self._context, timeout=60)

    def call(self, method: str, path: str, body: object = None) -> Any:
        with self.open(method, path, body) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        """The sum of one metric's samples on ``/metrics``."""
        with self.open("GET", "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(directory: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    """``pierhead up``, not yet ready. For root as for others in mode loopback: no benchmark makes links on the machine."""
    command = [str(PIERHEAD), "up", "--data-dir", str(directory), "--listen", f"127.0.0.1:{port}"]
    return subprocess.Popen([*command, "--network", "loopback", *arguments], stdout=subprocess.PIPE, text=True)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


@contextmanager
def running(*arguments: str) -> Iterator[Region]:
    """A region that is ready, and gone after the block."""
    with tempfile.TemporaryDirectory(prefix="pierhead-bench-") as directory:
        port = free_port()
        process = start(Path(directory), port, *arguments)
        try:
            yield ready(process, Path(directory), port)
        finally:
            stop(process)


def ready(process: subprocess.Popen[str], directory: Path, port: int) -> Region:
    """Waits until it is."""
    assert process.stdout is not None
    if not any(line.startswith("export KUBECONFIG=") for line in iter(process.stdout.readline, "")):
        raise RuntimeError("pierhead up did not get ready")
    return Region(process, directory, port)
