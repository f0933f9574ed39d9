"""Regions inside a test that have a network: pods run, Services answer, several do not meet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from e2e.backends import answers, eventually, pod, service
from pierhead.testing import Region, region

PORT = 8080
WEB = service("web", [{"port": PORT}], {"app": "web"})


@pytest.fixture
def loopback() -> Iterator[Region]:
    with region(network="loopback") as found:
        yield found


def reached(found: Region, name: str) -> str:
    """The address of a Service behind which the pod of that name answers."""
    made, _ = found.apply(WEB, pod(name, PORT, {"app": "web"}))
    address: str = made["spec"]["clusterIP"]
    eventually(lambda: answers(address, PORT).startswith(name), f"{name} behind {address}")
    return address


def test_a_service_reaches_a_pod_and_after_a_reset_another(loopback: Region) -> None:
    address = reached(loopback, "one")
    loopback.reset()
    assert answers(address, PORT) == ""
    reached(loopback, "two")


def test_floating_ips_are_to_be_had_from_the_first_moment(loopback: Region) -> None:
    fip = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIP", "metadata": {"name": "site"}}
    for _ in range(2):
        (made,) = loopback.apply(fip)
        address: str = made["status"]["address"]
        front = service("web", [{"port": PORT}], {"app": "web"}, type="LoadBalancer", loadBalancerIP="site")
        loopback.apply(front, pod("one", PORT, {"app": "web"}))
        eventually(partial(answers, address, PORT), f"one behind {address}")
        loopback.reset()


def test_two_regions_share_the_machine(loopback: Region) -> None:
    with region(network="loopback") as other:
        assert reached(loopback, "mine").split(".")[1] != reached(other, "theirs").split(".")[1]


def test_a_pod_is_ready_when_its_node_says_so(loopback: Region) -> None:
    loopback.apply(pod("one", PORT, {"app": "web"}))
    with pytest.raises(ValueError, match="a node of this region runs it"):
        loopback.ready("one")
