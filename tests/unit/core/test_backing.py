"""Which pods stand behind a Service, where a port leads in them, and which change endpoints are written for."""

from typing import Any

import pytest

from builders import pod, service
from pierhead.api.views import Pod, ServicePort
from pierhead.core import backing


@pytest.mark.parametrize(
    ("spec", "selecting"),
    [({}, True), ({"selector": {}}, False), ({"type": "ExternalName", "externalName": "a.example"}, False)],
)
def test_controllers_look_after_services_with_a_selector_and_an_address(spec: dict[str, Any], selecting: bool) -> None:
    assert backing.is_selecting(service(**spec)) is selecting


def test_an_empty_selector_selects_nothing() -> None:
    assert not backing.selects(service(selector={}), {"app": "web"})
    assert not backing.selects(service(selector={"app": "web", "tier": "a"}), {"app": "web"})
    assert backing.selects(service(), {"app": "web", "more": "x"})


@pytest.mark.parametrize(
    ("found", "living", "terminating_too"),
    [
        (pod("a", "10.1.0.1"), True, True),
        (pod("a"), False, False),
        (pod("a", "10.1.0.1", phase="Failed"), False, False),
        (pod("a", "10.1.0.1", phase="Succeeded"), False, False),
        (pod("a", "10.1.0.1", ready=False), True, True),
        (pod("a", "10.1.0.1", deleted=True), False, True),
    ],
)
def test_candidates_have_an_address_and_have_not_ended(found: Pod, living: bool, terminating_too: bool) -> None:
    assert backing.is_candidate(found, terminating=False) is living
    assert backing.is_candidate(found, terminating=True) is terminating_too


def test_a_port_number_is_used_whether_or_not_a_container_declares_it() -> None:
    assert backing.target(pod("a"), ServicePort(80, target_port=9376)) == 9376


def test_a_port_name_is_looked_up_in_each_pod_with_its_protocol() -> None:
    named = pod(
        "a", ports=[{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    )
    assert backing.target(named, ServicePort(80, target_port="http")) == 8080
    assert backing.target(named, ServicePort(53, protocol="UDP", target_port="dns")) == 53
    assert backing.target(named, ServicePort(53, target_port="dns")) is None


def test_sidecars_have_ports_other_init_containers_have_none() -> None:
    declared = [{"name": "http", "containerPort": 7000}]
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": declared}
    port = ServicePort(80, target_port="http")
    assert backing.target(pod("a", initContainers=[sidecar]), port) == 7000
    assert backing.target(pod("a", initContainers=[{"name": "i", "ports": declared}]), port) is None


def test_a_pod_has_a_hostname_only_under_the_service_its_subdomain_names() -> None:
    assert backing.hostname(pod("a", hostname="h", subdomain="web"), service()) == "h"
    assert backing.hostname(pod("a", hostname="h", subdomain="other"), service()) == ""


def test_families_follow_the_service_then_its_address() -> None:
    assert backing.families(service(ipFamilies=["IPv6", "IPv4"])) == ("IPv6", "IPv4")
    assert backing.families(service(ipFamilies=[], clusterIP="fd00::7")) == ("IPv6",)
    assert backing.families(service(ipFamilies=[], clusterIP="None")) == ("IPv4", "IPv6")


def test_the_trigger_is_the_earliest_change_not_yet_written() -> None:
    known, time = backing.trigger({}, service(), [pod("a")])
    assert time == "2026-01-01T00:00:00Z"  # the Service itself is new
    known, time = backing.trigger(known, service(), [pod("a"), pod("b")])
    assert time == "2026-01-01T00:00:05Z"
    assert backing.trigger(known, service(), [pod("a")]) == (
        {"": "2026-01-01T00:00:00Z", "a": "2026-01-01T00:00:05Z"}, ""
    )  # fmt: skip
