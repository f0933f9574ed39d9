"""``pierhead fip`` against a region: what scripts read on its standard output, and what a user reads when it cannot be done."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.backends import eventually
from running import PIERHEAD, Region, running

OPTIONS = ("--network", "none", "--floating-cidr", "192.0.2.0/29")
"""Six addresses."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(tmp_path_factory.mktemp("fip"), *OPTIONS) as found:
        yield found


@pytest.fixture
def region(place: Region) -> Iterator[Region]:
    """With nothing in it at the start of each test."""
    yield place
    place.kubectl("delete", "service", "--all", "--wait")
    place.kubectl("delete", "floatingips", "--all", "--wait")


def fip(region: Region, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KUBECONFIG": str(region.kubeconfig)}
    command = [str(PIERHEAD), "fip", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done


def said(region: Region, *arguments: str) -> list[str]:
    done = fip(region, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(region: Region, *arguments: str) -> list[str]:
    done = fip(region, *arguments)
    assert done.returncode == 1
    return done.stderr.splitlines()


def balanced(region: Region, name: str, wish: str = "") -> None:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerIP": wish}
    body = {"metadata": {"name": name}, "spec": spec}
    assert region.call("POST", "/api/v1/namespaces/default/services", body)[0] == 201


def test_one_is_created_shown_named_and_deleted(region: Region) -> None:
    (line,) = said(region, "create")
    address = line.removeprefix("fip/")
    assert re.fullmatch(r"192\.0\.2\.[1-6]", address)
    head, row = said(region, "get")
    assert re.split(r" {2,}", head) == ["FIP", "NAME", "CREATED AT", "SERVICES"]
    assert re.fullmatch(rf"{re.escape(address)} +<none> +20\S+Z +<none>", row)
    assert said(region, "name", address, "the shop") == [f'fip/{address} named "the shop"']
    assert "the shop" in said(region, "get", line)[1]
    why, _ = refused(region, "name", address, "a\n\x1b[2J")
    assert "must be one line of printable text" in why
    assert len(said(region, "get")) == 2
    assert said(region, "delete", line) == [f"fip/{address} deleted"]
    done = fip(region, "get")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No resources found.\n")


def test_several_at_once_and_a_wished_one(region: Region) -> None:
    assert said(region, "create", "--address", "192.0.2.3", "--name", "shop") == ["fip/192.0.2.3"]
    made = said(region, "create", "--count", "3")
    assert len(set(made)) == 3
    shown = said(region, "get", "-o", "ip")
    assert {f"fip/{address}" for address in shown} == {"fip/192.0.2.3", *made}
    assert shown == sorted(shown)


def test_all_that_are_asked_for_or_none(region: Region) -> None:
    said(region, "create", "--count", "4")
    line, step = refused(region, "create", "--count", "3")
    assert line.startswith("pierhead: no floating IP was allocated (")
    assert "of 3 could be had)" in line
    assert "has no free address" in line
    assert "kubectl get fippool" in step
    assert len(said(region, "get", "-o", "ip")) == 4


def test_json_and_wide_say_who_uses_it(region: Region) -> None:
    said(region, "create", "--address", "192.0.2.3", "--name", "shop")
    balanced(region, "web", "192.0.2.3")

    def used() -> dict[str, Any] | None:
        (found,) = json.loads(fip(region, "get", "-o", "json").stdout)
        return found if found["services"] else None

    shown = eventually(used, "the Service in the list")
    assert re.fullmatch(r"20\S+Z", shown.pop("createdAt"))
    assert shown == {"fip": "192.0.2.3", "name": "shop", "services": ["default/web"]}
    row = said(region, "get", "-o", "wide", "192.0.2.3")[1]
    assert row.split()[-4:] == ["default/web", "default", "local", "192.0.2.3"]


def test_one_that_belongs_to_a_service_which_waits_says_so(region: Region) -> None:
    said(region, "create", "--count", "6")
    balanced(region, "web")
    row = eventually(lambda: next((row for row in said(region, "get") if "<pending>" in row), None), "one that waits")
    assert row.split()[-1] == "default/web"
    assert "default/web" in region.kubectl("get", "fip")
    waiting = [one for one in json.loads(fip(region, "get", "-o", "json").stdout) if not one["fip"]]
    assert [one["services"] for one in waiting] == [["default/web"]]


def test_what_is_in_use_stays_and_the_others_go(region: Region) -> None:
    said(region, "create", "--address", "192.0.2.3")
    said(region, "create", "--address", "192.0.2.5")
    balanced(region, "web", "192.0.2.3")
    balanced(region, "own")
    why = "fip/192.0.2.3 was not deleted: it is in use by Service default/web"
    step = "  delete those Services first, or give them another spec.loadBalancerIP"
    assert refused(region, "delete", "192.0.2.3") == [f"pierhead: {why}", step]
    done = fip(region, "delete", "--all")
    assert (done.returncode, done.stdout) == (1, "fip/192.0.2.5 deleted\n")
    assert done.stderr.splitlines() == [f"pierhead: {why}", "pierhead: 1 of 2 were not deleted", step]
    done = fip(region, "delete", "192.0.2.3", "192.0.2.5")
    assert done.stderr.splitlines() == [
        f"pierhead: {why}", "pierhead: there is no fip/192.0.2.5", "pierhead: 2 of 2 were not deleted", step,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create", "--address", "10.0.0.1"), '"10.0.0.1": is in no pool of floating IPs'),
        (("create", "--address", "10.0.0"), '"10.0.0": must be a valid IP address'),
        (("create", "--address", "192.0.2.3", "--count", "2"), "--address names one floating IP, --count asks for several"),
        (("create", "--pool", "none"), 'spec.pool: Not found: "none"'),
        (("create", "--count", "0"), "0 is not in the range"),
        (("name", "192.0.2.3", ""), "a name cannot be empty"),
        (("name", "192.0.2.3", "x"), "there is no fip/192.0.2.3"),
        (("get", "192.0.2.3"), "there is no fip/192.0.2.3"),
        (("delete", "192.0.2.3"), "there is no fip/192.0.2.3"),
        (("delete",), "name the floating IPs to delete, or all of them"),
        (("delete", "--all", "192.0.2.3"), "name the floating IPs to delete, or all of them"),
        (("get", "-o", "yaml"), "'yaml' is not one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_the_next_step(
    region: Region, arguments: tuple[str, ...], why: str
) -> None:
    line, step = refused(region, *arguments)
    assert why in line
    assert step.strip()


@pytest.mark.parametrize("arguments", [("get", "office"), ("name", "office", "shop"), ("delete", "office")])
def test_who_writes_the_name_is_told_the_address(region: Region, arguments: tuple[str, ...]) -> None:
    said(region, "create", "--address", "192.0.2.3", "--name", "office")
    line, step = refused(region, *arguments)
    assert line == "pierhead: there is no fip/office"
    assert step == "  a name is a remark; write the address: 192.0.2.3"
    assert said(region, "get", "-o", "ip") == ["192.0.2.3"]


def test_an_address_that_somebody_has_is_refused_with_his_name(region: Region) -> None:
    said(region, "create", "--address", "192.0.2.3")
    line, _ = refused(region, "create", "--address", "192.0.2.3")
    assert 'belongs to FloatingIP "192.0.2.3"' in line


def test_a_region_that_is_gone_is_said(region: Region, tmp_path: Any) -> None:
    other = tmp_path / "kubeconfig"
    other.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", region.kubeconfig.read_text()))
    line, step = refused(region, "get", "--kubeconfig", str(other))
    assert line == "pierhead: no answer from https://127.0.0.1:1: All connection attempts failed"
    assert "pierhead up" in step
