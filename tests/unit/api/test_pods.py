"""Pods: what the server adds to them, and what may change."""

from __future__ import annotations

import copy
from ipaddress import IPv4Network
from typing import Any

import pytest

from pierhead.api import Tree, codec
from pierhead.api.kinds import POD
from pierhead.api.network import Network
from pierhead.api.pods import qos_class
from pierhead.api.strategy import Write
from pierhead.errors import ApiError

WRITE = Write("2026-01-02T03:04:05Z", Network("none", (IPv4Network("10.96.0.0/16"),)))
STATUS = Write(WRITE.now, WRITE.network, subresource="status")


def pod(**spec: Any) -> Tree:
    tree: Tree = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "host"}]} | spec,
    }  # fmt: skip
    codec.complete(POD, tree)
    return tree


def created(**spec: Any) -> Tree:
    tree = pod(**spec)
    POD.strategy.prepare_create(tree, WRITE)
    return tree


def changed(old: Tree, *, status: Tree | None = None, **spec: Any) -> tuple[Tree, list[str]]:
    """The pod after an update of its spec, or of its status, and why it was refused."""
    write, new = (WRITE if status is None else STATUS), copy.deepcopy(old)
    new["spec"] |= spec
    new["status"] |= status or {}
    codec.complete(POD, new)
    POD.strategy.prepare_update(new, old, write)
    return new, [f"{cause.field}: {cause.message}" for cause in POD.strategy.validate_update(new, old, write)]


def test_a_new_pod_is_pending_whatever_it_says() -> None:
    tree = pod() | {"status": {"phase": "Running"}}
    POD.strategy.prepare_create(tree, WRITE)
    assert tree["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert tree["metadata"]["generation"] == 1
    assert (tree["spec"]["priority"], tree["spec"]["preemptionPolicy"]) == (0, "PreemptLowerPriority")


def test_it_stays_five_minutes_on_a_node_that_is_gone() -> None:
    rest = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    away = [{"key": f"node.kubernetes.io/{name}"} | rest for name in ("not-ready", "unreachable")]
    assert created()["spec"]["tolerations"] == away
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    assert created(tolerations=[own])["spec"]["tolerations"] == [own, away[1]]
    everything = {"operator": "Exists"}
    assert created(tolerations=[everything])["spec"]["tolerations"] == [everything]


def test_a_runtime_class_nobody_knows_is_refused() -> None:
    with pytest.raises(ApiError) as failure:
        created(runtimeClassName="none")
    assert failure.value.message == 'pods "p" is forbidden: pod rejected: RuntimeClass "none" not found'
    assert created(runtimeClassName="external")["spec"]["runtimeClassName"] == "external"


@pytest.mark.parametrize(
    ("resources", "found"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "0"}}], "BestEffort"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}, {}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[Tree], found: str) -> None:
    assert qos_class({"containers": [{"resources": given} for given in resources]}) == found


def test_an_image_a_deadline_and_new_tolerations_may_change() -> None:
    old = created()
    new, refused = changed(old, containers=[old["spec"]["containers"][0] | {"image": "two"}])
    assert (refused, new["metadata"]["generation"]) == ([], 2)
    new, refused = changed(new, activeDeadlineSeconds=5)
    assert (refused, new["metadata"]["generation"]) == ([], 3)
    new, refused = changed(new, tolerations=[*new["spec"]["tolerations"], {"key": "a", "operator": "Exists"}])
    assert (refused, new["metadata"]["generation"]) == ([], 4)
    new, refused = changed(new)
    assert (refused, new["metadata"]["generation"]) == ([], 4)


def test_nothing_else_of_the_spec_may() -> None:
    old = created(terminationGracePeriodSeconds=5)
    for change in ({"nodeName": "n"}, {"restartPolicy": "Never"}, {"terminationGracePeriodSeconds": 1}):
        _, (text,) = changed(old, **change)
        assert text.startswith(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        )
    assert text.endswith("\n-terminationGracePeriodSeconds: 5\n+terminationGracePeriodSeconds: 1")
    assert changed(created(terminationGracePeriodSeconds=-5), terminationGracePeriodSeconds=1)[1] == []


