"""`pierhead lab`: several nodes in namespaces of this machine and a host outside, for root and for an ordinary user alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from e2e.backends import eventually, pod, service
from e2e.test_untouched import seen
from netns import MAPPED
from running import PIERHEAD, Region, running, start

APP = {"app": "MyApp"}
PODS = {"p1": "node-1", "p2": "node-2", "p3": "node-3"}
NODES = [f"node-{number}" for number in (1, 2, 3)]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
ASK = """
import concurrent.futures, json, socket, sys
def ask(where):
    try:
        with socket.create_connection(where, timeout=1) as client:
            client.sendall(b"hi")
            return client.recv(100).decode().split()[0]
    except OSError as error:
        return type(error).__name__
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(ask, map(tuple, json.loads(sys.argv[1]))))))
"""
LISTEN = """
import socket, sys
with socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("up", flush=True)
    while True:
        server.accept()[0].sendall(sys.argv[2].encode())
"""
SILENT = {"ConnectionRefusedError", "TimeoutError", "OSError"}
"""Of these the last is: no route."""
WITHOUT = 'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'


@dataclass
class Lab:
    region: Region
    account: Sequence[str]

    def exec(self, where: str, *command: str) -> subprocess.CompletedProcess[str]:
        options = ["lab", "exec", "--data-dir", str(self.region.data_dir), where, *command]
        return subprocess.run(
            [*self.account, PIERHEAD, *options], capture_output=True, text=True, timeout=60, check=False
        )

    def ask(self, by: str, *places: tuple[str, int]) -> list[str]:
        """Who answers at each place, or the name of an error."""
        done = self.exec(by, "python3", "-c", ASK, json.dumps(places))
        assert done.returncode == 0, done.stderr
        found: list[str] = json.loads(done.stdout)
        return found

    def is_answered(self, by: str, places: Sequence[tuple[str, int]], name: str) -> bool:
        return set(self.ask(by, *places)) == {name}

    def knows_no_way(self, by: str, start: str) -> bool:
        """Whether nothing leads to addresses that start so."""
        listed = self.exec(by, "/usr/sbin/ip", "route", "show", "table", "all").stdout
        return "192.168.100." in listed and start not in listed

    def all_answer(self, by: str, address: str) -> bool:
        return set(self.ask(by, *[(address, 80)] * 60)) == set(PODS)

    def read(self, path: str) -> Any:
        """What the API has in namespace default."""
        status, found = self.region.call("GET", f"/api/v1/namespaces/default/{path}")
        assert status == 200, found
        return found

    def cluster_ip(self, service: str) -> str:
        found: str = self.read(f"services/{service}")["spec"]["clusterIP"]
        return found

    def node_port(self, service: str) -> int:
        found: int = self.read(f"services/{service}")["spec"]["ports"][0]["nodePort"]
        return found

    def pod_ips(self, *names: str) -> list[tuple[str, str]]:
        """The addresses of pods, of both families."""
        told = [self.read(f"pods/{name}")["status"]["podIPs"] for name in names]
        return [(one["ip"], other["ip"]) for one, other in told]

    @property
    def floating(self) -> str:
        found: str = self.read("services/web")["status"]["loadBalancer"]["ingress"][0]["ip"]
        return found

    def apply(self, *objects: object) -> None:
        self.region.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    @contextmanager
    def listening(self, where: str) -> Iterator[None]:
        """Somebody there takes connections to port 22 of every address."""
        options = [
            "lab",
            "exec",
            "--data-dir",
            str(self.region.data_dir),
            where,
            "python3",
            "-c",
            LISTEN,
            "22",
            "stranger",
        ]
        with subprocess.Popen([*self.account, PIERHEAD, *options], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            assert server.stdout.readline() == "up\n"
            try:
                yield
            finally:
                server.terminate()


@contextmanager
def folder(account: Sequence[str]) -> Iterator[Path]:
    """One of the account's own, that every account may come to."""
    with TemporaryDirectory(prefix="pierhead-lab-") as path:
        if account:
            os.chown(path, 65534, 65534)
        yield Path(path) / "d"


def accounts() -> Iterator[object]:
    """Root, where that is who runs this, and an ordinary user."""
    if os.geteuid() == 0:
        yield pytest.param((), id="root")
    account = NOBODY if os.geteuid() == 0 else ()
    closed = [
        pytest.mark.skipif(subprocess.run([*account, *command], capture_output=True).returncode != 0, reason=reason)
        for command, reason in (
            ([PIERHEAD, "--version"], "nobody may not enter this checkout"),
            (["unshare", *MAPPED, "true"], "user namespaces are not allowed here"),
        )
    ]
    yield pytest.param(account, id="ordinary", marks=closed)


ACCOUNTS = list(accounts())


