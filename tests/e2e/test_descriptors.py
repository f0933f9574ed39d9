"""A proxy needs two descriptors a connection: ``up`` takes what it may have, and its pods keep what they would have had."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

from e2e.backends import eventually
from running import PIERHEAD, ranges, running

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
