"""What ``up`` understands, and what it says."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import click
import pytest
from msgspec.structs import replace

from pierhead.api.network import Mode
from pierhead.cli import up
from pierhead.core.defaultpool import Standing
from pierhead.errors import UsageError
from pierhead.region import machine, ranges
from pierhead.region.region import Ready
from pierhead.region.settings import Settings

SETTINGS = Settings(Path("/var/lib/it"), "127.0.0.1", 6443, ranges.choose("loopback"))
READY = Ready("https://127.0.0.1:6443", Path("/var/lib/it/kubeconfig"), Standing(("127.99.0.0/24",)))


def greeting(settings: Settings = SETTINGS, ready: Ready = READY) -> list[str]:
    (choice,) = up.choose_network(settings.network.mode)
    why_proxy = up.choose_proxy("auto", choice.mode)
    lines = up.greeting(settings, ready, why_network=choice.why, why_proxy=why_proxy)
    return [click.unstyle(line) for line in lines]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:6443", ("127.0.0.1", 6443)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    assert up.parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "6443", ":6443", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_where_nobody_can_listen(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        up.parse_listen(text)


def test_auto_is_loopback_without_privileges_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (choice,) = up.choose_network("auto")
    assert choice.mode == "loopback"
    assert "privileges" in choice.why
    assert up.choose_proxy("auto", choice.mode).startswith("userspace (auto")


@pytest.mark.parametrize(
    ("before", "asked", "proxy", "modes"),
    [
        (None, "", "auto", ["namespace", "loopback"]),
        (None, "10.100.0.0/16", "nftables", ["namespace", "loopback"]),
        (None, "", "userspace", ["loopback"]),
        (None, "127.100.0.0/17", "auto", ["loopback"]),
        ("loopback", "", "auto", ["loopback"]),
        ("namespace", "", "auto", ["namespace"]),
        ("none", "", "auto", ["none"]),
    ],
)
def test_auto_for_root_is_what_the_directory_was_and_else_namespaces_where_they_work(
    monkeypatch: pytest.MonkeyPatch, before: Mode | None, asked: str, proxy: str, modes: list[Mode]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = up.choose_network("auto", before, ranges=ranges.parse("--service-cidr", asked or None), proxy=proxy)
    assert [choice.mode for choice in found] == modes


@pytest.mark.parametrize("asked", ["host", "bridge"])
def test_a_network_that_is_not_there_names_those_that_are(asked: str) -> None:
    with pytest.raises(UsageError, match=f"--network {asked}") as caught:
        up.choose_network(asked)
    assert {"loopback", "namespace", "none"} <= set(caught.value.hint.split())


@pytest.mark.parametrize("asked", ["nftables", "ebpf", "iptables"])
def test_a_proxy_that_is_not_there_names_the_one_that_is(asked: str) -> None:
    with pytest.raises(UsageError, match=f"--proxy-mode {asked}") as caught:
        up.choose_proxy(asked, "loopback")
    assert "userspace" in caught.value.hint


def test_in_namespaces_the_kernel_carries_the_traffic() -> None:
    mode = up.choose_network("namespace")[0].mode
    assert mode == "namespace"
    assert up.choose_proxy("auto", mode).startswith("nftables (auto")
    assert up.choose_proxy("nftables", mode) == "nftables (as asked)"
    with pytest.raises(UsageError, match="--network namespace has no --proxy-mode userspace") as caught:
        up.choose_proxy("userspace", mode)
    assert "nftables" in caught.value.hint


def test_without_traffic_there_is_no_proxy() -> None:
    assert up.choose_proxy("auto", "none").startswith("none")
    with pytest.raises(UsageError, match="--network none has no traffic"):
        up.choose_proxy("userspace", "none")


@pytest.mark.parametrize("text", ["a b", "-a", "a" * 64])
def test_a_zone_is_the_value_of_a_label(text: str) -> None:
    assert up.label("--zone", "Zone-1.a") == "Zone-1.a"
    with pytest.raises(UsageError, match="--zone"):
        up.label("--zone", text)


def test_zones_are_those_asked_for_in_their_order() -> None:
    assert up.choose_zones(None, None, "loopback") == ("local-a",)
    assert up.choose_zones("Rack_7", None, "none") == ("Rack_7",)
    assert up.choose_zones(None, "b, a", "loopback") == ("b", "a")


@pytest.mark.parametrize(
    ("zone", "zones", "network", "why"),
    [
        (None, "", "loopback", "--zones ''"),
        (None, "a,,b", "loopback", "--zones ''"),
        (None, "a,b,a", "loopback", "names a twice"),
        (None, "a,Rack_7", "loopback", "--zones 'Rack_7' cannot be a zone's name"),
        ("", None, "loopback", "--zone ''"),
        ("a", "a,b", "loopback", "--zone is for one node"),
        (None, "a,b", "none", "--network none has no nodes"),
    ],
)
def test_zones_that_cannot_be(
    zone: str | None, zones: str | None, network: Literal["none", "loopback"], why: str
) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        up.choose_zones(zone, zones, network)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "Node", "a..b", "a_b", "a" * 64])
def test_a_node_has_the_name_of_an_object(text: str) -> None:
    assert up.name("--node-name", "node-1.example", "node") == "node-1.example"
    with pytest.raises(UsageError, match="--node-name"):
        up.name("--node-name", text, "node")


def test_the_greeting_says_what_runs_and_why() -> None:
    ready, *lines = greeting()
    assert ready.startswith("ready in ")
    assert [line.split()[0] for line in lines[:4]] == ["API", "kubeconfig", "network", "proxy"]
    assert lines[2].endswith("; Services 127.96.0.0/16, floating IPs 127.99.0.0/24")


@pytest.mark.parametrize(
    ("floating", "network", "pool"),
    [
        (Standing(("192.0.2.7",)), "Services 127.96.0.0/16, floating IPs 192.0.2.7", []),
        (Standing(("192.0.2.7",), "why"), "Services 127.96.0.0/16, floating IPs 192.0.2.7", ["pool        why"]),
        (Standing((), "why"), "Services 127.96.0.0/16", ["pool        why"]),
        (Standing(tuple("abcdefg")), "Services 127.96.0.0/16, floating IPs a, b, c, d and 3 more", []),
    ],
)
def test_the_greeting_says_which_floating_ips_stand(floating: Standing, network: str, pool: list[str]) -> None:
    lines = greeting(ready=replace(READY, floating=floating))
    assert lines[3].endswith(f"; {network}")
    assert [line for line in lines if line.startswith("pool ")] == pool


def test_who_gives_out_addresses_that_the_machine_has_not_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "addresses", lambda: (ip_address("192.0.2.7"),))

    def told(*ranges: str, settings: Settings = SETTINGS) -> list[str]:
        lines = greeting(settings, replace(READY, floating=Standing(ranges)))
        return [line for line in lines if line.startswith("floating ")]

    (line,) = told("127.99.0.0/24", "192.0.2.0/28", "8.8.8.8/32", "192.0.2.8-192.0.2.9")
    assert line.startswith("floating    this machine has no address of 8.8.8.8/32, 192.0.2.8-192.0.2.9: ")
    assert told("127.99.0.0/24", "192.0.2.0/28") == []
    assert told("8.8.8.8/32", settings=replace(SETTINGS, network=ranges.choose("none"))) == []


def test_the_last_two_lines_can_be_pasted_into_a_shell() -> None:
    said, path, kubeconfig = greeting(ready=replace(READY, kubeconfig=Path("/home/two words/kubeconfig")))[-3:]
    assert "paste these two lines" in said
    assert "Ctrl-C" in said
    assert path.startswith("export PATH=")
    assert path.endswith(":$PATH")
    assert kubeconfig == "export KUBECONFIG='/home/two words/kubeconfig'"


@pytest.mark.parametrize(
    ("account", "shut", "told"), [(0, Path("/root"), True), (0, None, False), (7, Path("/root"), False)]
)
def test_root_is_told_where_its_pods_may_not_enter(
    monkeypatch: pytest.MonkeyPatch, account: int, shut: Path | None, told: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: account)
    monkeypatch.setattr(machine, "shut_folder", lambda _: shut)
    assert any(line.startswith("pods ") and "/root" in line for line in greeting()) == told


@pytest.mark.parametrize(("lowest", "told"), [(1024, True), (80, False), (1, False)])
def test_who_may_not_bind_port_80_is_told_the_line_that_allows_it(
    monkeypatch: pytest.MonkeyPatch, lowest: int, told: bool
) -> None:
    monkeypatch.setattr(machine, "first_open_port", lambda: lowest)
    assert any("ip_unprivileged_port_start=80" in line for line in greeting()) == told
    offline = replace(SETTINGS, network=ranges.choose("none"))
    assert not any("sysctl" in line for line in greeting(offline))
