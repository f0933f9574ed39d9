"""Who has written a Service waits with kubectl until the nodes carry it, or is told why they do not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from e2e.backends import Namespace, answers, ask, eventually, pod, service
from e2e.test_namespace import AS_ROOT, machine

APP = {"app": "MyApp"}
WAIT = ("wait", "--for=condition=Programmed")
REASON = "{.status.conditions[?(@.type=='Programmed')].reason}"
MESSAGE = "{.status.conditions[?(@.type=='Programmed')].message}"


def started(home: Namespace) -> str:
    """A Service on 8080 whose pod answers: its address."""
    home.apply(pod("p", 9376, APP), service("web", [{"port": 8080, "targetPort": 9376}], APP))
    home.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    address = home.cluster_ip("web")
    eventually(lambda: answers(address, 8080), "an answer")
    return address


def test_a_change_is_carried_when_its_wait_is_over(home: Namespace) -> None:
    address = started(home)
    for port in range(8081, 8086):
        ports = [{"port": port, "targetPort": 9376, "protocol": "TCP"}]
        home.kubectl("patch", "service", "web", "--type=merge", "-p", json.dumps({"spec": {"ports": ports}}))
        assert home.kubectl(*WAIT, "service/web", "--timeout=20s") == "service/web condition met\n"
        assert ask(address, port).split()[0] == "p"
        with pytest.raises(ConnectionRefusedError):
            ask(address, port - 1)


def test_whoever_waits_for_all_services_is_not_left_waiting(home: Namespace) -> None:
    port = [{"port": 8080}]
    home.apply(
        service("plain", port),
        service("headless", port, clusterIP="None"),
        service("name", [], type="ExternalName", externalName="example.com"),
        service("node-port", port, type="NodePort"),
        service("floating", port, type="LoadBalancer"),
    )
    met = home.kubectl(*WAIT, "service", "--all", "--timeout=20s").splitlines()
    names = ("floating", "headless", "name", "node-port", "plain")
    assert met == [f"service/{name} condition met" for name in names]
    assert home.ingress("floating")
    home.delete("services/floating")


def test_a_port_that_is_taken_is_named_and_programmed_when_it_is_free(home: Namespace) -> None:
    address = home.create("services", service("web", [{"port": 8080}]))["spec"]["clusterIP"]
    home.kubectl(*WAIT, "service/web", "--timeout=20s")
    with socket.create_server((address, 8081)):
        home.patch("services/web", {"spec": {"ports": [{"port": 8081}]}})
        home.kubectl("wait", "--for=condition=Programmed=false", "service/web", "--timeout=20s")
        said = shown(home, MESSAGE)
        assert said.startswith("0/1 nodes: process ")
        assert f"listens at {address}:8081" in said
        assert shown(home, REASON) == "AddressInUse"
        events = "--field-selector=reason=AddressInUse,involvedObject.name=web"
        told = eventually(
            lambda: home.kubectl("get", "events", events, "-o", "jsonpath={.items[*].message}"), "an Event"
        )
        assert said == f"0/1 nodes: {told}"
    assert home.kubectl(*WAIT, "service/web", "--timeout=20s") == "service/web condition met\n"


def shown(home: Namespace, path: str) -> str:
    return home.kubectl("get", "service", "web", "-o", f"jsonpath={path}")


@AS_ROOT
def test_in_the_kernel_it_is_the_same(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        address = here.shown("web", ".spec.clusterIP")
        eventually(lambda: here.ask(address, 80).split()[0] in ("p", "q"), "an answer")
        for port in range(81, 84):
            ports = [{"port": port, "targetPort": 9376, "protocol": "TCP"}]
            patch = json.dumps({"spec": {"ports": ports}})
            here.region.kubectl("patch", "service", "web", "--type=merge", "-p", patch)
            assert here.region.kubectl(*WAIT, "service/web", "--timeout=20s") == "service/web condition met\n"
            assert here.ask(address, port).split()[0] in ("p", "q")
            assert here.ask(address, port - 1) == "ConnectionRefusedError"
        assert here.shown("web", MESSAGE.strip("{}")) == "1/1 nodes"
