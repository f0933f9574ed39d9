"""The EndpointSlices of a Service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from builders import node, pod, service
from pierhead.api.views import EndpointConditions, EndpointPort, EndpointSlice, Pod, Service
from pierhead.core import slices
from pierhead.core.slices import Decision

NODES = {"n1": node("n1", "za"), "n2": node("n2", "")}


def decide(wanted: Service, pods: Sequence[Pod], existing: Sequence[EndpointSlice] = ()) -> Decision:
    return slices.decide(wanted, pods, NODES.get, existing)


def only(wanted: Service, pods: Sequence[Pod]) -> EndpointSlice:
    (found,) = decide(wanted, pods).plan.create
    return found


@pytest.mark.parametrize(
    ("state", "publish", "conditions"),
    [
        ({}, False, (True, True, False)),
        ({"ready": False}, False, (False, False, False)),
        ({"deleted": True}, False, (False, True, True)),
        ({"deleted": True, "ready": False}, False, (False, False, True)),
        ({"deleted": True, "ready": False}, True, (True, False, True)),
        ({"ready": False}, True, (True, False, False)),
    ],
)
def test_conditions(state: dict[str, Any], publish: bool, conditions: tuple[bool, bool, bool]) -> None:
    found = only(service(publishNotReadyAddresses=publish), [pod("a", "10.1.0.1", **state)])
    assert [endpoint.conditions for endpoint in found.endpoints or ()] == [EndpointConditions(*conditions)]


def test_an_endpoint_says_which_pod_it_is_and_where() -> None:
    (endpoint,) = only(service(), [pod("a", "10.1.0.1", hostname="h", subdomain="web")]).endpoints or ()
    assert (endpoint.node_name, endpoint.zone, endpoint.hostname) == ("n1", "za", "h")
    assert endpoint.target_ref is not None
    assert endpoint.target_ref.name == "a"
    (elsewhere,) = only(service(), [pod("b", "10.1.0.1", node="n2")]).endpoints or ()
    assert elsewhere.zone is None


def test_a_pod_on_a_missing_node_waits_unless_unready_addresses_are_published() -> None:
    lost = [pod("a", "10.1.0.1", node="gone")]
    found = decide(service(), lost)
    assert found.plan.create[0].endpoints is None
    assert len(only(service(publishNotReadyAddresses=True), lost).endpoints or ()) == 1


def test_labels_are_the_services_but_reserved_ones() -> None:
    found = only(
        service(labels={"a": "b", "kubernetes.io/service-name": "x", "service.kubernetes.io/headless": "x"}), []
    )
    assert found.metadata.labels == {
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert only(service(clusterIP="None"), []).metadata.labels["service.kubernetes.io/headless"] == ""


def test_one_set_of_slices_per_family_and_a_placeholder_where_there_is_nobody() -> None:
    found = decide(service(ipFamilies=["IPv4", "IPv6"]), [pod("a", "10.1.0.1")])
    assert [(made.address_type, made.endpoints is None) for made in found.plan.create] == [
        ("IPv4", False),
        ("IPv6", True),
    ]


def test_slices_of_a_family_no_longer_wanted_are_deleted() -> None:
    before = decide(service(ipFamilies=["IPv4", "IPv6"]), [pod("a", "10.1.0.1,fd00:1::1")]).plan.create
    after = decide(service(), [pod("a", "10.1.0.1,fd00:1::1")], before).plan
    assert (after.create, after.update) == ((), ())
    assert [gone.address_type for gone in after.delete] == ["IPv6"]


def test_a_named_port_makes_a_slice_for_each_number_and_one_for_pods_without_it() -> None:
    named = service(ports=[{"name": "w", "port": 80, "targetPort": "http"}])
    pods = [pod("a", "10.1.0.1", ports=[{"name": "http", "containerPort": 8080}]), pod("b", "10.1.0.2")]
    assert [made.ports for made in decide(named, pods).plan.create] == [(EndpointPort("w", "TCP", 8080),), None]


def test_headless_without_ports_has_an_empty_list_of_them() -> None:
    assert only(service(clusterIP="None", ports=[]), [pod("a", "10.1.0.1")]).ports == ()


@pytest.mark.parametrize(
    ("way", "hints"),
    [(None, None), ("PreferSameZone", ("za", "")), ("PreferClose", ("za", "")), ("PreferSameNode", ("za", "n1"))],
)
def test_traffic_distribution_hints_ready_endpoints_for_their_own_place(
    way: str | None, hints: tuple[str, str] | None
) -> None:
    found = only(service(trafficDistribution=way), [pod("a", "10.1.0.1"), pod("b", "10.1.0.2", ready=False)])
    ready, other = found.endpoints or ()
    assert other.hints is None
    if hints is None:
        assert ready.hints is None
    else:
        assert ready.hints is not None
        assert [zone.name for zone in ready.hints.for_zones] == [hints[0]]
        assert [on.name for on in ready.hints.for_nodes] == [name for name in hints[1:] if name]


def test_the_trigger_time_is_written_and_removed() -> None:
    found = only(service(), [])
    written = slices.triggered(found, "2026-01-01T00:00:00Z")
    assert written.metadata.annotations == {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}
    assert slices.triggered(written, "").metadata.annotations == {}
