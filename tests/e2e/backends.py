"""Real pods and real clients for end-to-end tests."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from running import Region

Found = TypeVar("Found")

BACKEND = """
import os, signal, socket, sys, threading
where = (os.environ["POD_IP"], int(sys.argv[1]))
name = os.environ["POD_NAME"]
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0.3, stopping.set).start())
def tcp():
    listener = socket.create_server(where, backlog=64)
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
def serve(peer):
    with peer:
        while data := peer.recv(4096):
            peer.sendall(f"{name} {where[1]} ".encode() + data)
def udp():
    box = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    box.bind(where)
    while True:
        data, peer = box.recvfrom(4096)
        box.sendto(f"{name} {where[1]} ".encode() + data, peer)
for work in (tcp, udp):
    threading.Thread(target=work, daemon=True).start()
stopping.wait()
"""
"""Answers over TCP and UDP with its pod's name and its port, then what it was sent. Serves for a moment after SIGTERM."""

PATIENCE = 20.0
"""Seconds until something that should happen is taken not to; generous, because the machine may be busy."""


def eventually(check: Callable[[], Found | None], what: str) -> Found:
    """The first true answer of ``check``.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"not in {PATIENCE:.0f} s: {what}"
        time.sleep(0.02)  # the thing watched is another process's socket: nothing to wait on


def pod(name: str, port: int, labels: dict[str, str], *, port_name: str = "", **spec: Any) -> dict[str, Any]:
    """A pod that runs BACKEND on ``port``, ready when it accepts connections."""
    container = {
        "name": "backend",
        "image": "host",
        "command": ["python3", "-c", BACKEND, str(port)],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"containerPort": port} | ({"name": port_name} if port_name else {})],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    spec = {"terminationGracePeriodSeconds": 3, "containers": [container]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def service(
    name: str, ports: Sequence[dict[str, Any]], selector: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    spec = {"ports": list(ports)} | ({"selector": selector} if selector else {}) | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@dataclass
class Namespace:
    """A namespace of a running region, and what a test does in it."""

    region: Region
    name: str

    def call(self, method: str, path: str, body: Any = None, *, media: str = "application/json") -> tuple[int, Any]:
        return self.region.call(method, f"/api/v1/namespaces/{self.name}/{path}", body, media=media)

    def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        status, found = self.call("POST", plural, body)
        assert status == 201, found
        return dict(found)

    def get(self, path: str) -> dict[str, Any]:
        status, found = self.call("GET", path)
        assert status == 200, found
        return dict(found)

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, found = self.call("PATCH", path, body, media="application/merge-patch+json")
        assert status == 200, found
        return dict(found)

    def delete(self, path: str) -> None:
        assert self.call("DELETE", path)[0] == 200

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self.region.kubectl("-n", self.name, *arguments, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> str:
        return self.kubectl("apply", "-f", "-", stdin="\n".join(json.dumps(found) for found in objects))

    def endpoints(self, name: str) -> set[tuple[str, int]]:
        """The ready addresses of the Endpoints object of that name; empty while there is none."""
        status, found = self.call("GET", f"endpoints/{name}")
        subsets = found.get("subsets") or [] if status == 200 else []
        return {
            (address["ip"], port["port"])
            for subset in subsets
            for address in subset.get("addresses") or []
            for port in subset.get("ports") or []
        }

    def wait_endpoints(self, name: str, number: int) -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = set()

        def enough() -> bool:
            nonlocal found
            found = self.endpoints(name)
            return len(found) == number

        eventually(enough, f"{number} endpoints of {name}, but {found}")
        return found

    def ingress(self, name: str) -> list[str]:
        """The addresses that a Service says it is reached at from outside."""
        entries = self.get(f"services/{name}")["status"]["loadBalancer"].get("ingress") or []
        return [str(entry["ip"]) for entry in entries]

    def cluster_ip(self, name: str) -> str:
        return str(self.get(f"services/{name}")["spec"]["clusterIP"])


def ask(address: str, port: int, question: str = "hi") -> str:
    """Over a new TCP connection: what the backend answers.

    Raises:
        OSError: nobody does.
    """
    with socket.create_connection((address, port), timeout=5) as client:
        client.sendall(question.encode())
        return client.recv(4096).decode()


def ask_udp(address: str, port: int, question: str = "hi") -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((address, port))
        client.send(question.encode())
        return client.recv(4096).decode()


def answers(address: str, port: int) -> str:
    """What a backend answers, or nothing while none does."""
    try:
        return ask(address, port)
    except OSError:
        return ""


@contextmanager
def asking(address: str, port: int) -> Iterator[Counter[tuple[str, str]]]:
    """A client that knows one address and asks it again and again, beside the test: who answered how often, as (pod, port). What
    went wrong counts as ("failed", why)."""
    seen: Counter[tuple[str, str]] = Counter()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                pod, number, _ = ask(address, port).split()
                seen[pod, number] += 1
            except (OSError, ValueError) as error:
                seen["failed", str(error)] += 1

    thread = threading.Thread(target=client)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def spread(address: str, port: int, number: int) -> Counter[str]:
    """Which pod answered how many of so many new connections."""
    return Counter(ask(address, port).split()[0] for _ in range(number))
