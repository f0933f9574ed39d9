"""The first Service of the documentation asks for port 80: who may have it, who may not, and what helps."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.backends import eventually, pod
from netns import ORDINARY, network_namespace
from running import PIERHEAD, ROOT, Region, running

LINE = "sysctl net.ipv4.ip_unprivileged_port_start=80"
SAID = "jsonpath={.status.conditions[?(@.type=='Programmed')].message}"
ASK = 'exec 3<>"/dev/tcp/$0/80" && echo hi >&3 && head -c 12 <&3'


@contextmanager
def seed(data_dir: Path, enter: Sequence[str], command: Sequence[str]) -> Iterator[Region]:
    """A region with the seed's Service and two pods of its app."""
    with running(data_dir, "--network", "loopback", command=[*command, str(PIERHEAD)], enter=enter) as region:
        region.kubectl("apply", "-f", str(ROOT / "examples" / "my-service.yaml"))
        pods = "\n".join(json.dumps(pod(name, 9376, {"app": "MyApp"})) for name in ("pod-a", "pod-b"))
        region.kubectl("apply", "-f", "-", stdin=pods)
        region.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
        yield region


def answered(region: Region) -> str:
    """What one of the pods says at port 80 of the Service; nothing while nobody does."""
    address = region.kubectl("get", "service", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    command = [*region.enter, "bash", "-c", ASK, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout


def why_not(region: Region) -> str:
    """The Event that says why the proxy does not serve the Service."""
    fields = "--field-selector=reason=PortNotPermitted,involvedObject.name=my-service"
    return region.kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}")


def test_an_ordinary_user_is_told_the_line_that_allows_port_80_and_it_does(tmp_path: Path) -> None:
    with network_namespace(mapped=True) as enter, seed(tmp_path / "d", enter, ORDINARY) as region:
        assert any(line.endswith(f"below 1024 need: {LINE}") for line in region.lines)
        assert eventually(lambda: why_not(region), "an Event").endswith(f":80 needs root, or: {LINE}")
        assert answered(region) == ""
        wait = ("wait", "--for=condition=Programmed", "service/my-service")
        assert "condition not met" in region.kubectl_result(*wait, "--timeout=0").stderr
        assert f"needs root, or: {LINE}" in region.kubectl("get", "service", "my-service", "-o", SAID)
        subprocess.run([*enter, *LINE.split()], env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}, check=True)
        region.kubectl(*wait, "--timeout=20s")
        assert answered(region).split()[1] == "9376"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another account")
def test_root_has_port_80(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, seed(tmp_path / "d", enter, ()) as region:
        assert not any("sysctl" in line for line in region.lines)
        assert eventually(lambda: answered(region), "an answer at port 80").split()[1] == "9376"
        assert why_not(region) == ""
