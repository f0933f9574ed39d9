"""Source ranges of Services: a chain for each list of them, for as long as there are not too many that nobody has any more."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from compiled import Kernel
from forwarded import cluster_ip, pod
from pierhead.api.network import Range
from pierhead.forwarding import nftguards
from pierhead.forwarding.table import Backends, Endpoint, ForwardingTable, Frontend, PortKey, Rule, ServiceName


def table(*services: tuple[Range, ...]) -> ForwardingTable:
    """Services with these sources, on ports from 1 on."""
    key = PortKey(ServiceName("default", "web"), "http", "TCP", "IPv4")
    endpoints = (Endpoint(pod(1), 9376),)
    rules = {
        Frontend("TCP", cluster_ip(), port): Rule(key, "cluster", "Cluster", sources=sources)
        for port, sources in enumerate(services, 1)
    }
    return ForwardingTable(rules, {key: Backends(endpoints, (), endpoints)})


def ranges(number: int) -> tuple[Range, ...]:
    return (ip_network(f"198.51.100.{number}"),)


def guards(kernel: Kernel) -> list[str]:
    return [name for name in kernel.compiler.chains if name.startswith("guard")]


def test_services_with_the_same_ranges_have_one_guard_and_those_with_none_have_none() -> None:
    kernel = Kernel()
    kernel.hold(table(ranges(1), ranges(2), ranges(1), ()))
    assert guards(kernel) == ["guard1", "guard2"]
    assert len(kernel.rules.sets["guarded"].elements) == 3


def test_guards_that_nobody_needs_wear_a_compiler_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftguards, "IDLE_GUARDS", 3)
    kernel, worn = Kernel(), []
    for number in range(5):
        kernel.hold(table(ranges(number)))
        worn.append(kernel.compiler.worn)
    assert worn == [False, False, False, False, True]
    fresh = Kernel()
    fresh.hold(kernel.compiler.table())
    assert not fresh.compiler.worn
    assert guards(fresh) == ["guard1"]
