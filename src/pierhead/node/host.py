"""``Host``: what the pods of a node share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pierhead.api.network import Network
from pierhead.api.views import Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Informer
from pierhead.node.podnetwork import PodNetwork
from pierhead.node.probes import Prober
from pierhead.node.runtime import Runtime

NOBODY = 65534


class Host(msgspec.Struct, frozen=True):
    """One node, as its pods see it."""

    name: str
    network: Network
    client: Client
    recorder: Recorder
    services: Informer[Service]
    runtime: Runtime
    prober: Prober
    pods: PodNetwork
    directory: Path
    """Logs of pods are kept below it."""
    root_pods: bool
    """Whether a pod may choose its account where the agent is root."""
    now: Callable[[], float]


def clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump: a back-off of ten seconds takes ten seconds, whoever sets the clock meanwhile."""
    loop = asyncio.get_running_loop()
    offset = time.time() - loop.time()
    return lambda: offset + loop.time()


def is_root(accounts: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether this process may change to another account. Root of a user namespace that has no other one may not: pods run as it."""
    return os.geteuid() == 0 and any(_holds(line, NOBODY) for line in accounts.read_text().splitlines())


def _holds(line: str, user: int) -> bool:
    """A line of first number inside, first number outside and how many there are."""
    first, _, count = map(int, line.split())
    return first <= user < first + count
