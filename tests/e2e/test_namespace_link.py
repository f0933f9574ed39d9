"""Mode ``namespace``: the machine's link to its nodes and the routes over it stay, whoever takes them away."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from e2e.backends import eventually
from e2e.test_namespace import AS_ROOT, TOOLS, Machine, machine
from e2e.test_untouched import seen
from netns import network_namespace

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
