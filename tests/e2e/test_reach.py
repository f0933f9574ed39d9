"""Who reaches what: a network namespace plays the machine, another one a host beside it on a wire between the two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.backends import eventually, pod, service
from netns import ORDINARY, neighbour, network_namespace
from running import PIERHEAD, Region, running

MACHINE = "192.0.2.10"
APP = {"app": "MyApp"}
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as client:
        client.sendall(b"hi")
        print(client.recv(100).decode() or "nothing")
except OSError as error:
    print(type(error).__name__)
"""
ATTACK = (
    "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet && ip address flush dev lo"
    f" && ip route add 127.0.0.0/8 via {MACHINE} dev end"
)
"""A host that takes 127.0.0.0/8 for addresses of the machine, and sends there."""
CARELESS = "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
"""A machine that accepts loopback addresses from a wire, as nodes of Kubernetes have done."""


@dataclass
class Place:
    """The machine with a region on it, and the host beside it."""

    region: Region
    machine: Sequence[str]
    outside: Sequence[str]

    def ask(self, where: tuple[str, int], *, by: Sequence[str]) -> str:
        """What is answered there: a pod's words, ``nothing``, or the name of an error."""
        command = [*by, sys.executable, "-c", ASK, where[0], str(where[1])]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def ask_each(self, places: Sequence[tuple[str, int]], *, by: Sequence[str]) -> list[str]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda where: self.ask(where, by=by), places))

    def apply(self, *objects: object) -> None:
        self.region.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    def shown(self, path: str) -> str:
        """One field of the Service."""
        return self.region.kubectl("get", "service", "frontend", "-o", f"jsonpath={{{path}}}")

    def packets(self) -> int:
        """How many came in by the wire."""
        command = [*self.machine, "ip", "-json", "-stats", "link", "show", "wire"]
        (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return int(found["stats64"]["rx"]["packets"])


@contextmanager
def place(data_dir: Path, *, mapped: bool) -> Iterator[Place]:
    """With a Service ``frontend`` at port 8080 of the machine's own address."""
    options = ("--network", "loopback", "--floating-cidr", f"127.99.0.0/24,{MACHINE}/32")
    command = [*(ORDINARY if mapped else ()), str(PIERHEAD)]
    with (
        network_namespace(mapped=mapped) as machine,
        neighbour(machine) as outside,
        running(data_dir, *options, command=command, enter=machine) as region,
    ):
        found = Place(region, machine, outside)
        found.apply(pod("p", 9376, APP), floating(MACHINE), balanced("frontend", MACHINE))
        eventually(lambda: found.ask((MACHINE, 8080), by=machine).startswith("p 9376"), "an answer on the machine")
        yield found


def floating(address: str) -> object:
    return {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIP", "metadata": {"name": address}}


def balanced(name: str, address: str) -> object:
    return service(name, [{"port": 8080, "targetPort": 9376}], APP, type="LoadBalancer", loadBalancerIP=address)


@pytest.fixture(params=["ordinary user", pytest.param("root", marks=pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: another account"
))])  # fmt: skip
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path / "d", mapped=request.param == "ordinary user") as made:
        yield made


def test_a_floating_ip_on_the_machines_address_is_reached_from_outside_and_nothing_else_is(found: Place) -> None:
    """ClusterIP: Choosing this value makes the service only reachable from within the internal network. LoadBalancer: Exposes the
    service externally using a floating IP."""
    node_port, api = int(found.shown(".spec.ports[0].nodePort")), int(found.region.url.rpartition(":")[2])
    inside = [(found.shown(".spec.clusterIP"), 8080), ("127.0.0.1", node_port), ("127.64.0.1", 9376)]
    assert [answer.split()[0] for answer in found.ask_each(inside, by=found.machine)] == ["p"] * 3
    assert found.ask((MACHINE, 8080), by=found.outside).split() == ["p", "9376", "hi"]
    closed = [(MACHINE, port) for port in (api, node_port, 9376)]
    assert found.ask_each(closed, by=found.outside) == ["ConnectionRefusedError"] * 3
    subprocess.run([*found.outside, "sh", "-c", ATTACK], check=True)
    before = found.packets()
    assert found.ask_each([*inside, ("127.0.0.1", api)], by=found.outside) == ["TimeoutError"] * 4
    assert found.packets() >= before + 4, "the attack has to arrive, else this shows nothing"
    assert found.ask((MACHINE, 8080), by=found.outside).split()[0] == "p"


def test_what_is_for_the_machine_alone_stays_so_on_one_that_lets_strangers_through(found: Place) -> None:
    """Only reachable from within: by the proxy's own care, where the kernel was told not to."""
    inner = ("127.99.0.7", 8080)
    found.apply(floating(inner[0]), balanced("inner", inner[0]))
    eventually(lambda: found.ask(inner, by=found.machine).startswith("p "), "an answer on the machine")
    subprocess.run([*found.machine, "sh", "-c", CARELESS], check=True)
    subprocess.run([*found.outside, "sh", "-c", ATTACK], check=True)
    assert found.ask(inner, by=found.outside).split()[0] == "p", "the attack has to arrive"
    alone = [(found.shown(".spec.clusterIP"), 8080), ("127.0.0.1", int(found.shown(".spec.ports[0].nodePort")))]
    assert found.ask_each(alone, by=found.outside) == ["ConnectionResetError"] * 2
    assert [answer.split()[0] for answer in found.ask_each(alone, by=found.machine)] == ["p"] * 2
