"""Who a client is given, by a clock that the test moves."""

from __future__ import annotations

from random import Random

import pytest

from pierhead.dataplane import balancer as module
from pierhead.dataplane.balancer import Balancer
from pierhead.forwarding.table import Backends, Endpoint

A, B, C = (Endpoint(f"127.64.0.{number}", 80) for number in (1, 2, 3))


def held(affinity: int = 0, *endpoints: Endpoint) -> Balancer:
    found = Balancer(Random(1))
    found.update(Backends(cluster=endpoints or (A, B, C), affinity=affinity))
    return found


def test_each_endpoint_is_as_likely_as_the_others() -> None:
    balancer = held()
    picked = [balancer.pick("Cluster", "c", 0.0) for _ in range(3000)]
    assert all(900 < picked.count(endpoint) < 1100 for endpoint in (A, B, C))


def test_what_was_tried_is_not_picked_again() -> None:
    balancer = held()
    assert balancer.pick("Cluster", "c", 0.0, (A, C)) == B
    assert balancer.pick("Cluster", "c", 0.0, (A, B, C)) is None


def test_no_endpoint_no_choice() -> None:
    assert Balancer(Random(1)).pick("Cluster", "c", 0.0) is None
    assert held().pick("Local", "c", 0.0) is None


def test_the_timeout_slides_with_each_connection_and_then_runs_out() -> None:
    balancer = held(10)
    for now in (0.0, 9.0, 18.0):
        balancer.keep("c", B, now)
    assert {balancer.pick("Cluster", "c", 27.9) for _ in range(50)} == {B}
    assert {balancer.pick("Cluster", "c", 28.0) for _ in range(50)} == {A, B, C}


def test_a_changed_timeout_keeps_the_clients() -> None:
    balancer = held(10)
    balancer.keep("c", B, 0.0)
    balancer.update(Backends(cluster=(A, B, C), affinity=100))
    assert {balancer.pick("Cluster", "c", 50.0) for _ in range(50)} == {B}


def test_a_sticky_client_is_not_sent_twice_to_an_endpoint_that_did_not_answer() -> None:
    balancer = held(10)
    balancer.keep("c", B, 0.0)
    assert balancer.pick("Cluster", "c", 1.0, (B,)) in (A, C)


def test_under_policy_local_a_client_keeps_only_a_local_endpoint() -> None:
    balancer = held(10)
    balancer.update(Backends(cluster=(A, B), local=(A,), affinity=10))
    balancer.keep("c", B, 0.0)
    assert balancer.pick("Local", "c", 1.0) == A


def test_the_client_that_was_quiet_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS", 2)
    balancer = held(10)
    for client in ("old", "new", "old", "newest"):
        balancer.keep(client, B, 0.0)
    assert {balancer.pick("Cluster", "old", 1.0) for _ in range(50)} == {B}
    assert len({balancer.pick("Cluster", "new", 1.0) for _ in range(50)}) == 3
