"""The compiled traffic: runs ``traffic.c``."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import msgspec

from benchmarks.compiled import compiled

Kind: TypeAlias = Literal["new", "kept", "udp", "connect"]
LONG = 60.0
"""Seconds after which an ask ends that nobody ended."""


class Traffic(msgspec.Struct):
    """What ``traffic ask`` reports."""

    done: int
    failures: int
    seconds: float
    p50: float
    """Microseconds, as ``p99`` and ``longest``."""
    p99: float
    longest: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds


@contextmanager
def serving(address: str, port: int, enter: Sequence[str] = ()) -> Iterator[None]:
    """Somebody answers there. ``enter``: what to put before a command to run it in the right namespace."""
    command = [*enter, str(compiled("traffic")), "serve", address, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != b"serving\n":
                raise RuntimeError(f"nobody could listen at {address}:{port}")
            yield
        finally:
            process.kill()


def ask(
    kind: Kind, address: str, port: int, *, seconds: float, enter: Sequence[str] = (), clients: int = 32
) -> Traffic:
    """What traffic of this kind there can be."""
    done = subprocess.run(_asking(kind, address, port, seconds, clients, enter), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Traffic)


@contextmanager
def going(
    kind: Kind, address: str, port: int, *, pause: int, clients: int = 1, least: int = 0, seconds: float = LONG
) -> Iterator[Callable[[], Traffic]]:
    """Traffic from here on, with ``pause`` microseconds each time that clients were served, until what this gives is called and
    ``least`` requests are answered."""
    command = [*_asking(kind, address, port, seconds, clients, ()), "-p", str(pause), "-n", str(least)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:

        def ended() -> Traffic:
            process.terminate()
            return msgspec.json.decode(process.communicate(timeout=seconds)[0], type=Traffic)

        try:
            yield ended
        finally:
            process.kill()


def _asking(kind: Kind, address: str, port: int, seconds: float, clients: int, enter: Sequence[str]) -> list[str]:
    options = ["-c", str(clients), "-s", str(seconds)]
    return [*enter, str(compiled("traffic")), "ask", kind, *options, address, str(port)]
