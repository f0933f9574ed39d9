"""The command line: what it prints, and one clear line where it cannot go on."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from e2e.backends import Namespace, eventually, service
from netns import network_namespace
from running import PIERHEAD, ROOT, Region, ranges, running, start

OFFLINE = ("--network", "none")
KINDS = ("services", "endpoints")


def pierhead(*arguments: str, timeout: float = 60, enter: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*enter, str(PIERHEAD), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture
def apart() -> Iterator[Sequence[str]]:
    """What to put before a command that makes links where it may: it has a network of its own then."""
    if os.geteuid():
        yield ()
        return
    with network_namespace(mapped=False) as enter:
        yield enter


def test_the_greeting_is_a_contract(region: Region) -> None:
    assert re.fullmatch(r"ready in \d+\.\d\d s", next(line for line in region.lines if line.startswith("ready")))
    assert region.url.startswith("https://127.0.0.1:")
    assert region.lines[-2].startswith("export PATH=")
    assert region.lines[-1] == f"export KUBECONFIG={region.kubeconfig}"
    assert stat.S_IMODE(region.kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(region.data_dir.stat().st_mode) == 0o700


def test_a_terminal_gets_colour_but_not_in_what_is_pasted(tmp_path: Path) -> None:
    terminal, end = os.openpty()
    command = [str(PIERHEAD), "up", "--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0", *OFFLINE]
    shown = ""
    with subprocess.Popen(command, stdout=end, stderr=end) as process, os.fdopen(terminal, "rb", buffering=0) as screen:
        os.close(end)
        while "export KUBECONFIG=" not in shown or not shown.endswith("\n"):
            shown += screen.read(4096).decode()
        process.terminate()
        assert process.wait(timeout=10) == 0
    *_, path, kubeconfig = shown.splitlines()
    assert shown.startswith("\x1b[")
    assert path.startswith("export PATH=")
    assert kubeconfig == f"export KUBECONFIG={tmp_path / 'd' / 'kubeconfig'}"


def test_kubeconfig_prints_what_up_wrote(region: Region) -> None:
    assert pierhead("kubeconfig", "--data-dir", str(region.data_dir)).stdout == region.kubeconfig.read_text()


def test_kubeconfig_without_a_region_says_how_to_start_one(tmp_path: Path) -> None:
    done = pierhead("kubeconfig", "--data-dir", str(tmp_path))
    first, second = done.stderr.splitlines()
    assert done.returncode == 1
    assert first == f"pierhead: no region has written {tmp_path}/kubeconfig"
    assert second == f"  start one with: pierhead up --data-dir {tmp_path}"


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
    assert f"cannot listen on {where}: Address already in use: process {os.getpid()} (" in done.stderr
    assert "--listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--listen", "6443", "HOST:PORT"),
        ("--service-cidr", "10.96.0.0/33", "--service-cidr"),
        ("--zone", "a b", "label"),
        ("--node-name", "Node_1", "a node's name"),
        ("--region", "EU", "a region's name"),
    ],
)
def test_a_bad_option_is_one_clear_line(tmp_path: Path, option: str, value: str, text: str) -> None:
    done = pierhead("up", "--data-dir", str(tmp_path / "d"), option, value)
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "text", "step"),
    [
        (("up", "--network", "host"), "--network host", "loopback"),
        (("up", "--data-dir", ""), "--data-dir names no directory", "--data-dir DIR"),
        (("up", "--network", "loopback", "--proxy-mode", "nftables"), "--proxy-mode nftables", "userspace"),
        (("up", "--colour"), "--colour", "pierhead up --help"),
        (("apply",), "apply", "pierhead --help"),
    ],
)
def test_what_is_not_there_is_one_line_and_the_next_step(arguments: tuple[str, ...], text: str, step: str) -> None:
    done = pierhead(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert text in first
    assert step in second


def test_alone_it_says_what_it_can_do() -> None:
    for arguments, commands in (((), {"up", "kubeconfig", "demo"}), (("fip",), {"create", "get", "delete"})):
        done = pierhead(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert commands <= set(done.stdout.split())
        assert done.stdout.count("Usage:") == 1


def test_a_checkout_says_what_its_script_can_do() -> None:
    said = subprocess.run([str(ROOT / "dev"), "help"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run([str(ROOT / "dev"), "foo"], capture_output=True, text=True, check=False)
    assert "./dev up" in said
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{said}dev: there is no command foo\n"


def test_server_and_node_are_of_one_version(region: Region) -> None:
    version = region.call("GET", "/version")[1]["gitVersion"]
    nodes = region.call("GET", "/api/v1/nodes")[1]["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {version}


def test_a_reader_who_has_read_enough_does_not_end_the_region(tmp_path: Path) -> None:
    command = [str(PIERHEAD), "up", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", *OFFLINE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.close()
        region = Region(process, tmp_path, [])

        def url() -> str:
            found = region.kubeconfig.read_text() if region.kubeconfig.exists() else ""
            return "".join(re.findall(r"server: (\S+)", found))

        region.lines.append(f"API {eventually(url, 'a kubeconfig')}")
        assert region.call("GET", "/readyz") == (200, "ok")
        process.terminate()
        assert process.communicate()[1] == ""
        assert process.returncode == 0


def test_output_that_finds_no_room_is_one_clear_line(tmp_path: Path) -> None:
    up = ("up", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", *OFFLINE)
    for arguments in (("completion", "bash"), up):
        command = [str(PIERHEAD), *arguments]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("pierhead: cannot write to standard output: No space left on device\n")
        assert len(done.stderr.splitlines()) == 2


def test_a_region_needs_none_of_the_streams_that_its_parent_has_closed(tmp_path: Path) -> None:
    """And opens no file of its own in their place, which a word to standard output would end up in."""
    line = 'exec "$@" <&- >&- 2>&-'
    command = [str(PIERHEAD), "up", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", *OFFLINE]
    with subprocess.Popen(["sh", "-c", line, "sh", *command]) as process:
        eventually((tmp_path / "kubeconfig").exists, "a kubeconfig")
        opened = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
        process.terminate()
        assert process.wait(timeout=10) == 0
    assert opened == [Path("/dev/null")] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_within_five_seconds(tmp_path: Path, number: signal.Signals) -> None:
    command = ["env", "--default-signal", str(PIERHEAD)]  # whoever runs the tests may ignore one of them, as nohup does
    region = start(tmp_path / "d", *OFFLINE, command=command)
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


def test_the_service_of_the_api_follows_the_range_and_those_of_users_hold_it(tmp_path: Path) -> None:
    def address(region: Region, name: str) -> str:
        found = region.call("GET", f"/api/v1/namespaces/default/services/{name}")[1]
        return str(found.get("spec", {}).get("clusterIP"))

    def in_range(block: str) -> tuple[str, ...]:
        return (*OFFLINE, "--service-cidr", block)

    with running(tmp_path / "d", *in_range("10.96.0.0/16")) as region:
        eventually(lambda: address(region, "kubernetes") == "10.96.0.1", "the first address of the range")
    with running(tmp_path / "d", *in_range("10.97.0.0/16")) as region:
        eventually(lambda: address(region, "kubernetes") == "10.97.0.1", "the first address of the other range")
        Namespace(region, "default").create("services", service("web", [{"port": 80}]))
        held = address(region, "web")
    done = pierhead("up", "--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0", *in_range("10.96.0.0/16"))
    first, second = done.stderr.splitlines()
    assert done.returncode == 1
    assert first.endswith(f"1 Service has a cluster IP outside 10.96.0.0/16: default/web ({held})")
    assert "--service-cidr" in second


def api_service(region: Region) -> tuple[Any, ...]:
    """The target port of the Service ``kubernetes``, and the subsets of its Endpoints."""
    service, endpoints = (region.call("GET", f"/api/v1/namespaces/default/{kind}/kubernetes")[1] for kind in KINDS)
    return service.get("spec", {}).get("ports", [{}])[0].get("targetPort"), endpoints.get("subsets")


def api_service_at(url: str) -> tuple[Any, ...]:
    host, _, port = url.removeprefix("https://").partition(":")
    ports = [{"name": "https", "port": int(port), "protocol": "TCP"}]
    return int(port), [{"addresses": [{"ip": host}], "ports": ports}]


def running_with(argument: str) -> list[str]:
    """The command lines of living processes that hold this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(path.read_bytes().decode(errors="replace"))
    return [line for line in found if argument in line]


