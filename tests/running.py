"""A region of its own for a test: the real command in a process of its own, on a free port, in a fresh data directory."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.region import tenure

ROOT = Path(__file__).parents[1]
PIERHEAD = Path(sys.executable).with_name("pierhead")
START_LIMIT = 20.0
"""Seconds; generous, because the machine may be busy with other tests."""


@dataclass
class Region:
    """A running ``pierhead up``."""

    process: subprocess.Popen[str]
    data_dir: Path
    lines: list[str]
    """What it printed up to and including the last ``export``."""
    enter: Sequence[str] = ()
    """What goes before a command that is to reach it, when it is in a network namespace of its own."""

    @property
    def url(self) -> str:
        return next(line.split()[1] for line in self.lines if line.startswith("API "))

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    @property
    def ca(self) -> Path:
        return self.data_dir / "pki" / "ca.crt"

    @property
    def token(self) -> str:
        found = re.search(r"token: (\S+)", self.kubeconfig.read_text())
        assert found
        return found[1]

    def call(self, method: str, path: str, body: Any = None, *, media: str = "application/json") -> tuple[int, Any]:
        """One request as the administrator: the status and the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": media}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:
                return response.status, _decoded(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True, timeout: float = 60) -> str:
        """kubectl's standard output."""
        done = self.kubectl_result(*arguments, stdin=stdin, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def kubectl_result(self, *arguments: str, stdin: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.data_dir)}
        return subprocess.run(
            [*self.enter, "kubectl", *arguments],
            env=environment, input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the region; its exit code. One that does not end is killed, so that it harms no other test."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout:
                self.process.stdout.close()


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


def start(
    data_dir: Path, *arguments: str, command: Sequence[str] = (str(PIERHEAD),), enter: Sequence[str] = ()
) -> Region:
    """Starts ``pierhead up`` and waits until it has said that it is ready."""
    process = subprocess.Popen(
        [*enter, *command, "up", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
    )  # fmt: skip
    region = Region(process, data_dir, list(_until_ready(process)), enter)
    if not any(line.startswith("export KUBECONFIG=") for line in region.lines):
        region.stop()
        raise AssertionError("up did not get ready:\n" + "\n".join(region.lines))
    return region


def _until_ready(process: subprocess.Popen[str]) -> Iterator[str]:
    """Lines as they come, up to the last of the greeting. Read from the descriptor: a buffered line hides from select()."""
    assert process.stdout
    deadline = time.monotonic() + START_LIMIT
    rest = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([process.stdout], [], [], left)[0]:
        chunk = os.read(process.stdout.fileno(), 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
        if not chunk or any(line.startswith(b"export KUBECONFIG=") for line in lines):
            return


@contextmanager
def running(
    data_dir: Path, *arguments: str, command: Sequence[str] = (str(PIERHEAD),), enter: Sequence[str] = ()
) -> Iterator[Region]:
    """A region that ends with the block."""
    region = start(data_dir, *arguments, command=command, enter=enter)
    try:
        yield region
    finally:
        region.stop()


def usable_by_pods() -> bool:
    """As root, pods run as nobody: whether that account can use this checkout and its interpreter, as the README asks."""
    if os.geteuid():
        return True
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    look = f"cd {ROOT} && {PIERHEAD.with_name('python3')} -c 'import PIL'"
    return subprocess.run([*nobody, "sh", "-c", look], capture_output=True, check=False).returncode == 0


@cache
def ranges(worker: str, *, part: int = 0) -> Sequence[str]:
    """Service, pod and floating ranges of a test worker's own: several regions of loopback mode share one 127.0.0.0/8. ``part``
    keeps a region of a single test apart from the one its worker shares. Where somebody's region has them, others."""
    number = part + (int(worker.removeprefix("gw")) if worker != "master" else 9)
    every = [tenure.part(first + number) for first in (100, 5, 16)]
    return next(filter(_free, every), every[0]).options


def _free(part: tenure.Part) -> bool:
    try:
        with tenure.held(Network("loopback", (part.services,), (part.pods,), floating_ranges=(part.floating,))):
            return True
    except UsageError:
        return False
