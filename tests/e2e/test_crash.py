"""``kill -9`` of the whole region at any moment: what was acknowledged is there, once, and no process of a pod is left or doubled."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import ssl
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from e2e.backends import eventually
from running import Region, ranges, start

CREATES = 1000
KILLS = 20
CLIENTS = 8
PODS = ("one", "two", "three")
FAMILY = "sleep 100000 & (sleep 100000 & wait) & wait"
"""A shell with a child and a grandchild, which outlive the shell's own end."""
MEMBERS = 4
SERVICES = "/api/v1/namespaces/default/services"


def service(number: int) -> dict[str, Any]:
    """Every tenth also claims a node port."""
    spec = {"type": "ClusterIP" if number % 10 else "NodePort", "ports": [{"port": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"service-{number}"}, "spec": spec}


def pod(name: str, mark: str) -> dict[str, Any]:
    environment = [{"name": "CRASH_MARK", "value": mark}, {"name": "CRASH_POD", "value": name}]
    container = {"name": "family", "image": "host", "command": ["sh", "-c", FAMILY], "env": environment}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def members(mark: str) -> Iterator[tuple[int, str]]:
    """The living processes of our pods: their ids, and their pod's name."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            words = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if f"CRASH_MARK={mark}" in words:
            yield int(process.name), next(word[10:] for word in words if word.startswith("CRASH_POD="))


@dataclass
class Ledger:
    """What clients were told, and when the next kill is due."""

    kills: list[int]
    """Numbers of acknowledged writes, ascending."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Acknowledged Services by name, as they were answered."""
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int:
        with self.lock:
            self.asked += 1
            return self.asked

    def acknowledge(self, made: dict[str, Any], region: Region) -> None:
        with self.lock:
            self.told[made["metadata"]["name"]] = made
            if self.kills and len(self.told) == self.kills[0]:
                self.kills.pop(0)
                region.process.kill()

    def done(self) -> bool:
        return len(self.told) >= CREATES


def client(region: Region, ledger: Ledger) -> None:
    """Creates Services one after the other until there are enough or the region is gone."""
    context = ssl.create_default_context(cafile=region.ca)
    port = int(region.url.rsplit(":", 1)[1])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    headers = {"Authorization": f"Bearer {region.token}", "Content-Type": "application/json"}
    try:
        while not ledger.done():
            connection.request("POST", SERVICES, json.dumps(service(ledger.next_number())), headers)
            answer = connection.getresponse()
            made = json.loads(answer.read())
            assert answer.status == 201, made
            ledger.acknowledge(made, region)
    except (OSError, http.client.HTTPException):
        assert region.process.wait(timeout=10) == -signal.SIGKILL
    finally:
        connection.close()


def write_until_killed(region: Region, ledger: Ledger) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        for writing in [pool.submit(client, region, ledger) for _ in range(CLIENTS)]:
            writing.result()


def check_services(region: Region, ledger: Ledger) -> None:
    status, found = region.call("GET", SERVICES)
    assert status == 200, found
    there = {each["metadata"]["name"]: each for each in found["items"]}
    for name, made in ledger.told.items():
        assert there[name]["metadata"]["uid"] == made["metadata"]["uid"]
        assert there[name]["spec"] == made["spec"]
    addresses = Counter(each["spec"]["clusterIP"] for each in there.values())
    ports = Counter(port["nodePort"] for each in there.values() for port in each["spec"]["ports"] if "nodePort" in port)
    assert [value for value, times in (addresses + ports).items() if times > 1] == []


def whole_families(mark: str) -> bool:
    return Counter(name for _, name in members(mark)) == dict.fromkeys(PODS, MEMBERS)


def ready(condition: dict[str, Any]) -> bool:
    return (condition["type"], condition["status"]) == ("Ready", "True")


def all_ready(region: Region) -> bool:
    _, found = region.call("GET", "/api/v1/namespaces/default/pods")
    conditions = [each for one in found["items"] for each in one["status"].get("conditions") or []]
    return sum(map(ready, conditions)) == len(PODS)


def check_pods(region: Region, mark: str) -> None:
    eventually(lambda: all_ready(region) and whole_families(mark), "each pod running once, whole")


def end(mark: str) -> None:
    for process, _ in members(mark):
        os.kill(process, signal.SIGKILL)


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(tmp_path: Path) -> None:
    chance = random.Random(8)
    share = CREATES // KILLS  # what is answered while a kill is on its way must not reach the next one
    ledger = Ledger([share * life + chance.randint(1, share - CLIENTS) for life in range(KILLS)])
    mark = uuid.uuid4().hex
    arguments = ("--network", "loopback", *ranges(os.environ.get("PYTEST_XDIST_WORKER", "master"), part=70))
    region = start(tmp_path, *arguments)
    try:
        for name in PODS:
            assert region.call("POST", "/api/v1/namespaces/default/pods", pod(name, mark))[0] == 201
        check_pods(region, mark)
        for _ in range(KILLS):
            write_until_killed(region, ledger)
            region.stop()
            region = start(tmp_path, *arguments)
            check_services(region, ledger)
            check_pods(region, mark)
        write_until_killed(region, ledger)
        check_services(region, ledger)
        assert (len(ledger.told) >= CREATES, ledger.kills) == (True, [])
        assert region.stop() == 0
        assert list(members(mark)) == []
    finally:
        region.stop()
        end(mark)
