"""Mode ``namespace``: nodes and pods in network namespaces, Services in the kernel. A namespace of the test's own plays the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from e2e.backends import BACKEND, eventually, pod, service
from e2e.test_reach import ASK
from e2e.test_untouched import seen
from netns import ORDINARY, neighbour, network_namespace
from running import PIERHEAD, Region, running, start

APP = {"app": "MyApp"}
NODE = "10.97.0.2"
OPTIONS = ("--network", "namespace")
TOOLS = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
LISTEN = """
import socket, sys
with socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("up", flush=True)
    while True:
        server.accept()[0].sendall(b"a stranger's answer")
"""

CALL = """
import socket, sys, time
address, stop = (sys.argv[1], int(sys.argv[2])), sys.stdin
kept = [socket.create_connection(address, timeout=5) for _ in range(20)]
asked = failed = 0
def ask(client):
    global asked, failed
    asked += 1
    try:
        client.sendall(b"hi")
        failed += not client.recv(100).endswith(b"hi")
    except OSError as error:
        failed += 1
        print(repr(error), file=sys.stderr)
def ask_anew():
    global asked, failed
    try:
        with socket.create_connection(address, timeout=5) as client:
            ask(client)
    except OSError as error:
        asked, failed = asked + 1, failed + 1
        print(repr(error), file=sys.stderr)
import select
print("up", flush=True)
while not select.select([stop], [], [], 0)[0]:
    for client in kept:
        ask(client)
    for _ in range(20):
        ask_anew()
