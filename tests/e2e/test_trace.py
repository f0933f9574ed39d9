"""``pierhead trace``: the way of a packet, by what the Services ask for and by what the kernel holds."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from e2e.backends import Namespace, eventually, pod, service
from e2e.test_namespace import APP, AS_ROOT, NODE, TOOLS, Machine, machine
from netns import MAPPED, ORDINARY, network_namespace
from running import PIERHEAD, Region, running, usable_by_pods

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NAMESPACES = subprocess.run(["unshare", *MAPPED, "true"], capture_output=True, check=False).returncode == 0
ACCOUNTS = [
    pytest.param((), id="root", marks=AS_ROOT),
    pytest.param(
        NOBODY if os.geteuid() == 0 else (),
        id="ordinary",
        marks=[
            pytest.mark.skipif(not NAMESPACES, reason="user namespaces are not allowed here"),
            pytest.mark.skipif(not usable_by_pods(), reason="nobody may not enter this checkout"),
        ],
    ),
]
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 81), 5)
except OSError as error:
    print(type(error).__name__)
"""
UPLINK = "dropped at the uplink: cluster IPs and pods are reachable from within only"
BEFORE = "it comes over the machine, whose own forwarding (net.ipv4.ip_forward) and firewall come first and are not looked at"


def traced(kubeconfig: Path, *words: str, enter: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*enter, str(PIERHEAD), "trace", "--kubeconfig", str(kubeconfig), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def told(here: Machine, *words: str) -> list[str]:
    """What is said where everything is as it should be."""
    done = traced(here.region.kubeconfig, *words, enter=here.enter)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@AS_ROOT
def test_the_way_from_a_pod_from_the_node_from_the_machine_and_from_outside(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        cluster_ip, floating = (
            here.shown("web", ".spec.clusterIP"),
            here.shown("web", ".status.loadBalancer.ingress[0].ip"),
        )
        node_port = here.shown("web", ".spec.ports[0].nodePort")
        eventually(lambda: here.ask(cluster_ip, 80).startswith(("p", "q")), "an answer")
        for origin in ("p", "node", "machine"):
            *lines, verdict = told(here, "--from", origin, "svc/web:80")
            assert BEFORE not in lines
            assert verdict.startswith("goes to pod default/"), verdict
            assert "pod default/p 10.244." in verdict
            assert "pod default/q 10.244." in verdict
        _, _, asked, _, held, *steps, _ = told(here, "--from", "p", "svc/web:80")
        assert asked == "  default/web port 80 (cluster address, policy Cluster)"
        assert held == "what the kernel holds, table ip pierhead:"
        assert [step.split(":")[0].strip() for step in steps[:3]] == ["services 2", "n2 1", "n2 1"]
        for target in (f"{floating}:80", f"{NODE}:{node_port}"):
            *lines, verdict = told(here, "--from", "outside", target)
            assert BEFORE in lines
            assert verdict.startswith("goes to pod default/")
            assert verdict.endswith("the node has no route back to 192.0.2.1: nobody hears an answer")
        assert told(here, "--from", "outside", f"{cluster_ip}:80")[-1] == UPLINK
        subprocess.run([*here.enter, "ip", "address", "add", "198.51.100.7/32", "dev", "lo"], env=TOOLS, check=True)
        head, *_, verdict = told(here, "--from", "198.51.100.7", f"{cluster_ip}:80")
        assert head == f"TCP from this machine (10.97.0.1) to {cluster_ip}:80"
        assert verdict.startswith("goes to pod default/")
        assert told(here, "10.96.77.77:80")[-1].startswith("dropped: no Service has this address")
        assert told(here, f"{cluster_ip}:81")[-1] == f"refused: {cluster_ip} is a cluster IP without TCP port 81"
        here.apply(service("alone", [{"port": 80}], {"app": "nobody"}))
        here.region.kubectl("wait", "--for=condition=Programmed", "service/alone", "--timeout=30s")
        assert told(here, "svc/alone:80")[-1] == "refused: Service default/alone has no usable endpoints"


@AS_ROOT
def test_of_an_address_that_nobody_has_in_a_pool_that_came_later_it_says_what_the_kernel_does(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        address, nobodys = "10.98.0.4", "no Service has TCP port 80"
        assert (
            told(here, f"{address}:80")[-1]
            == f"does not come to the nodes: {address} is none of the region's addresses"
        )
        pool = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIPPool", "metadata": {"name": "more"}}
        here.apply(pool | {"spec": {"ranges": ["10.98.0.1-10.98.0.6"]}})
        eventually(lambda: here.ask(address, 80) == "ConnectionRefusedError", "a refusal")
        for origin in ("p", "node", "machine", "outside"):
            assert told(here, "--from", origin, f"{address}:80")[-1] == f"refused: {nobodys} of this address"


@AS_ROOT
def test_where_no_way_leads_it_says_what_the_kernel_does_with_it(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        subprocess.run([*here.node, "ip", "route", "add", "unreachable", "203.0.113.0/24"], check=True)
        for address, error, verdict in (
            ("198.51.100.9", "OSError", "unreachable: the node has no route to 198.51.100.9"),
            ("203.0.113.9", "OSError", "unreachable: the node has no route to 203.0.113.9"),
            ("10.244.9.9", "OSError", "unreachable: no pod has the address 10.244.9.9"),
            ("224.0.0.1", "OSError", "unreachable: TCP has no connection to a multicast address"),
            ("127.0.0.1", "ConnectionRefusedError", "does not leave the node: 127.0.0.1 is the sender itself"),
            ("0.0.0.0", "ConnectionRefusedError", "does not leave the node: 127.0.0.1 is the sender itself"),
        ):
            assert told(here, "--from", "node", f"{address}:81")[-1] == verdict
            met = subprocess.run(
                [*here.node, "python3", "-c", CONNECT, address], capture_output=True, text=True, check=True
            )
            assert met.stdout.strip() == error


@AS_ROOT
def test_in_either_family_its_own_table_is_followed(tmp_path: Path) -> None:
    options = ("--network", "namespace", "--service-cidr", "10.96.0.0/16,fd00:10:96::/112")
    with network_namespace(mapped=False) as enter, running(tmp_path / "d", *options, enter=enter) as region:
        here = Machine(region, enter)
        both = {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack"}
        here.apply(pod("p", 9376, APP), service("web", [{"port": 80, "targetPort": 9376}], APP, **both))
        region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
        region.kubectl("wait", "--for=condition=Programmed", "service/web", "--timeout=30s")
        for number, (family, name) in enumerate((("ip", "IPv4"), ("ip6", "IPv6"))):
            address = here.shown("web", f".spec.clusterIPs[{number}]")
            target = f"[{address}]:80" if name == "IPv6" else f"{address}:80"
            for origin in ("p", "node", "machine"):
                lines = told(here, "--from", origin, target)
                assert f"what the kernel holds, table {family} pierhead:" in lines
                assert lines[-1].startswith("goes to pod default/p ")
            assert told(here, "--from", "outside", target)[-1] == UPLINK


@AS_ROOT
def test_an_element_that_a_stranger_deleted_is_found_and_named(tmp_path: Path) -> None:
    """In a copy of the node's table, which nobody mends."""
    with machine(tmp_path / "d") as here, network_namespace(mapped=False) as copy:
        cluster_ip = here.shown("web", ".spec.clusterIP")
        eventually(lambda: here.ask(cluster_ip, 80).startswith(("p", "q")), "an answer")
        table = subprocess.run([*here.node, "nft", "list", "table", "ip", "pierhead"], capture_output=True, check=True)
        subprocess.run([*copy, "nft", "-f", "-"], input=table.stdout, check=True)
        kubeconfig = beside(here.region, tmp_path / "copy", copy)
        done = traced(kubeconfig, "svc/web:80", enter=here.enter)
        assert done.returncode == 0, done.stdout + done.stderr
        element = ["delete", "element", "ip", "pierhead", "frontends", "{", cluster_ip, ".", "tcp", ".", "80", "}"]
        subprocess.run([*copy, "nft", *element], check=True)
        done = traced(kubeconfig, "svc/web:80", enter=here.enter)
        assert done.returncode == 1
        assert f"differs: frontends lacks {cluster_ip} . tcp . 80" in done.stdout.splitlines()
        assert "\nwanted: goes to pod default/" in done.stdout
        assert done.stderr.startswith("pierhead: the kernel does something else than the Services ask for\n")


def beside(region: Region, directory: Path, namespace: Sequence[str]) -> Path:
    """The region's kubeconfig in a directory in which its node seems to be in this namespace."""
    (directory / "network").mkdir(parents=True)
    (directory / "network" / "node").symlink_to(f"/proc/{namespace[-1]}/ns/net")
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(region.kubeconfig.read_text())
    return kubeconfig


@AS_ROOT
def test_who_may_not_read_the_kernels_table_is_told_so_and_what_should_stand_there(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        done = traced(here.region.kubeconfig, "svc/web:80", enter=[*here.enter, *ORDINARY])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the kernel's table was not read: only root may" in done.stdout
        assert done.stdout.splitlines()[-1].startswith("goes to pod default/")
        moved = tmp_path / "kubeconfig"
        moved.write_text(here.region.kubeconfig.read_text())
        done = traced(moved, "svc/web:80", enter=here.enter)
        assert "the kernel's table was not read: the region does not run in " in done.stdout


@pytest.mark.parametrize("account", ACCOUNTS)
def test_of_a_lab_the_rules_of_the_node_that_is_asked(account: Sequence[str]) -> None:
    with TemporaryDirectory(prefix="pierhead-lab-") as path:
        if account:
            os.chown(path, 65534, 65534)
        with running(Path(path, "d"), command=[*account, str(PIERHEAD), "lab"]) as region:
            alone = service("alone", [{"port": 80, "nodePort": 30080}], {"app": "nobody"}, type="NodePort")
            region.kubectl("apply", "-f", "-", stdin=json.dumps(alone))
            region.kubectl("wait", "--for=condition=Programmed", "service/alone", "--timeout=30s")
            for origin, target in (("node-2", "svc/alone:80"), ("outside", "192.168.100.12:30080")):
                done = traced(region.kubeconfig, "--from", origin, target, enter=account)
                assert done.returncode == 0, done.stdout + done.stderr
                assert "what the kernel holds, table ip pierhead:" in done.stdout
                assert "it comes over the machine" not in done.stdout
                assert done.stdout.splitlines()[-1] == "refused: Service default/alone has no usable endpoints"


def test_in_loopback_mode_there_is_no_table_of_the_kernels(home: Namespace) -> None:
    home.create("pods", pod("p", 9376, APP))
    home.create("services", service("web", [{"port": 8080, "targetPort": 9376}], APP))
    home.wait_endpoints("web", 1)
    done = traced(home.region.kubeconfig, "-n", home.name, "--from", "p", "svc/web:8080")
    assert done.returncode == 0, done.stderr
    *_, why, verdict = done.stdout.splitlines()
    assert why == "no rules of the kernel are read: in loopback mode a proxy in userspace carries the traffic"
    assert verdict.startswith(f"goes to pod {home.name}/p 127.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("10.0.0.1",), 'pierhead: "10.0.0.1" names no port'),
        (("--from", "nobody", "10.0.0.1:80"), "pierhead: there is no pod nobody in namespace default"),
        (("svc/none:80",), "pierhead: there is no Service none in namespace default"),
    ],
)
def test_bad_input_is_one_clear_line_and_the_next_step(region: Region, words: Sequence[str], said: str) -> None:
    done = traced(region.kubeconfig, *words)
    first, second = done.stderr.splitlines()
    assert done.returncode == 1
    assert first.startswith(said)
    assert second.startswith("  ")
    assert not done.stdout


def test_where_nobody_answers_it_is_said(tmp_path: Path, region: Region) -> None:
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(region.kubeconfig.read_text().replace(region.url, "https://127.0.0.1:1"))
    done = traced(elsewhere, "10.0.0.1:80")
    assert done.returncode == 1
    assert done.stderr.startswith("pierhead: no answer from https://127.0.0.1:1")
