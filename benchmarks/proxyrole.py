"""``python -m benchmarks.proxyrole DIRECTORY``: a proxy alone in its process, over lists that were written to files.

Prints one JSON object once its table is programmed. The data plane is the kernel's, in the network namespace of this process.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.tables import GROUND, HERE, PLACE
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informers import Informers
from pierhead.client.transport import Response, Stream
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.nftables import Nftables
from pierhead.dataplane.proxier import Proxier
from pierhead.dataplane.ruleset_watch import RulesetWatch
from pierhead.forwarding.diff import Change
from pierhead.forwarding.table import Refusal
from pierhead.wire.netlink import Protocol


class Prepared:
    """A `Transport`: answers each list with a file, each write with nothing, and each watch never."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        name = target.rpartition("/")[2]
        return Response(200, {}, (self._directory / name).read_bytes() if method == "GET" else b"{}")

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        yield Stream(200, {}, _silence())

    async def close(self) -> None:
        """Nothing is held."""


async def _silence() -> AsyncIterator[bytes]:
    await asyncio.get_running_loop().create_future()
    yield b""


class Noted(Nftables):
    """Says when its first commit is done."""

    programmed: asyncio.Future[float]

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        found = await super().commit(changes)
        if not self.programmed.done():
            self.programmed.set_result(time.monotonic())
        return found


async def run(directory: Path) -> dict[str, float]:
    """Seconds by the monotonic clock, and MiB."""
    client = Client(Prepared(directory))
    informers = Informers(client)
    dataplane = Noted([GROUND], Netlink.open(Protocol.NETFILTER), RulesetWatch.open())
    dataplane.programmed = asyncio.get_running_loop().create_future()
    proxier = Proxier(client, informers, dataplane, PLACE, name=HERE, store="", recorder=Recorder(client, "", HERE))
    following = asyncio.create_task(informers.run())
    await informers.synced()
    synced, used = time.monotonic(), time.process_time()
    programming = asyncio.create_task(proxier.run())
    programmed = await dataplane.programmed
    whole = time.process_time()
    used = whole - used
    for task in (programming, following):
        task.cancel()
    await asyncio.gather(programming, following, return_exceptions=True)
    found = {"synced": synced, "programmed": programmed, "processor": used, "whole": whole}
    return found | {"rss": _memory("RSS"), "peak": _memory("HWM")}


def _memory(what: str) -> float:
    found = re.search(rf"Vm{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1])))))
