"""Mode ``namespace``: the machine's link to its nodes and the routes over it stay, whoever takes them away."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from e2e.backends import eventually
from e2e.test_namespace import AS_ROOT, TOOLS, Machine, machine
from e2e.test_untouched import seen
from netns import network_namespace
from running import running, start

CHANGES = (
    "ip link set {link} down; ip link set {link} up",
    "ip link set {link} down",
    "ip route del 10.96.0.0/16",
    "ip address flush dev {link}",
    "ip link del {link}",
)


def links(enter: Sequence[str]) -> list[str]:
    """Names of regions' links there."""
    told = subprocess.run([*enter, "ip", "-o", "link"], check=True, capture_output=True, text=True, env=TOOLS).stdout
    return re.findall(r"(ph-\w+)@", told)


def laid(enter: Sequence[str]) -> set[str]:
    """Addresses and routes there, without the numbers of links."""
    return {line.partition(": ")[2] or line for line in seen(enter) if "10.9" in line or "10.244" in line}


def reaches_the_api(here: Machine) -> bool:
    """A pod, by the address of its Service: over the link."""
    address = here.shown("kubernetes", ".spec.clusterIP")
    ask = ["curl", "--insecure", "--silent", "--max-time", "1", f"https://{address}/version"]
    return b"gitVersion" in subprocess.run([*here.pod("p"), *ask], check=False, capture_output=True).stdout


@AS_ROOT
@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_does_to_it_is_mended_at_once_and_said(tmp_path: Path, change: str) -> None:
    with network_namespace(mapped=False) as enter:
        with machine(tmp_path / "d", enter) as here:
            addresses = here.shown("web", ".spec.clusterIP"), here.shown("web", ".status.loadBalancer.ingress[0].ip")
            for address in addresses:
                eventually(partial(here.is_answered, address, 80, enter), "an answer")
            (link,) = links(enter)
            whole = laid(enter)
            assert len(whole) > 4
            subprocess.run([*enter, "sh", "-c", change.format(link=link)], check=True, env=TOOLS)
            eventually(lambda: laid(enter) == whole, "all is there again")
            for address in addresses:
                eventually(partial(here.is_answered, address, 80, enter), "an answer again")
            eventually(partial(reaches_the_api, here), "a pod reaches the API again")
            assert here.region.process.stdout
            told = next(line for line in here.region.process.stdout if "is laid again" in line)
            assert told.endswith(f"link {link} of this machine, or a route over it, was taken away: it is laid again\n")
        assert not links(enter)


@AS_ROOT
def test_what_the_machine_uses_itself_keeps_nothing_else_away(tmp_path: Path) -> None:
    """A route of somebody else's to floating IPs, and the link that goes."""
    with network_namespace(mapped=False) as enter, machine(tmp_path / "d", enter) as here:
        cluster_ip, floating = (
            here.shown("web", ".spec.clusterIP"),
            here.shown("web", ".status.loadBalancer.ingress[0].ip"),
        )
        eventually(partial(here.is_answered, floating, 80, enter), "an answer")
        (link,) = links(enter)
        change = f"ip link del {link} && ip route add 10.99.0.0/24 dev lo"
        subprocess.run([*enter, "sh", "-c", change], check=True, env=TOOLS)
        eventually(partial(here.is_answered, cluster_ip, 80, enter), "the others are reached")
        eventually(partial(reaches_the_api, here), "a pod reaches the API")
        subprocess.run([*enter, "ip", "route", "del", "10.99.0.0/24", "dev", "lo"], check=True, env=TOOLS)
        eventually(partial(here.is_answered, floating, 80, enter), "and these, when his route is gone")


@AS_ROOT
def test_the_api_is_on_a_link_that_whoever_follows_the_pools_has_made_anew(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter, machine(tmp_path / "d", enter) as here:
        eventually(partial(reaches_the_api, here), "a pod reaches the API")
        (link,) = links(enter)
        pool = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIPPool", "metadata": {"name": "more"}}
        subprocess.run([*enter, "ip", "route", "del", "10.96.0.0/16"], check=True, env=TOOLS)
        eventually(lambda: any("10.96.0.0/16" in line for line in laid(enter)), "the route, and a pause")
        subprocess.run([*enter, "ip", "link", "del", link], check=True, env=TOOLS)
        here.apply(pool | {"spec": {"ranges": ["10.98.0.1-10.98.0.6"]}})
        eventually(partial(reaches_the_api, here), "a pod reaches the API again")


@AS_ROOT
def test_a_table_whose_link_and_directory_are_gone_goes_with_the_next_start(tmp_path: Path) -> None:
    with network_namespace(mapped=False) as enter:
        before = seen(enter)
        region = start(tmp_path / "d", "--network", "namespace", enter=enter)
        region.stop(signal.SIGKILL)
        subprocess.run(["umount", tmp_path / "d" / "network" / "node"], check=True)
        shutil.rmtree(tmp_path / "d" / "network")
        eventually(lambda: not links(enter), "the link went with its namespace")
        assert seen(enter) != before
        with running(tmp_path / "d", "--network", "namespace", enter=enter):
            pass
        assert seen(enter) == before
