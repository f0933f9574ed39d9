"""The same data directory under another region's name, and what a start says of the pool that it came to have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from e2e.backends import answers, eventually, pod
from running import Region, ranges, running

OFFLINE = ("--network", "none")
SIX = (*OFFLINE, "--floating-cidr", "192.0.2.0/29")
SERVICES = "/api/v1/namespaces/default/services"
FIPS = "/apis/pierhead.dev/v1/floatingips"
POOLS = "/apis/pierhead.dev/v1/floatingippools"
APP = {"app": "web"}


def loopback(name: str) -> Sequence[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    return ("--network", "loopback", "--region", name, *ranges(worker, part=70))


def balanced(region: Region, name: str, port: int = 8080) -> None:
    spec = {"type": "LoadBalancer", "selector": APP, "ports": [{"port": port, "targetPort": 9376}]}
    assert region.call("POST", SERVICES, {"metadata": {"name": name}, "spec": spec})[0] == 201


def address(region: Region, name: str) -> str:
    """At which a Service says that it answers; empty while it waits."""
    ingress = region.call("GET", f"{SERVICES}/{name}")[1]["status"]["loadBalancer"].get("ingress") or [{}]
    return str(ingress[0].get("ip", ""))


def why(region: Region, name: str) -> str:
    """What the Event says of a Service that waits."""
    about = f"involvedObject.name={name},reason=SyncLoadBalancerFailed"

    def told() -> str:
        return region.kubectl("get", "events", f"--field-selector={about}", "-o", "jsonpath={.items[-1:].message}")

    return str(eventually(told, f"an Event about {name}"))


def line(region: Region, word: str) -> str:
    """The line of the greeting that begins with a word; empty: there is none."""
    return next((found for found in region.lines if found.split()[0] == word), "")


def test_a_pool_that_nobody_uses_follows_its_region_under_another_name(tmp_path: Path) -> None:
    with running(tmp_path / "d", *SIX, "--region", "north") as region:
        assert line(region, "network").endswith("floating IPs 192.0.2.0/29")
    with running(tmp_path / "d", *SIX, "--region", "south") as region:
        assert line(region, "network").endswith("floating IPs 192.0.2.0/29")
        assert line(region, "pool") == ""
        assert region.call("POST", FIPS, {"metadata": {}})[0] == 201
        balanced(region, "web")
        eventually(lambda: address(region, "web"), "an address")


def test_one_in_use_stays_and_serves_and_whoever_waits_is_told_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path / "d", *loopback("north")) as region:
        region.call("POST", "/api/v1/namespaces/default/pods", pod("web", 9376, APP))
        balanced(region, "old")
        at = eventually(lambda: address(region, "old"), "an address")
        eventually(lambda: answers(at, 8080), "an answer")
    with running(tmp_path / "d", *loopback("south")) as region:
        assert "floating IPs" not in line(region, "network")
        told = line(region, "pool")
        assert told.startswith('pool        pool "default" stays in region "north": FloatingIP 127.')
        assert told.endswith("release its addresses (pierhead fip get) and it follows, or start with --region north")
        eventually(lambda: answers(at, 8080), "an answer where it was")
        balanced(region, "new", 8081)
        assert why(region, "new").startswith('there is no FloatingIPPool in region "south", and pool "default" belongs')
        assert address(region, "new") == ""
        region.kubectl("delete", "service", "old", "--wait")
        at = eventually(lambda: address(region, "new"), "the pool in its new region, and an address")
        eventually(lambda: answers(at, 8081), "an answer")


def test_what_was_refused_is_said_with_what_stands(tmp_path: Path) -> None:
    with running(tmp_path / "d", *SIX) as region:
        assert region.call("POST", FIPS, {"metadata": {"name": "shop"}, "spec": {"address": "192.0.2.6"}})[0] == 201
    with running(tmp_path / "d", *OFFLINE, "--floating-cidr", "192.0.2.0/30") as region:
        assert line(region, "network").endswith("floating IPs 192.0.2.0/29")
        assert line(region, "pool") == (
            "pool        --floating-cidr 192.0.2.0/30 cannot be had, and the pool stays as it is:"
            ' must keep 192.0.2.6, which belongs to FloatingIP "shop"'
        )


def test_a_pool_that_somebodys_address_keeps_from_being_made_is_not_there(tmp_path: Path) -> None:
    with running(tmp_path / "d", *OFFLINE) as region:
        spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.3"]}
        assert region.call("POST", SERVICES, {"metadata": {"name": "old"}, "spec": spec})[0] == 201
        balanced(region, "web")
        assert why(region, "web").endswith('region "local": create one, as `pierhead up --floating-cidr` does')
    with running(tmp_path / "d", *SIX) as region:
        assert "floating IPs" not in line(region, "network")
        assert "covers 192.0.2.3, which Service default/old has in spec.externalIPs" in line(region, "pool")
        assert region.call("GET", POOLS)[1]["items"] == []
