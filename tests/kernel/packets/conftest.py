"""One recorded network for all scenarios of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kernel.packets.servers import Servers, listeners
from kernel.packets.topology import Topology, topology
from namespaces import NO_NAMESPACE, NO_NFTABLES, allowed, has_nftables, namespace_of_its_own


@dataclass(frozen=True)
class Recorded:
    network: Topology
    runner: asyncio.Runner
    """Its loop serves while it runs something."""


@pytest.fixture(scope="session")
def recorded() -> Iterator[Recorded]:
    mapped = not allowed(mapped=False)
    if mapped and not allowed(mapped=True):
        pytest.skip(NO_NAMESPACE)
    if not has_nftables(mapped=mapped):
        pytest.skip(NO_NFTABLES)
    with namespace_of_its_own(mapped=mapped) as node, topology(node) as network, asyncio.Runner() as runner:
        servers = Servers()
        runner.run(servers.start(network, listeners()))
        yield Recorded(network, runner)
        runner.run(servers.close())
