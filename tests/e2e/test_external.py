"""Things that already run: processes of the test's own, which no node started, registered and served like any pod."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from e2e.backends import BACKEND, Namespace, answers, ask, eventually, pod, service
from netns import ORDINARY, neighbour, network_namespace
from running import PIERHEAD, Region, ranges, running, start

HOST = f"127.71.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw99').removeprefix('gw'))}.1"
"""Another one for each worker."""
MACHINE, BESIDE = "192.0.2.10", "192.0.2.99"
CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as client:
    client.sendall(b"hi")
    print(client.recv(100).decode())
"""


@contextmanager
def outside(name: str, port: int = 0) -> Iterator[int]:
    """A process that answers with its name at HOST; its port."""
    if not port:
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
    environment = os.environ | {"POD_IP": HOST, "POD_NAME": name}
    with subprocess.Popen([sys.executable, "-c", BACKEND, str(port)], env=environment) as process:
        eventually(lambda: answers(HOST, port), f"{name} at {HOST}:{port}")
        try:
            yield port
        finally:
            process.kill()


def pierhead(region: Region, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KUBECONFIG": str(region.kubeconfig)}
    command = [str(PIERHEAD), *arguments]
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def said(home: Namespace, *arguments: str, stdin: str = "") -> list[str]:
    done = pierhead(home.region, *arguments, "-n", home.name, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def warned(home: Namespace, *arguments: str, stdin: str = "") -> list[str]:
    """It was done, and yet something is to be said."""
    done = pierhead(home.region, *arguments, "-n", home.name, stdin=stdin)
    assert done.returncode == 0
    assert done.stdout
    assert all(line.startswith("Warning: ") for line in done.stderr.splitlines())
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def refused(home: Namespace, *arguments: str, stdin: str = "") -> list[str]:
    done = pierhead(home.region, *arguments, "-n", home.name, stdin=stdin)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


def reason(home: Namespace, name: str) -> str:
    """Why a pod is not ready; empty when it is, or is not known yet."""
    conditions = home.get(f"pods/{name}")["status"].get("conditions") or []
    return next((str(each.get("reason", "")) for each in conditions if each["type"] == "Ready"), "")


def is_refused(home: Namespace, name: str) -> bool:
    return reason(home, name) == "InvalidAddress"


def answered_by(name: str, address: str, port: int = 9471) -> bool:
    return answers(address, port).startswith(f"{name} ")


def heard(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.startswith("theirs ")


def names(home: Namespace) -> set[str]:
    return {found["metadata"]["name"] for found in home.get("pods")["items"]}


def test_one_service_before_a_pod_of_ours_and_a_process_of_somebody_s(home: Namespace) -> None:
    with outside("theirs") as port:
        home.create("pods", pod("ours", 8471, {"app": "web"}, port_name="web"))
        assert said(home, "register", "theirs", "--ip", HOST, "--port", f"web={port}", "-l", "app=web") == [
            "pod/theirs registered"
        ]
        home.create("services", service("web", [{"port": 9471, "targetPort": "web"}], {"app": "web"}))
        assert (HOST, port) in home.wait_endpoints("web", 2)
        address = home.cluster_ip("web")
        for name in ("ours", "theirs"):
            eventually(partial(answered_by, name, address), f"an answer of {name}")
    home.wait_endpoints("web", 1)  # the process has ended, and nobody was told but by its probe
    assert ask(address, 9471).startswith("ours ")
    assert home.get("pods/theirs")["status"]["containerStatuses"][0]["restartCount"] == 0
    with outside("theirs again", port):
        home.wait_endpoints("web", 2)
        assert said(home, "unregister", "theirs") == ["pod/theirs unregistered"]
        home.wait_endpoints("web", 1)
        assert ask(HOST, port).startswith("theirs again ")


def test_its_log_is_elsewhere(home: Namespace) -> None:
    said(home, "register", "db", "--ip", HOST)
    eventually(lambda: home.get("pods/db")["status"]["phase"] == "Running", "db runs")
    done = home.region.kubectl_result("-n", home.name, "logs", "db")
    text = 'Error from server (BadRequest): pod "db" runs elsewhere (runtime class external): no node has its log'
    assert done.stderr.strip() == text


def test_an_address_no_service_may_lead_to_never_becomes_an_endpoint(home: Namespace) -> None:
    home.create("services", service("web", [{"port": 9472}], {"app": "web"}))
    api = home.region.url.rpartition(":")[2]
    given = ("-l", "app=web", "--probe", "none")
    assert warned(home, "register", "meta", "--ip", "169.254.169.254", "--port", "9472", *given) == [
        "pod/meta gets no traffic: 169.254.169.254 is a link-local, multicast or unspecified address"
    ]
    assert warned(home, "register", "api", "--ip", "127.0.0.1", "--port", api, *given) == [
        f"pod/api gets no traffic: 127.0.0.1:{api} is the API server"
    ]
    for name in ("meta", "api"):
        eventually(partial(is_refused, home, name), f"{name} is refused")
    assert home.endpoints("web") == set()
    told = home.kubectl("get", "events", "--field-selector", "involvedObject.name=meta")
    assert "169.254.169.254 is a link-local, multicast or unspecified address" in told


def test_a_registration_that_is_not_renewed_loses_its_endpoint(home: Namespace) -> None:
    home.create("services", service("log", [{"port": 9473, "protocol": "UDP"}], {"app": "log"}))
    given = ("register", "log", "--ip", HOST, "--port", "9473/udp", "-l", "app=log", "--ttl")
    assert said(home, *given, "2s") == ["pod/log registered"]
    home.wait_endpoints("log", 1)
    home.wait_endpoints("log", 0)
    assert reason(home, "log") == "RegistrationExpired"
    assert said(home, *given, "1h") == ["pod/log renewed"]
    home.wait_endpoints("log", 1)


def test_a_whole_file_or_nothing(home: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "machines.yaml"
    path.write_text(f"- name: a\n  ip: {HOST}\n- name: b\n  ip: nowhere\n")
    assert refused(home, "register", "-f", str(path)) == [
        f'pierhead: {path}, line 4: ip "nowhere" is not an IP address', "  nothing was registered",
    ]  # fmt: skip
    assert names(home) == set()
    path.write_text(f"- name: a\n  ip: {HOST}\n- name: b\n  ip: {HOST}\n")
    assert said(home, "register", "-f", str(path)) == ["pod/a registered", "pod/b registered"]
    assert said(home, "register", "-f", str(path)) == ["pod/a unchanged", "pod/b unchanged"]
    assert said(home, "unregister", "-f", str(path)) == ["pod/a unregistered", "pod/b unregistered"]
    eventually(lambda: not names(home), "all are gone")


def test_a_zone_that_no_node_is_in_is_said_with_those_there_are(home: Namespace) -> None:
    machines = [{"name": "a", "ip": HOST, "zone": "z"}, {"name": "b", "ip": HOST, "zone": "local-a"}]
    told = ['pod/a gets no traffic: no node is in zone "z" yet; there are nodes in local-a']
    assert warned(home, "register", "-f", "-", stdin=json.dumps(machines)) == told
    assert warned(home, "register", "-f", "-", stdin=json.dumps(machines)) == told
    assert said(home, "register", "a", "--ip", HOST, "--zone", "local-a") == ["pod/a registered"]


def test_what_the_server_refuses_takes_the_rest_back(home: Namespace) -> None:
    machines = [{"name": "a", "ip": HOST}, {"name": "b", "ip": HOST, "namespace": "nowhere"}]
    assert refused(home, "register", "-f", "-", stdin=json.dumps(machines)) == [
        'pierhead: pod/b was not registered: namespaces "nowhere" not found',
        "  nothing was registered; kubectl create namespace nowhere",
    ]  # fmt: skip
    eventually(lambda: not names(home), "a is taken back")


def test_other_ports_make_another_pod_of_it(home: Namespace) -> None:
    given = ("register", "db", "--ip", HOST, "--probe", "none", "--port")
    said(home, *given, "pg=5432")
    first = home.get("pods/db")["metadata"]["uid"]
    assert said(home, *given, "pg=5433") == ["pod/db registered"]
    found = home.get("pods/db")
    assert found["metadata"]["uid"] != first
    assert found["spec"]["containers"][0]["ports"][0]["containerPort"] == 5433


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("register",), "pierhead: name is missing"),
        (("register", "x"), "pierhead: ip is missing"),
        (("register", "x", "--ip", "192.0.2.1", "-l", "app"), 'pierhead: -l "app" is no label'),
        (("register", "x", "-f", "y"), "pierhead: -f takes everything from the file"),
        (("register", "-f", "/nowhere/x"), "pierhead: cannot read /nowhere/x: No such file or directory"),
        (("unregister",), "pierhead: say what to unregister in one way"),
        (("unregister", "x"), "pierhead: there is no pod/x in namespace "),
        (("unregister", "-l", "a in ("), "pierhead: unable to parse requirement"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_the_next_step(
    home: Namespace, arguments: tuple[str, ...], why: str
) -> None:
    line, step = refused(home, *arguments)
    assert line.startswith(why)
    assert step.strip()


def test_pods_of_ours_are_left_to_kubectl(home: Namespace) -> None:
    home.create("pods", pod("ours", 8474, {"app": "web"}))
    assert refused(home, "unregister", "ours")[0] == "pierhead: pod/ours is no external pod: kubectl delete pod ours"
    assert "is no external pod" in refused(home, "register", "ours", "--ip", HOST)[0]


def test_a_region_that_was_killed_finds_them_again(tmp_path: Path) -> None:
    options = ("--network", "loopback", *ranges(os.environ.get("PYTEST_XDIST_WORKER", "master"), part=12))
    with outside("theirs") as port:
        region = start(tmp_path / "d", *options)
        home = Namespace(region, "default")
        said(home, "register", "theirs", "--ip", HOST, "--port", f"web={port}", "-l", "app=web")
        home.create("services", service("web", [{"port": 9475, "targetPort": "web"}], {"app": "web"}))
        address = home.cluster_ip("web")
        eventually(lambda: answers(address, 9475), "the process behind the Service")
        region.stop(signal.SIGKILL)
        region = start(tmp_path / "d", *options)
        try:
            home = Namespace(region, "default")
            assert eventually(lambda: answers(address, 9475), "the same after a restart").startswith("theirs ")
            assert home.get("pods/theirs")["status"]["containerStatuses"][0]["restartCount"] == 0
        finally:
            region.stop()


def test_a_machine_on_the_same_wire(tmp_path: Path) -> None:
    """One subnet with this machine, which is where endpoints may lie unless told otherwise."""
    options = ("--network", "loopback", "--floating-cidr", f"127.99.0.0/24,{MACHINE}/32")
    with network_namespace(mapped=True) as machine, neighbour(machine) as beside:
        command = [*ORDINARY, str(PIERHEAD)]
        with running(tmp_path / "d", *options, command=command, enter=machine) as region:
            theirs = [*beside, "env", f"POD_IP={BESIDE}", "POD_NAME=theirs", sys.executable, "-c", BACKEND, "9476"]
            given = ("register", "theirs", "--ip", BESIDE, "--port", "web=9476", "-l", "app=web")
            environment = os.environ | {"KUBECONFIG": str(region.kubeconfig)}
            with subprocess.Popen(theirs) as process:
                subprocess.run([*machine, str(PIERHEAD), *given], env=environment, check=True, capture_output=True)
                region.kubectl(
                    "apply",
                    "-f",
                    "-",
                    stdin=json.dumps(service("web", [{"port": 9477, "targetPort": "web"}], {"app": "web"})),
                )
                ip = "jsonpath={.spec.clusterIP}"
                address = region.kubectl("get", "service", "web", "-o", ip)
                region.kubectl("wait", "--for=condition=Ready", "pod/theirs", "--timeout=20s")
                asked = [*machine, sys.executable, "-c", CALL, address, "9477"]
                eventually(partial(heard, asked), "an answer from the machine beside")
                process.kill()
            region.kubectl("wait", "--for=condition=Ready=false", "pod/theirs", "--timeout=20s")