print(asked, failed)
"""
"""Asks over connections that are kept and over new ones until told to stop: how often, and how often in vain."""
BESIDE = ("192.0.2.98", "192.0.2.99")
READ_ONLY = (
    "unshare", "--mount", "sh", "-c",
    'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"', "sh",
)  # fmt: skip
"""As in a container that may make namespaces, but has its settings from outside."""

REFUSED = {"ConnectionRefusedError"}
SILENCE = ("ConnectionRefusedError", "TimeoutError")
STRANGER = "a stranger's answer"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a network namespace for the node")


@dataclass
class Machine:
    region: Region
    enter: tuple[str, ...]

    def ask(self, address: str, port: int, by: Sequence[str] | None = None) -> str:
        """What is answered there, or the name of an error; ``by``: what leads to who asks, by default the machine."""
        command = [*(self.enter if by is None else by), sys.executable, "-c", ASK, address, str(port)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def is_answered(self, address: str, port: int, by: Sequence[str]) -> bool:
        return self.ask(address, port, by).split()[0] in ("p", "q")

    def apply(self, *objects: object) -> None:
        self.region.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    def shown(self, name: str, path: str) -> str:
        return self.region.kubectl("get", "service", name, "-o", f"jsonpath={{{path}}}")

    @property
    def node(self) -> Sequence[str]:
        """What leads to the node."""
        return ("nsenter", f"--net={self.region.data_dir}/network/node")

    def pod(self, name: str) -> Sequence[str]:
        """What leads to a pod."""
        uid = self.region.kubectl("get", "pod", name, "-o", "jsonpath={.metadata.uid}")
        return ("nsenter", f"--net={self.region.data_dir}/network/pods/node-1/{uid}")


@contextmanager
def machine(data_dir: Path, enter: tuple[str, ...] = (), *options: str) -> Iterator[Machine]:
    """With a Service ``web`` on 80 in front of two pods. ``enter``: what leads to it, where it is there already."""
    with ExitStack() as stack:
        enter = enter or stack.enter_context(network_namespace(mapped=False))
        region = stack.enter_context(running(data_dir, *OPTIONS, *options, enter=enter))
        found = Machine(region, enter)
        front = service("web", [{"port": 80, "targetPort": 9376}], APP, type="LoadBalancer")
        found.apply(pod("p", 9376, APP), pod("q", 9376, APP), front)
        region.kubectl("wait", "--for=condition=Ready", "pod/p", "pod/q", "--timeout=30s")
        region.kubectl("wait", "--for=jsonpath={.status.loadBalancer.ingress}", "service/web", "--timeout=30s")
        yield found


@AS_ROOT
def test_a_service_is_reached_from_the_machine_from_the_node_and_from_its_own_pods(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        cluster_ip, floating = (
            here.shown("web", ".spec.clusterIP"),
            here.shown("web", ".status.loadBalancer.ingress[0].ip"),
        )
        node_port = int(here.shown("web", ".spec.ports[0].nodePort"))
        pods = {"p", "q"}
        eventually(lambda: {here.ask(cluster_ip, 80).split()[0] for _ in range(8)} == pods, "both pods answer")
        assert {here.ask(cluster_ip, 80, by=here.node).split()[0] for _ in range(12)} == pods
        assert {here.ask(cluster_ip, 80, by=here.pod("p")).split()[0] for _ in range(12)} == pods
        assert here.ask(floating, 80).split()[0] in pods
        assert here.ask(NODE, node_port).split()[0] in pods
        api = here.shown("kubernetes", ".spec.clusterIP")
        version = ["curl", "--silent", "--show-error", "--max-time", "5", "--cacert", str(here.region.ca)]
        asked = subprocess.run(
            [*here.pod("p"), *version, f"https://{api}/version"], capture_output=True, text=True, check=True
        )
        assert '"gitVersion"' in asked.stdout
        here.region.kubectl("delete", "pod", "p", "q", "--wait")
        eventually(lambda: here.ask(cluster_ip, 80) == "ConnectionRefusedError", "a refusal at once")


@AS_ROOT
@pytest.mark.parametrize("order", ["10.96.0.0/16,fd00:10:96::/112", "fd00:10:96::/112,10.96.0.0/16"])
def test_a_service_of_both_families_is_reached_in_both(tmp_path: Path, order: str) -> None:
    both = {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack"}
    internal = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, "--service-cidr", order, enter=enter) as region:
            here = Machine(region, enter)
            here.apply(dual_pod("p"), dual_pod("q"), service("web", [{"port": 80, "targetPort": 9376}], APP, **both))
            region.kubectl("wait", "--for=condition=Ready", "pod/p", "pod/q", "--timeout=30s")
            addresses = here.shown("web", ".spec.clusterIPs[*]").split()
            assert [":" in address for address in addresses] == [":" in part for part in order.split(",")]
            node_port = int(here.shown("web", ".spec.ports[0].nodePort"))
            nodes = region.kubectl("get", "node", "-o", internal).split()
            asked = [*((address, 80) for address in addresses), *((node, node_port) for node in nodes)]
            assert len(asked) == 4
            for address, port in asked:
                for by in (enter, here.node, here.pod("p")):
                    eventually(partial(here.is_answered, address, port, by), f"{address} from {by}")
            listed = region.kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIPs[*].ip}").split()
            assert [here.ask(address, 9376) for address in listed] == ["p", "p"]
            with listening(here.node, 22), listening(enter, 22):
                for place, by in product((*addresses, *listed, *nodes), (enter, here.node, here.pod("q"))):
                    assert here.ask(place, 22, by=by) == (STRANGER if place in nodes else "ConnectionRefusedError"), (
                        place,
                        by,
                    )
        assert seen(enter) == before


@AS_ROOT
def test_nobody_who_listens_on_every_address_is_reached_through_a_service(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here, listening(here.node, 22), listening(here.enter, 22):
        cluster_ip, floating = (
            here.shown("web", ".spec.clusterIP"),
            here.shown("web", ".status.loadBalancer.ingress[0].ip"),
        )
        eventually(lambda: here.ask(cluster_ip, 80).startswith(("p", "q")), "an answer")
        for by in (here.enter, here.node, here.pod("p")):
            assert here.ask(NODE, 22, by=by) == STRANGER, by
            for address in (cluster_ip, floating, "10.96.77.77"):
                assert here.ask(address, 22, by=by) in SILENCE, (by, address)


@AS_ROOT
def test_routes_to_floating_ips_follow_the_pools(tmp_path: Path) -> None:
    with machine(tmp_path / "d") as here:
        pool = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIPPool", "metadata": {"name": "more"}}
        here.apply(pool | {"spec": {"ranges": ["10.98.0.1-10.98.0.6"]}})
        kind = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIP"}
        here.apply(kind | {"metadata": {"name": "mine"}, "spec": {"pool": "more", "address": "10.98.0.5"}})
        wish = {"type": "LoadBalancer", "loadBalancerIP": "10.98.0.5"}
        here.apply(service("wishing", [{"port": 80, "targetPort": 9376}], APP, **wish))
        eventually(
            lambda: here.ask("10.98.0.5", 80).split()[0] in {"p", "q"}, "the address of the pool that came later"
        )
        with listening(here.node, 22):
            for address in ("10.98.0.5", "10.98.0.4"):
                assert {here.ask(address, 22, by=by) for by in (here.enter, here.node, here.pod("p"))} == REFUSED
        before = [line for line in settled(here.enter) if "10.98" not in line]
        here.region.kubectl("delete", "service", "wishing", "--wait")
        here.region.kubectl("delete", "fip", "mine", "--wait")
        here.region.kubectl("delete", "fippool", "more")
        eventually(lambda: settled(here.enter) == before, "its routes are gone, and nothing else")


@AS_ROOT
def test_a_host_outside_reaches_floating_ips_and_node_ports_over_a_machine_that_forwards_and_nothing_else(
    tmp_path: Path,
) -> None:
    with network_namespace(mapped=False) as enter, neighbour(enter) as outside:
        subprocess.run([*enter, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
        subprocess.run([*outside, "ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.10", "dev", "end"], check=True)
        with machine(tmp_path / "d", enter) as here:
            floating = here.shown("web", ".status.loadBalancer.ingress[0].ip")
            node_port, api = int(here.shown("web", ".spec.ports[0].nodePort")), int(here.region.url.rpartition(":")[2])
            pod_ip = here.region.kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIP}")
            for place in ((floating, 80), (NODE, node_port)):
                eventually(partial(here.is_answered, *place, outside), "what is for hosts outside")
            for place in ((here.shown("web", ".spec.clusterIP"), 80), (pod_ip, 9376)):
                eventually(partial(here.is_answered, *place, here.enter), "what is for those within")
                assert here.ask(*place, by=outside) == "TimeoutError"
            assert here.ask(floating, 22, by=outside) == "ConnectionRefusedError"
            within = [*here.pod("p"), "curl", "--insecure", "--silent", f"https://10.97.0.1:{api}/version"]
            assert b"gitVersion" in subprocess.run(within, check=True, capture_output=True, timeout=30).stdout
            assert here.ask("10.97.0.1", api, by=outside) == "ConnectionRefusedError"


@AS_ROOT
def test_who_is_hidden_behind_the_machine_is_outside_all_the_same(tmp_path: Path) -> None:
    """Docker hides its containers behind whichever address of the machine is nearest: on the way here 10.97.0.1, which is inside."""
    chain = 'type nat hook postrouting priority 100; ip saddr 192.0.2.99 oifname != "wire" masquerade'
    with network_namespace(mapped=False) as enter, neighbour(enter) as container:
        subprocess.run([*enter, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
        subprocess.run([*enter, "nft", f"table ip docker {{ chain hide {{ {chain}; }}; }}"], check=True, env=TOOLS)
        subprocess.run([*container, "ip", "route", "add", "default", "via", "192.0.2.10"], check=True)
        for options in ((), ("--egress",)):
            with machine(tmp_path / "d", enter, *options) as here:
                cluster_ip, floating = (
                    here.shown("web", ".spec.clusterIP"), here.shown("web", ".status.loadBalancer.ingress[0].ip"),
                )  # fmt: skip
                node_port = int(here.shown("web", ".spec.ports[0].nodePort"))
                pod_ip = here.region.kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIP}")
                for place in ((floating, 80), (NODE, node_port)):
                    eventually(partial(here.is_answered, *place, container), "what is for hosts outside")
                for place in ((cluster_ip, 80), (pod_ip, 9376)):
                    eventually(partial(here.is_answered, *place, enter), "what is for those within")
                    assert here.ask(*place, by=container) == "TimeoutError"


@AS_ROOT
def test_the_machine_is_as_it_was_after_a_clean_end_and_after_a_killed_one(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            assert seen(enter) != before
            region.kubectl("apply", "-f", "-", stdin=json.dumps(pod("p", 9376, APP)))
            region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
            region.process.kill()
        with running(tmp_path / "d", *OPTIONS, enter=enter) as again:
            again.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
        assert seen(enter) == before
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@AS_ROOT
def test_traffic_to_what_runs_elsewhere_outlives_a_killed_region_and_meets_its_successor(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, elsewhere(enter):
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            front = service("web", [{"port": 80, "targetPort": 9376}], APP)
            objects = [external(f"p{number}", address) for number, address in enumerate(BESIDE)]
            region.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, [*objects, front])))
            region.kubectl("wait", "--for=condition=Ready", "pod/p0", "pod/p1", "--timeout=30s")
            here = Machine(region, enter)
            address = here.shown("web", ".spec.clusterIP")
            eventually(lambda: here.ask(address, 80).startswith(BESIDE), "an answer")
            with calling(enter, address, 80) as end:
                region.process.kill()
                region.stop()
                with running(tmp_path / "d", *OPTIONS, enter=enter) as again:
                    there = Machine(again, enter)
                    there.apply(service("more", [{"port": 80, "targetPort": 9376}], APP))
                    more = there.shown("more", ".spec.clusterIP")
                    eventually(lambda: there.ask(more, 80).startswith(BESIDE), "the successor programs")
                    asked, failed = end()
        assert failed == 0
        assert asked > 100
        assert seen(enter) == before


@AS_ROOT
def test_a_region_that_was_killed_and_starts_in_another_mode_takes_away_what_it_left(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            region.kubectl("apply", "-f", "-", stdin=json.dumps(pod("p", 9376, APP)))
            region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
            region.process.kill()
        assert seen(enter) != before
        with running(tmp_path / "d", "--network", "loopback", enter=enter):
            assert seen(enter) == before
            assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@AS_ROOT
def test_who_removes_the_directory_of_a_killed_region_by_hand_begins_anew_in_it(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
        before = seen(enter)
        with running(tmp_path / "d", *OPTIONS, "--egress", enter=enter) as region:
            region.process.kill()
        removed = subprocess.run(["rm", "-rf", tmp_path / "d"], capture_output=True, text=True, check=False)
        assert removed.stderr.count("\n") == 1, removed.stderr
        assert "network/node': Device or resource busy" in removed.stderr
        with running(tmp_path / "d", *OPTIONS, enter=enter) as anew:
            assert len(anew.kubectl("get", "services", "-o", "name").splitlines()) == 1
        assert seen(enter) == before


@AS_ROOT
def test_auto_takes_it_for_root_and_a_directory_stays_what_it_was(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        with running(tmp_path / "d", enter=enter) as region:
            assert network(region).startswith("namespace (auto: root")
        assert seen(enter) == before
        with running(tmp_path / "d", enter=enter) as region:
            assert network(region).startswith("namespace (auto: as this data directory was before)")
        with running(tmp_path / "d", "--network", "none", enter=enter) as region:
            assert network(region).startswith("none")
        with running(tmp_path / "d", enter=enter) as region:
            assert network(region).startswith("none (auto: as this")


@AS_ROOT
@pytest.mark.parametrize(
    ("prepare", "lead", "why"),
    [
        (
            "true",
            READ_ONLY,
            "--network namespace is not possible here: net/ipv4/ip_forward in network namespace node: Read-only",
        ),
        (
            "ip route add 10.244.5.0/24 dev lo",
            (),
            "10.244.0.0/16 overlaps with this machine's route to 10.244.5.0/24 (lo)",
        ),
        (
            "true",
            ("setpriv", "--bounding-set=-all"),
            "--network namespace is not possible here: network namespace node: Operation not",
        ),
    ],
)
def test_where_it_does_not_work_auto_takes_loopback_and_says_why(
    tmp_path: Path, prepare: str, lead: Sequence[str], why: str
) -> None:
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "sh", "-c", prepare], check=True)
        before = seen(enter)
        with running(tmp_path / "d", command=[*lead, str(PIERHEAD)], enter=enter) as region:
            assert network(region).startswith(f"loopback (auto, not namespace: {why}")
            assert seen(enter) == before
        with running(tmp_path / "d", enter=enter) as region:
            assert network(region).startswith("loopback (auto: as this data directory was before)")


@AS_ROOT
def test_the_table_of_another_region_in_the_node_is_named_and_left_alone(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        with running(tmp_path / "d", *OPTIONS, enter=enter) as region:
            region.process.kill()
        node = Machine(region, enter).node
        theirs = 'delete table ip pierhead; add table ip pierhead { comment "theirs layout 1"; }'
        subprocess.run([*node, "nft", theirs], check=True, env=TOOLS)
        with pytest.raises(
            AssertionError, match="table ip pierhead: belongs to 'theirs'; to give it up: nft delete table"
        ):
            start(tmp_path / "d", *OPTIONS, enter=enter)
        subprocess.run([*node, "nft", "delete table ip pierhead"], check=True, env=TOOLS)
        with running(tmp_path / "d", *OPTIONS, enter=enter):
            pass


@AS_ROOT
def test_a_machine_that_uses_the_addresses_itself_is_left_alone(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        subprocess.run([*enter, "ip", "route", "add", "10.96.5.0/24", "dev", "lo"], check=True)
        before = seen(enter)
        with pytest.raises(
            AssertionError, match=r"10\.96\.0\.0/16 overlaps with this machine's route to 10\.96\.5\.0/24 \(lo\)"
        ):
            start(tmp_path / "d", "--network", "namespace", enter=enter)
        assert seen(enter) == before


@AS_ROOT
@pytest.mark.parametrize("secrets", ["169.254.169.254/32", "169.254.0.0/16"])
@pytest.mark.parametrize("asked", [(), ("--endpoint-cidrs", "192.0.2.0/24,169.254.169.254/32")], ids=["", "asked for"])
def test_what_a_cloud_tells_its_machines_is_for_no_pod(tmp_path: Path, secrets: str, asked: Sequence[str]) -> None:
    """The machine itself plays the cloud: it has the address, as one that answers, on a subnet of its own."""
    cloud = f"ip route add {secrets} dev wire && ip address add 169.254.169.254/32 dev wire"
    with network_namespace(mapped=False) as enter, neighbour(enter):
        subprocess.run([*enter, "sh", "-c", cloud], check=True)
        before = seen(enter)
        with listening(enter, 22), running(tmp_path / "d", *OPTIONS, *asked, enter=enter) as region:
            here = Machine(region, enter)
            here.apply(pod("p", 9376, APP))
            region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
            assert here.ask("10.97.0.1", 22, by=here.pod("p")) == STRANGER
            assert here.ask("169.254.169.254", 22) == STRANGER
            for by in (here.node, here.pod("p")):
                assert here.ask("169.254.169.254", 22, by=by) == "OSError"
        assert seen(enter) == before


@AS_ROOT
def test_a_second_region_of_this_mode_is_told_of_the_first_and_auto_takes_another(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, running(tmp_path / "d", *OPTIONS, enter=enter):
        with pytest.raises(
            AssertionError,
            match=rf"\(ph-\w+\)\n  one region fits on a machine in this mode: end the one in {tmp_path}/d \(one that was killed",
        ):
            start(tmp_path / "e", *OPTIONS, enter=enter)
        with running(tmp_path / "e", enter=enter) as second:
            assert network(second).startswith("loopback (auto, not namespace: 10.")


def test_an_ordinary_user_is_told_what_is_missing(tmp_path: Path) -> None:
    with network_namespace(mapped=True) as enter:
        before = seen(enter)
        with pytest.raises(
            AssertionError, match=r"--network namespace is not possible here: .*not permitted\n  be root"
        ):
            start(tmp_path / "d", "--network", "namespace", command=[*ORDINARY, str(PIERHEAD)], enter=enter)
        assert seen(enter) == before


def settled(enter: Sequence[str]) -> Sequence[str]:
    """What is seen, but for the addresses that the kernel itself gives a link, and takes a second to try out."""
    return [line for line in seen(enter) if "fe80:" not in line]


@contextmanager
def listening(enter: Sequence[str], port: int) -> Iterator[None]:
    command = [*enter, sys.executable, "-c", LISTEN, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "up\n"
        try:
            yield
        finally:
            server.kill()


@contextmanager
def elsewhere(enter: Sequence[str]) -> Iterator[None]:
    """Two backends on a host beside the machine, which forwards for its node."""
    with neighbour(tuple(enter)) as beside, ExitStack() as stack:
        subprocess.run([*enter, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
        subprocess.run([*beside, "ip", "route", "add", NODE, "via", "192.0.2.10"], check=True)
        subprocess.run([*beside, "ip", "address", "add", f"{BESIDE[0]}/24", "dev", "end"], check=True)
        for address in BESIDE:
            command = [
                *beside,
                "env",
                f"POD_IP={address}",
                f"POD_NAME={address}",
                sys.executable,
                "-c",
                BACKEND,
                "9376",
            ]
            stack.callback(stack.enter_context(subprocess.Popen(command)).kill)
        yield


DUAL = """
import os, socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(os.environ["HOSTNAME"].encode())
class Server(socketserver.ThreadingTCPServer):
    address_family, request_queue_size = 10, 64
Server(("::", 9376), Answer).serve_forever()
"""


def dual_pod(name: str) -> dict[str, Any]:
    found = pod(name, 9376, APP)
    found["spec"]["containers"][0]["command"] = ["python3", "-c", DUAL]
    return found


def external(name: str, address: str) -> dict[str, Any]:
    found = pod(name, 9376, APP, runtimeClassName="external")
    found["metadata"]["annotations"] = {"pierhead.dev/address": address}
    return found


@contextmanager
def calling(enter: Sequence[str], address: str, port: int) -> Iterator[Callable[[], tuple[int, int]]]:
    """Ends the calling, and says how often was asked and how often in vain."""
    command = [*enter, sys.executable, "-c", CALL, address, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "up\n"

        def end() -> tuple[int, int]:
            asked, failed = map(int, client.communicate("stop\n", timeout=30)[0].split())
            return asked, failed

        try:
            yield end
        finally:
            client.kill()


def network(region: Region) -> str:
    """What its greeting says of it."""
    return next(line.removeprefix("network").strip() for line in region.lines if line.startswith("network "))