@pytest.fixture(scope="module", params=ACCOUNTS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three nodes in three zones, a pod on each, and a Service ``web`` in front of them."""
    account = request.param
    with folder(account) as data, running(data, command=[*account, str(PIERHEAD), "lab"]) as region:
        found = Lab(region, account)
        front = service("web", [{"port": 80, "targetPort": 9376}], APP, type="LoadBalancer")
        found.apply(*(pod(name, 9376, APP, nodeName=node) for name, node in PODS.items()), front)
        region.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
        region.kubectl("wait", "--for=jsonpath={.status.loadBalancer.ingress}", "service/web", "--timeout=30s")
        cluster_ip = found.cluster_ip("web")
        for name in NODES:
            eventually(partial(found.all_answer, name, cluster_ip), "all pods answer")
        yield found


def test_there_is_a_node_in_each_zone_and_a_slice_says_where_each_pod_is(lab: Lab) -> None:
    nodes = json.loads(lab.region.kubectl("get", "nodes", "-o", "json"))["items"]
    zones = {node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    assert zones == dict(zip(NODES, "abc", strict=True))
    inside = [each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP"]
    assert inside == ["192.168.100.11", "fd00:100::b"]
    slices = json.loads(
        lab.region.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "json")
    )
    endpoints = [found for each in slices["items"] for found in each["endpoints"]]
    assert {found["targetRef"]["name"]: found["zone"] for found in endpoints} == dict(zip(PODS, "abc", strict=True))


def test_nodes_and_pods_reach_services_and_each_other(lab: Lab) -> None:
    pods, port = [(four, 9376) for four, _ in lab.pod_ips(*PODS)], lab.node_port("web")
    fronts = [(lab.floating, 80), ("192.168.100.11", port), ("192.168.100.13", port)]
    cluster_ip = lab.cluster_ip("web")
    for by in ("node-1", "p1", "p3"):
        found = lab.ask(by, *pods, *fronts, *[(cluster_ip, 80)] * 60)
        assert found[:3] == list(PODS), by
        assert set(found[3:6]) <= set(PODS), by
        assert set(found[6:]) == set(PODS), by


def test_a_pod_reaches_the_api_by_its_service(lab: Lab) -> None:
    address = lab.cluster_ip("kubernetes")
    lab.region.data_dir.parent.chmod(0o755)
    authority = lab.region.ca.read_text()
    script = (
        f"curl --silent --show-error --max-time 5 --cacert <(cat <<'END'\n{authority}\nEND\n) https://{address}/version"
    )
    done = lab.exec("p2", "bash", "-c", script)
    assert '"gitVersion"' in done.stdout, done.stderr


def test_the_host_outside_reaches_floating_ips_and_node_ports_and_nothing_else(lab: Lab) -> None:
    cluster_ip, port, ((pod_ip, _),) = lab.cluster_ip("web"), lab.node_port("web"), lab.pod_ips("p1")
    assert set(lab.ask("outside", *[(lab.floating, 80)] * 60)) == set(PODS)
    assert set(lab.ask("outside", ("192.168.100.11", port), ("192.168.100.13", port))) <= set(PODS)
    closed = [(cluster_ip, 80), (pod_ip, 9376), ("10.96.77.77", 80)]
    assert set(lab.ask("outside", *closed)) == {"TimeoutError"}
    on_link = ";".join(f"ip route add {address}/32 dev up0" for address, _ in closed)
    assert lab.exec("outside", "sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {on_link}").returncode == 0
    assert not set(lab.ask("outside", *closed)) & set(PODS)
    for address, _ in closed:
        assert "lladdr" not in lab.exec("outside", "/usr/sbin/ip", "neigh", "show", address).stdout


def test_floating_ips_of_a_pool_that_comes_later_are_reached_as_those_of_the_first(lab: Lab) -> None:
    kind, address = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIPPool"}, "10.98.0.5"
    lab.apply(kind | {"metadata": {"name": "more"}, "spec": {"ranges": ["10.98.0.0/29"]}})
    owned = {"metadata": {"name": "mine"}, "spec": {"pool": "more", "address": address}}
    lab.apply(kind | {"kind": "FloatingIP"} | owned)
    wish = {"type": "LoadBalancer", "loadBalancerIP": address}
    lab.apply(service("late", [{"port": 80, "targetPort": 9376}], APP, **wish))
    with ExitStack() as listening:
        for node in NODES:
            listening.enter_context(lab.listening(node))
        for by in ("outside", "node-2", "p1"):
            eventually(partial(lab.all_answer, by, address), f"all pods answer {by}")
            assert set(lab.ask(by, (address, 22), ("10.98.0.4", 22))) <= SILENT, by
    for name in ("service/late", "fip/mine", "fippool/more"):
        lab.region.kubectl("delete", name, "--wait")
    for by in ("outside", "node-2"):
        eventually(partial(lab.knows_no_way, by, "10.98.0."), f"no route is left {by}")


def test_in_ipv6_it_is_the_same(lab: Lab) -> None:
    backend = pod("six", 9377, {"app": "six"}, nodeName="node-3")
    backend["spec"]["containers"][0]["command"] = ["python3", "-c", LISTEN, "9377", "six"]
    families = {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}
    lab.apply(backend, service("six", [{"port": 80, "targetPort": 9377}], {"app": "six"}, type="NodePort", **families))
    lab.region.kubectl("wait", "--for=condition=Ready", "pod/six", "--timeout=30s")
    lab.region.kubectl("wait", "--for=condition=Programmed", "service/six", "--timeout=30s")
    cluster_ip, ((_, pod_ip),) = lab.cluster_ip("six"), lab.pod_ips("six")
    front, at_node, own = (cluster_ip, 80), ("fd00:100::b", lab.node_port("six")), (pod_ip, 9377)
    for by in ("node-1", "p2"):
        eventually(partial(lab.is_answered, by, (front, at_node, own), "six"), f"six answers {by}")
    assert lab.ask("outside", front, at_node, own) == ["TimeoutError", "six", "TimeoutError"]
    lab.exec("outside", "/usr/sbin/ip", "route", "add", f"{cluster_ip}/128", "dev", "up0")
    assert lab.ask("outside", front) != ["six"]
    assert "lladdr" not in lab.exec("outside", "/usr/sbin/ip", "neigh", "show", cluster_ip).stdout
    lab.region.kubectl("delete", "pod/six", "service/six", "--wait")


def test_who_listens_on_every_address_of_the_nodes_is_reached_by_none_of_the_regions(lab: Lab) -> None:
    with ExitStack() as listening:
        for node in NODES:
            listening.enter_context(lab.listening(node))
        assert lab.ask("outside", ("192.168.100.11", 22)) == ["stranger"]
        every = [lab.cluster_ip("web"), lab.cluster_ip("kubernetes"), lab.floating]
        every += [address for addresses in lab.pod_ips(*PODS) for address in addresses]
        every += ["10.96.77.77", "10.99.0.250", "10.244.0.77", "10.244.200.7", "fd00:10:96::77", "fd00:10:244::77"]
        for by in ("p1", "node-2", "outside"):
            assert set(lab.ask(by, *((address, 22) for address in every))) <= SILENT, by


def test_a_command_runs_as_if_it_were_called_there(lab: Lab) -> None:
    assert lab.exec("node-1", "sh", "-c", "exit 7").returncode == 7
    assert lab.exec("node-1", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert lab.exec("pod/p1", "pwd").stdout == f"{Path.cwd()}\n"
    assert "192.168.100.254" in lab.exec("outside", "/usr/sbin/ip", "-4", "address").stdout


@pytest.mark.parametrize(
    ("where", "command", "line"),
    [
        ("nowhere", ["true"], 'no node or pod "nowhere"\n  in namespace default there are: node-1, node-2, node-3, outside, p1, p2, p3\n'),
        ("node-1", ["/no/such/command"], "cannot run /no/such/command: No such file or directory\n"),
        ("node-1", [""], "the command to run has no name\n  write one after the place: "),
        (os.fsdecode(b"n\xff"), ["true"], "there is no node or pod \"n"),
        ("pod/..", ["true"], 'there is no pod ".." in namespace default\n'),
        ("--namespace=no", ["p1", "true"], "there is no namespace no\n  leave it out, or write one of: default, "),
        ("--namespace=", ["p1", "true"], "--namespace names none\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said(lab: Lab, where: str, command: list[str], line: str) -> None:
    done = lab.exec(where, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_killed_lab_leaves_nothing(account: Sequence[str]) -> None:
    before = seen(())
    with folder(account) as data, running(data, command=[*account, str(PIERHEAD), "lab"]) as region:
        inside = Lab(region, account)
        inside.apply(pod("p", 9376, APP))
        region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
        with subprocess.Popen(
            [*account, PIERHEAD, "lab", "exec", "--data-dir", data, "p", "cat"], stdin=subprocess.PIPE
        ):
            assert len(eventually(lambda: found if len(found := concerned(data)) > 4 else None, "a lab")) > 4
            region.process.kill()
        region.stop()
        eventually(lambda: not concerned(data), "nobody is left")
        assert seen(()) == before
        assert inside.exec("p", "true").stderr.startswith(f"pierhead: no lab runs in {data}\n")
        with running(data, "--nodes", "1", command=[*account, str(PIERHEAD), "lab"]) as region:
            told = Lab(region, account).exec("node-3", "true").stderr
            assert "there are: node-1, outside" in told


def concerned(data: Path) -> set[str]:
    """Processes that belong to a region: their command, their environment or what is mounted for them names its directory."""
    return {
        process.name
        for process in Path("/proc").glob("[0-9]*")
        if any(str(data).encode() in read(process / name) for name in ("cmdline", "environ", "mountinfo"))
    }


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(number: signal.Signals) -> None:
    with folder(()) as data:
        region = start(data, command=[str(PIERHEAD), "lab"])
        assert region.stop(number) == 0
        assert not concerned(data)


def test_lab_down_ends_it_from_elsewhere_and_then_there_is_none() -> None:
    with folder(()) as data, running(data, command=[str(PIERHEAD), "lab"]) as region:
        done = [
            subprocess.run([PIERHEAD, "lab", "down", "--data-dir", data], capture_output=True, text=True) for _ in "12"
        ]
        assert (done[0].returncode, region.process.wait(timeout=10)) == (0, 0)
        assert done[1].stderr.startswith(f"pierhead: no lab runs in {data}\n  start one with: pierhead lab up")


def test_a_second_one_on_the_same_directory_says_so() -> None:
    with (
        folder(()) as data,
        running(data, command=[str(PIERHEAD), "lab"]),
        pytest.raises(AssertionError, match="choose another --data-dir"),
    ):
        start(data, command=[str(PIERHEAD), "lab"])


def test_up_in_the_directory_of_a_running_lab_says_what_ends_it() -> None:
    with (
        folder(()) as data,
        running(data, command=[str(PIERHEAD), "lab"]),
        pytest.raises(AssertionError, match=f"end the other by pierhead lab down --data-dir {data}, or choose another"),
    ):
        start(data, "--network", "none")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--nodes", "0"], "a lab has 1 to 100 nodes, not 0"),
        (["--nodes", "2", "--zones", "a,b,c"], "--nodes 2 is too few for 3 zones"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(tmp_path: Path, options: list[str], line: str) -> None:
    with pytest.raises(AssertionError, match=f"pierhead: {line}"):
        start(tmp_path / "d", *options, command=[str(PIERHEAD), "lab"])
    assert not (tmp_path / "d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another account")
@pytest.mark.parametrize("lab", [ACCOUNTS[-1]], indirect=True)
def test_root_goes_into_the_lab_of_an_ordinary_user(lab: Lab) -> None:
    assert Lab(lab.region, ()).exec("node-1", "/usr/sbin/ip", "link", "set", "up0", "up").returncode == 0


def test_root_without_the_right_is_told_what_he_needs(tmp_path: Path) -> None:
    deny = ["unshare", "--user", "--map-root-user", "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    if subprocess.run([*deny, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    line = (
        r"cannot make the namespaces of a lab: .*not permitted\n  be root; in a container, one that may make namespaces"
    )
    with pytest.raises(AssertionError, match=line):
        start(tmp_path / "d", command=[*deny, str(PIERHEAD), "lab"])


def test_who_may_make_no_namespaces_is_told_what_to_type(tmp_path: Path) -> None:
    deny = ["unshare", "--user", "--map-user=1000", "--keep-caps", "sh", "-c", WITHOUT, "sh"]
    if subprocess.run([*deny, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    line = r"cannot make the namespaces of a lab: .*\n  allow them .*: sudo sysctl user\.max_user_namespaces=10000; or be root"
    with pytest.raises(AssertionError, match=line):
        start(tmp_path / "d", command=[*deny, str(PIERHEAD), "lab"])
    assert not (tmp_path / "d").exists()


def test_a_change_waits_for_every_node_and_each_keeps_its_own_rules(lab: Lab) -> None:
    ports = [{"port": 80, "targetPort": 9376, "protocol": "TCP"}, {"port": 81, "targetPort": 9376, "protocol": "TCP"}]
    named = [port | {"name": f"p{port['port']}"} for port in ports]
    lab.apply(service("twice", named, APP))
    lab.region.kubectl("wait", "--for=condition=Programmed", "service/twice", "--timeout=20s")
    assert lab.read("services/twice")["status"]["conditions"][0]["message"] == "3/3 nodes"
    address = lab.cluster_ip("twice")
    eventually(lambda: not set(lab.ask("node-1", (address, 80))) & SILENT, "endpoints")
    for node in NODES:
        assert not set(lab.ask(node, (address, 80), (address, 81))) & SILENT
    assert lab.exec("node-2", "nft", "flush", "ruleset").returncode == 0
    eventually(lambda: not set(lab.ask("node-2", (address, 80))) & SILENT, "node-2's rules")
    told = eventually(lambda: lab.read("events?fieldSelector=reason%3DRulesetChanged")["items"], "an Event")
    assert [found["involvedObject"]["name"] for found in told] == ["node-2"]
    lab.region.kubectl("delete", "service", "twice")
