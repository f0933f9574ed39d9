"""Resident memory of ``up`` while the example runs. Promised: at most 100 MB after 10 s."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Figure
from benchmarks.load import fresh
from benchmarks.pods import NAMESPACE, is_ready
from benchmarks.region import Region, running

ROOT = Path(__file__).parents[1]
EXAMPLE = ("my-app.yaml", "my-service-8080.yaml")
SECONDS = 10
PATIENCE = 60.0


def run() -> Iterator[Figure]:
    with running("--network", "loopback") as region:
        kubeconfig = region.ca.parents[1] / "kubeconfig"
        for name in EXAMPLE:
            command = ["kubectl", "--kubeconfig", str(kubeconfig), "apply", "-f", str(ROOT / "examples" / name)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        await_pods(region, 3)
        address = region.call("GET", f"{NAMESPACE}/services/my-service")["spec"]["clusterIP"]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            fresh(address, 8080, requests=100, connections=4)
            time.sleep(0.5)
        status = Path(f"/proc/{region.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    yield Figure(f"RSS of up, example running for {SECONDS} s", round(int(found[1]) / 1024, 1), "MiB")


def await_pods(region: Region, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while sum(map(is_ready, region.call("GET", f"{NAMESPACE}/pods")["items"])) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the pods of the example did not get ready")
        time.sleep(0.1)
