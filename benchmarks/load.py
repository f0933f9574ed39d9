"""The compiled load: builds ``load.c`` and runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.compiled import compiled
from benchmarks.region import Region


class Load(msgspec.Struct):
    """What ``load ask`` reports."""

    answers: int
    """2xx only."""
    failures: int
    seconds: float
    p50: float
    """Milliseconds, as ``p99``."""
    p99: float
    bytes: int
    """Of the last answer, headers included."""

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def tool() -> Path:
    return compiled("load", "-lssl", "-lcrypto", "-lpthread")


def api(region: Region, method: str, path: str, *, requests: int, connections: int, body: object = None) -> Load:
    """Requests as the administrator over TLS. ``{n}`` in path and body is the number of the request."""
    options = ["-a", str(region.ca), "-t", region.token, "-c", str(connections), "-n", str(requests)]
    if body is not None:
        options += ["-b", json.dumps(body)]
    return _ask([*options, "127.0.0.1", str(region.port), method, path])


def fresh(address: str, port: int, *, requests: int, connections: int) -> Load:
    """Plain requests, each on a connection of its own."""
    return _ask(["-f", "-c", str(connections), "-n", str(requests), address, str(port), "GET", "/"])


def _ask(arguments: list[str]) -> Load:
    done = subprocess.run([tool(), "ask", *arguments], stdout=subprocess.PIPE, check=False)
    load = msgspec.json.decode(done.stdout, type=Load)
    if load.failures:
        raise RuntimeError(f"{load.failures} of {load.answers + load.failures} requests failed")
    return load


def first_answer(address: str, port: int) -> float:
    """Waits for the first good answer of a server; when it came, by CLOCK_MONOTONIC in seconds."""
    with asking(address, port) as answered:
        return answered()


@contextmanager
def asking(address: str, port: int) -> Iterator[Callable[[], float]]:
    """Asks a server from here on; what it gives waits for the first good answer, and says when that came."""
    with subprocess.Popen([tool(), "await", address, str(port)], stdout=subprocess.PIPE) as process:

        def answered() -> float:
            return float(process.communicate(timeout=30)[0])

        try:
            yield answered
        finally:
            process.kill()