def test_a_container_neither_comes_nor_goes() -> None:
    two = [{"name": "c", "image": "host"}, {"name": "d", "image": "host"}]
    assert changed(created(), containers=two)[1] == [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ]


def test_a_toleration_only_changes_its_seconds() -> None:
    old = created(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}])
    assert changed(old, tolerations=[{**old["spec"]["tolerations"][0], "tolerationSeconds": 2}])[1] == []
    assert changed(old, tolerations=[])[1] == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_a_gated_pod_says_so_from_the_beginning_and_only_loses_gates() -> None:
    old = created(schedulingGates=[{"name": "a"}, {"name": "b"}])
    (condition,) = old["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")
    assert changed(old, schedulingGates=[{"name": "b"}])[1] == []
    assert changed(old, schedulingGates=[])[1] == []
    assert changed(old, schedulingGates=[{"name": "b"}, {"name": "c"}])[1] == [
        "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c'"
    ]
    assert "conditions" not in created()["status"]


def test_a_deadline_only_comes_nearer() -> None:
    old = created(activeDeadlineSeconds=5)
    assert changed(old, activeDeadlineSeconds=4)[1] == []
    path = "spec.activeDeadlineSeconds: Invalid value"
    assert changed(old, activeDeadlineSeconds=6)[1] == [f"{path}: 6: must be less than or equal to previous value"]
    assert changed(old, activeDeadlineSeconds=None)[1] == [
        f"{path}: null: must not update from a positive integer to nil value"
    ]


def test_the_status_is_written_through_its_subresource_only() -> None:
    old = created()
    new, refused = changed(old, status={"phase": "Running", "qosClass": "Guaranteed"}, nodeName="x")
    assert refused == []
    assert new["spec"] == old["spec"]
    assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert new["metadata"]["generation"] == 1
    assert changed(new, activeDeadlineSeconds=5)[0]["status"] == new["status"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"podIP": "10.1.2.3"}, ("10.1.2.3", ["10.1.2.3"])),
        ({"podIPs": [{"ip": "10.1.2.3"}]}, ("10.1.2.3", ["10.1.2.3"])),
        ({"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.4"}, {"ip": "fd00::1"}]}, ("10.1.2.3", ["10.1.2.3"])),
        (
            {"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}]},
            ("10.1.2.3", ["10.1.2.3", "fd00::1"]),
        ),
    ],
)
def test_the_address_and_the_addresses_agree(given: Tree, found: tuple[str, list[str]]) -> None:
    status = changed(created(), status=given)[0]["status"]
    assert (status["podIP"], [one["ip"] for one in status["podIPs"]]) == found


def test_a_status_that_makes_no_sense() -> None:
    old = created()
    assert changed(old, status={"podIP": "x"})[1] == [
        'status.podIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    ]
    two = [{"ip": "10.1.2.3"}, {"ip": "10.1.2.4"}]
    assert changed(old, status={"podIPs": two})[1] == [
        (
            'status.podIPs: Invalid value: [{"ip":"10.1.2.3"},{"ip":"10.1.2.4"}]: '
            "may specify no more than one IP for each IP family"
        )
    ]
    assert changed(old, status={"nominatedNodeName": "A"})[1][0].startswith(
        'status.nominatedNodeName: Invalid value: "A"'
    )
    assert changed(old, status={"conditions": [{"type": "a b"}]})[1][0].startswith("status.conditions[0].Type: ")


def test_field_selectors() -> None:
    fields = POD.strategy.selectable(created(nodeName="n"))
    assert (fields["spec.nodeName"], fields["status.phase"], fields["spec.hostNetwork"]) == ("n", "Pending", "false")


@pytest.mark.parametrize("cost", ["", "x", "+1", "01", "1.5", "2147483648", "9" * 5000])
def test_the_cost_of_a_deletion_is_a_number(cost: str) -> None:
    pod = created()
    pod["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": cost}
    (cause,) = POD.strategy.validate(pod, WRITE)
    assert cause.field == "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]"
    assert cause.message.endswith(": must be a 32bit integer")
    for good in ("-2147483648", "0", "2147483647"):
        pod["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": good}
        assert POD.strategy.validate(pod, WRITE) == []