def test_a_demo_that_is_told_to_end_takes_its_region_with_it(tmp_path: Path, apart: Sequence[str]) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*apart, str(PIERHEAD), "demo"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: list(tmp_path.glob("pierhead-demo-*/kubeconfig")), "a region")
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert running_with(str(tmp_path)) == []


def test_the_demo_tells_its_story(apart: Sequence[str]) -> None:
    done = pierhead("demo", timeout=100, enter=apart)
    assert done.returncode == 0, done.stdout + done.stderr
    _, served, bars = re.split(r"What the clients saw: (\d+) thumbnails, 0 failures", done.stdout)
    assert sum(map(int, re.findall(r"^ +thumbnails-\S+ +(\d+)", bars, re.MULTILINE))) == int(served)
    assert "\x1b" not in done.stdout


FAREWELL = """
import os, signal, socket, time
listener, peers = socket.create_server((os.environ["POD_IP"], 9376)), []
def end(*_):
    time.sleep(0.2)
    for peer in peers:
        peer.sendall(b"goodbye")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    peers.append(listener.accept()[0])
    peers[-1].sendall(b"hello")
"""


def test_a_pod_that_ends_with_its_region_may_finish_what_it_is_answering(tmp_path: Path) -> None:
    with running(tmp_path / "d", "--network", "loopback", *ranges("master", part=41)) as region:
        home = Namespace(region, "default")
        container = {"name": "c", "image": "host", "command": ["python3", "-c", FAREWELL]}
        labels = {"app": "farewell"}
        home.create("pods", {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [container]}})
        home.create("services", service("s", [{"port": 8080, "targetPort": 9376}], labels))

        def greeted() -> socket.socket | None:
            with suppress(OSError), ExitStack() as stack:
                found = stack.enter_context(socket.create_connection((home.cluster_ip("s"), 8080), timeout=10))
                if found.recv(100) == b"hello":
                    stack.pop_all()
                    return found
            return None

        with eventually(greeted, "a connection") as client:
            region.process.terminate()
            assert client.recv(100) == b"goodbye"


def test_pods_end_with_their_region(tmp_path: Path) -> None:
    mark = str(tmp_path)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper"},
        "spec": {"containers": [{"name": "c", "image": "host", "command": ["sh", "-c", "sleep 10000 & wait", mark]}]},
    }
    with running(tmp_path / "d", "--network", "loopback", *ranges("master", part=40)) as region:
        assert region.call("POST", "/api/v1/namespaces/default/pods", pod)[0] == 201
        region.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=20s")
    assert running_with(mark) == []
