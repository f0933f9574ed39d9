"""``kill -9`` in the middle of binding: what was acknowledged is there with its claims, and no claim is held by nobody."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import signal
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from floating import FIPS, MERGE, POOLS, SERVICES, balanced, check, claims, fip, ingress, pool
from pierhead.api import Tree
from pierhead.api.codec import stamp
from pierhead.core.floating import FLOATING_CLAIM, FRONTEND_CLAIM
from pierhead.store.sqlite import SqliteStore
from running import Region, start

KILLS = 8
CLIENTS = 8
WRITES = 60
"""Acknowledged ones between two kills, on average."""


@dataclass
class Client:
    """Takes addresses, binds Services to them, moves them and lets them go, until the region is gone."""

    number: int
    chance: random.Random
    owned: set[str] = field(default_factory=set)
    """FloatingIPs whose last acknowledged write left them there."""
    bound: set[str] = field(default_factory=set)
    """Services likewise, bound to the address of the FloatingIP of the same name."""
    unsure: set[str] = field(default_factory=set)
    """Names of which a write was under way when the region ended."""
    made: int = 0

    def run(self, region: Region, life: Life) -> None:
        context = ssl.create_default_context(cafile=region.ca)
        port = int(region.url.rsplit(":", 1)[1])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {region.token}"}

        def call(method: str, path: str, body: Tree | None = None) -> Any:
            media = MERGE if method == "PATCH" else {"content-type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers | media)
            answer = connection.getresponse()
            read = json.loads(answer.read())
            assert answer.status in (200, 201), read
            life.acknowledge(region)
            return read

        try:
            while True:
                self.step(call)
        except (OSError, http.client.HTTPException):
            assert region.process.wait(timeout=10) == -signal.SIGKILL
        finally:
            connection.close()

    def step(self, call: Any) -> None:
        if self.bound and self.chance.random() < 0.5:
            name = self.chance.choice(sorted(self.bound))
            self.unsure.add(name)
            call("PATCH", f"{SERVICES}/{name}", {"spec": {"ports": [{"port": 81}]}})
            call("PATCH", f"{SERVICES}/{name}", {"spec": {"type": "ClusterIP"}, "metadata": {"finalizers": None}})
            call("DELETE", f"{SERVICES}/{name}")
            self.bound.discard(name)
            call("DELETE", f"{FIPS}/{name}")
            self.owned.discard(name)
        else:
            self.made += 1
            name = f"c{self.number}-{self.made}"
            self.unsure.add(name)
            ip = call("POST", FIPS, fip(name, pool="crash"))["status"]["address"]
            self.owned.add(name)
            call("POST", SERVICES, balanced(name, self.chance.choice([name, ip]), 80, 443))
            call("PATCH", f"{SERVICES}/{name}/status", ingress(ip))
            self.bound.add(name)
        self.unsure.discard(name)


@dataclass
class Life:
    """Of one region, which is killed when so many writes are acknowledged."""

    left: int

    def acknowledge(self, region: Region) -> None:
        self.left -= 1
        if self.left == 0:
            region.process.kill()


async def examine(directory: Path, clients: list[Client]) -> None:
    """Looks at what is on the disk."""
    store = await SqliteStore.open(directory, stamp)
    try:
        check(store)
        holders = Counter(claims(store, FLOATING_CLAIM).values())
        frontends = Counter(claims(store, FRONTEND_CLAIM).values())
        for client in clients:
            for name in client.owned - client.unsure:
                assert holders[f"floatingips.pierhead.dev/{name}"] == 1
            for name in client.bound - client.unsure:
                assert frontends[f"services/default/{name}"] == 2
            client.owned, client.bound, client.unsure = set(), set(), set()
    finally:
        await store.close()


@pytest.mark.timeout(300)
def test_no_claim_leaks_and_none_is_lost(tmp_path: Path) -> None:
    chance = random.Random(9)
    clients = [Client(number, random.Random(number)) for number in range(CLIENTS)]
    for kill in range(KILLS):
        region = start(tmp_path, "--network", "none")
        try:
            if not kill:
                assert region.call("POST", POOLS, pool("192.0.2.0/24", "198.51.100.0/24", name="crash"))[0] == 201
            life = Life(chance.randint(WRITES // 2, WRITES * 3 // 2))
            with ThreadPoolExecutor(CLIENTS) as threads:
                for running in [threads.submit(client.run, region, life) for client in clients]:
                    running.result()
        finally:
            region.stop()
        asyncio.run(examine(tmp_path, clients))
