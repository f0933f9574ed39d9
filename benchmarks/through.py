"""Traffic through a Service beside traffic without one. Promised: new connections and keep-alive requests at least 0.90 of "direct with
conntrack", UDP at least 0.85 of direct, connect p50 at most 1.15 of "direct with conntrack", at 10 and at 10,000 Services alike.

Client, node and pod are network namespaces of this machine and share its processors: a share is of the whole cost, not only of what
is added. Every round asks all ways, the next one in the reverse order; shares are taken within a round, and their median counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks import Figure
from benchmarks.namespaces import apart, tell
from benchmarks.traffic import Kind, Traffic
from benchmarks.ways import Way, direct, haproxy, has_haproxy, ours, userspace, with_conntrack

ROUNDS, ENOUGH = 20, 8
"""Many short ones: what else the machine does meets all ways alike."""
SECONDS: Mapping[Kind, float] = {"new": 0.15, "kept": 0.1, "udp": 0.1, "connect": 0.1}
RATES: Mapping[Kind, str] = {"new": "new connections", "kept": "keep-alive requests", "udp": "UDP requests"}
LEAST = 8_000
"""New connections a second of the direct way below which a machine is too busy to compare anything on."""
SETTLE = 0.1
"""Seconds in which a proxy may close what the last clients of another way have left it, before the next way is asked."""
PATIENCE = 100.0
"""Seconds after which no round is begun."""

DIRECT, TRACKED = "direct", "direct with conntrack"
WAYS: Mapping[str, Callable[[Path], AbstractContextManager[Way]]] = {
    DIRECT: direct,
    TRACKED: with_conntrack,
    "ours at 10 Services": partial(ours, services=10),
    "ours at 10,000 Services": partial(ours, services=10_000),
    "userspace": userspace,
    "HAProxy": haproxy,
}
Round: TypeAlias = Mapping[str, Mapping[Kind, Traffic]]


def run() -> Iterator[Figure]:
    return apart("benchmarks.through")


def measure(directory: Path) -> None:
    begun = time.monotonic()
    with ExitStack() as stack:
        if not has_haproxy():
            print("through: no program haproxy, so it is left out; Debian has it as haproxy", file=sys.stderr)
        ways = {
            name: stack.enter_context(way(directory / str(number)))
            for number, (name, way) in enumerate(WAYS.items())
            if name != "HAProxy" or has_haproxy()
        }
        for way in ways.values():
            way.ask("new", 0.05)
        rounds: list[Round] = []
        while len(rounds) < ROUNDS and time.monotonic() - begun < PATIENCE:
            rounds.append(one(ways, backwards=len(rounds) % 2 == 1))
    report([*ways], rounds)


def one(ways: Mapping[str, Way], *, backwards: bool) -> Round:
    names = [*reversed([*ways])] if backwards else [*ways]
    found: dict[str, Mapping[Kind, Traffic]] = {}
    for name in names:
        way = ways[name]
        time.sleep(SETTLE)
        found[name] = {kind: way.ask(kind, seconds) for kind, seconds in SECONDS.items() if kind != "udp" or way.udp}
    return found


def report(names: list[str], rounds: list[Round]) -> None:
    fastest = median(each[DIRECT]["new"].rate for each in rounds)
    tell("rounds", len(rounds), "1")
    tell(f"valid: direct reached {LEAST:,} new connections/s", int(fastest >= LEAST and len(rounds) >= ENOUGH), "1")
    for name in names:
        for kind, what in RATES.items():
            if kind in rounds[0][name]:
                rates(rounds, name, kind, what)
        connects = [each[name]["connect"] for each in rounds]
        tell(f"{name}: connect p50", round(median(found.p50 for found in connects), 1), "µs")
        tell(f"{name}: connect p99", round(median(found.p99 for found in connects), 1), "µs")
        for other in (DIRECT, TRACKED):
            share = median(each[name]["connect"].p50 / each[other]["connect"].p50 for each in rounds)
            tell(f"{name}: connect p50, share of {other}", round(share, 2), "1")
        failed = sum(found.failures for each in rounds for found in each[name].values())
        tell(f"{name}: failures", failed, "1")


def rates(rounds: list[Round], name: str, kind: Kind, what: str) -> None:
    tell(f"{name}: {what}", round(median(each[name][kind].rate for each in rounds)), "1/s")
    for other in (DIRECT, TRACKED):
        share = median(each[name][kind].rate / each[other][kind].rate for each in rounds)
        tell(f"{name}: {what}, share of {other}", round(share, 2), "1")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as found:
        measure(Path(found))
