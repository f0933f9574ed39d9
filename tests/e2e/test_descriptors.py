"""A proxy needs two descriptors a connection: ``up`` takes what it may have, and its pods keep what they would have had."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path

from e2e.backends import eventually, service
from running import PIERHEAD, Region, ranges, running

FEW = 256


def test_up_raises_its_limit_and_its_pods_keep_theirs(tmp_path: Path) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    network = ("--network", "loopback", *ranges(worker, part=30))
    container = {"name": "c", "image": "host", "command": ["sh", "-c", "ulimit -n; exec sleep 1000"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    with running(tmp_path / "d", *network, command=["prlimit", f"--nofile={FEW}:", str(PIERHEAD)]) as region:
        soft, hard = resource.prlimit(region.process.pid, resource.RLIMIT_NOFILE)
        assert FEW < soft == hard
        region.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        assert eventually(lambda: region.kubectl("logs", "p", check=False), "the pod's first line") == f"{FEW}\n"


def test_up_raises_its_limit_for_its_clients_where_it_carries_no_traffic(tmp_path: Path) -> None:
    with running(tmp_path / "d", "--network", "none", command=["prlimit", f"--nofile={FEW}:", str(PIERHEAD)]) as region:
        soft, hard = resource.prlimit(region.process.pid, resource.RLIMIT_NOFILE)
        assert FEW < soft == hard


def test_more_frontends_than_open_files_take_none_from_pods_and_api(tmp_path: Path) -> None:
    """The pod comes last, and with it all frontends open at once. What is beyond the limit says which one to ask for."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    network = ("--network", "loopback", *ranges(worker, part=31))
    ports = [{"name": name, "port": port, "targetPort": 8080} for name, port in (("a", 8001), ("b", 8002))]
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"name": "c", "image": "host", "command": ["sleep", "1000"], "readinessProbe": probe}
    meta = {"name": "p", "labels": {"app": "p"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
    with running(tmp_path / "d", *network, command=["prlimit", "--nofile=128:128", str(PIERHEAD)]) as region:
        for number in range(70):
            made = service(f"s-{number}", ports, {"app": "p"})
            assert region.call("POST", "/api/v1/namespaces/default/services", made)[0] == 201
        assert region.call("POST", "/api/v1/namespaces/default/pods", pod)[0] == 201
        region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
        found = eventually(lambda: _unprogrammed(region), "what has no room")
        assert "NoRoom" in found
        assert "ulimit -n 65536" in found
        begun = time.monotonic()
        region.process.send_signal(signal.SIGINT)
        assert region.process.stdout
        assert region.process.stdout.read() == ""
        assert time.monotonic() - begun < 5


def _unprogrammed(region: Region) -> str:
    """The conditions of Services that are not programmed."""
    services = region.call("GET", "/api/v1/namespaces/default/services")[1]["items"]
    conditions = (found for each in services for found in each["status"].get("conditions", ()))
    return "\n".join(f"{found['reason']}: {found['message']}" for found in conditions if found["status"] == "False")
