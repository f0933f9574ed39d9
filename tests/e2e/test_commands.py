"""The command line: what it prints, and one clear line where it cannot go on."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.backends import eventually
from running import PIERHEAD, Region, ranges, running, start

OFFLINE = ("--network", "none")
KINDS = ("services", "endpoints")


def pierhead(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PIERHEAD), *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def test_the_greeting_is_a_contract(region: Region) -> None:
    assert re.fullmatch(r"ready in \d+\.\d\d s", next(line for line in region.lines if line.startswith("ready")))
    assert region.url.startswith("https://127.0.0.1:")
    assert region.lines[-2].startswith("export PATH=")
    assert region.lines[-1] == f"export KUBECONFIG={region.kubeconfig}"
    assert stat.S_IMODE(region.kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(region.data_dir.stat().st_mode) == 0o700


def test_kubeconfig_prints_what_up_wrote(region: Region) -> None:
    assert pierhead("kubeconfig", "--data-dir", str(region.data_dir)).stdout == region.kubeconfig.read_text()


def test_kubeconfig_without_a_region_says_how_to_start_one(tmp_path: Path) -> None:
    done = pierhead("kubeconfig", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "pierhead up" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_up_on_the_same_directory_says_so(region: Region) -> None:
    done = pierhead("up", "--data-dir", str(region.data_dir), "--listen", "127.0.0.1:0", *OFFLINE)
    assert done.returncode == 1
    assert str(region.data_dir) in done.stderr
    assert "Traceback" not in done.stderr
    assert region.call("GET", "/readyz") == (200, "ok")


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = pierhead("up", "--data-dir", str(tmp_path / "d"), "--listen", where, *OFFLINE)
    assert done.returncode == 1
    assert f"cannot listen on {where}" in done.stderr
    assert "--listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--listen", "6443", "HOST:PORT"),
        ("--service-cidr", "10.96.0.0/33", "--service-cidr"),
        ("--zone", "a b", "label"),
        ("--node-name", "Node_1", "name"),
    ],
)
def test_a_bad_option_is_one_clear_line(tmp_path: Path, option: str, value: str, text: str) -> None:
    done = pierhead("up", "--data-dir", str(tmp_path / "d"), option, value)
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_within_five_seconds(tmp_path: Path, number: signal.Signals) -> None:
    region = start(tmp_path / "d", *OFFLINE)
    began = time.monotonic()
    assert region.stop(number) == 0
    assert time.monotonic() - began < 5


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    body = {"metadata": {"name": "kept"}, "data": {"a": "1"}}
    with running(tmp_path / "d", *OFFLINE) as region:
        status, made = region.call("POST", "/api/v1/namespaces/default/configmaps", body)
        assert status == 201
    with running(tmp_path / "d", *OFFLINE) as region:
        assert region.call("GET", "/api/v1/namespaces/default/configmaps/kept") == (200, made)


def test_the_service_of_the_api_follows_it_to_another_port(tmp_path: Path) -> None:
    for _ in range(2):
        with running(tmp_path / "d", *OFFLINE) as region:
            eventually(lambda: api_service(region) == api_service_at(region.url), "the Service of the API")


def api_service(region: Region) -> tuple[Any, ...]:
    """The target port of the Service ``kubernetes``, and the subsets of its Endpoints."""
    service, endpoints = (region.call("GET", f"/api/v1/namespaces/default/{kind}/kubernetes")[1] for kind in KINDS)
    return service.get("spec", {}).get("ports", [{}])[0].get("targetPort"), endpoints.get("subsets")


def api_service_at(url: str) -> tuple[Any, ...]:
    host, _, port = url.removeprefix("https://").partition(":")
    ports = [{"name": "https", "port": int(port), "protocol": "TCP"}]
    return int(port), [{"addresses": [{"ip": host}], "ports": ports}]


def test_the_demo_tells_its_story() -> None:
    done = pierhead("demo", timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failures" in done.stdout
    assert "\x1b" not in done.stdout


def test_pods_end_with_their_region(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper"},
        "spec": {"containers": [{"name": "c", "image": "host", "command": ["sleep", "98765"]}]},
    }
    with running(tmp_path / "d", "--network", "loopback", *ranges("master", part=40)) as region:
        assert region.call("POST", "/api/v1/namespaces/default/pods", pod)[0] == 201
        region.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=20s")
    marks = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"sleep\x0098765" in mark for mark in marks)
