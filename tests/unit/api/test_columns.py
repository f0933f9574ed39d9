"""Tables: the cells of each kind."""

from __future__ import annotations

from typing import Any

import pytest

from pierhead.api import Tree
from pierhead.api.columns import DEFAULT, duration, since
from pierhead.api.kind import Cell
from pierhead.api.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    FLOATING_IP,
    FLOATING_IP_POOL,
    KINDS,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    PROXY_STATUS,
    REPLICA_SET,
    SECRET,
    SERVICE,
)

BORN = "2026-01-01T00:00:00Z"
NOW = 1767225600.0 + 125
META = {"name": "x", "creationTimestamp": BORN}


def row(kind: Any, **fields: Any) -> list[Cell]:
    metadata = META | fields.pop("metadata", {})
    cells = kind.columns.cells({"metadata": metadata} | fields, NOW)
    assert len(cells) == len(kind.columns.columns)
    return list(cells)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "<invalid>"), (-1.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"), (659, "10m"),
     (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28799, "7h59m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
     (176400, "2d1h"), (691199, "7d23h"), (691200, "8d"), (63071999, "729d"), (63072000, "2y"), (63158400, "2y1d"),
     (252287999, "7y364d"), (252288000, "8y"), (400000000, "12y")],
)  # fmt: skip
def test_durations_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_time_nobody_knows() -> None:
    assert since(None, NOW) == since("", NOW) == "<unknown>"
    assert since("2026-01-01T00:00:00.500000Z", NOW) == "2m4s"


@pytest.mark.parametrize(
    ("spec", "cells"),
    [
        (
            {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"b": "2", "a": "1"}},
            ["ClusterIP", "10.96.0.1", "<none>", "80/TCP", "2m5s", "a=1,b=2"],
        ),
        (
            {"type": "NodePort", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.1", "192.0.2.2"],
             "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]},
            ["NodePort", "10.96.0.1", "192.0.2.1,192.0.2.2", "80:30080/TCP,53/UDP", "2m5s", "<none>"],
        ),
        ({"type": "ExternalName", "externalName": "a.b"}, ["ExternalName", "<none>", "a.b", "<none>", "2m5s", "<none>"]),
        ({"type": "LoadBalancer", "clusterIP": "None"}, ["LoadBalancer", "None", "<pending>", "<none>", "2m5s", "<none>"]),
    ],
)  # fmt: skip
def test_services(spec: Tree, cells: list[Cell]) -> None:
    assert row(SERVICE, spec=spec) == ["x", *cells]


def test_a_load_balancer_shows_what_it_was_given_and_then_its_external_addresses() -> None:
    ingress = [{"ip": "203.0.113.2"}, {"hostname": "lb.example.com"}, {"ip": "203.0.113.1"}]
    status = {"loadBalancer": {"ingress": ingress}}
    cells = row(SERVICE, spec={"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}, status=status)
    assert cells[3] == "203.0.113.1,203.0.113.2,lb.example.com,192.0.2.1"


def test_endpoints() -> None:
    addresses = [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]
    two = {"addresses": addresses, "ports": [{"port": 80}, {"port": 81}]}
    assert row(ENDPOINTS)[1] == "<none>"
    assert row(ENDPOINTS, subsets=[two])[1] == "192.0.2.1:80,[2001:db8::1]:80,192.0.2.1:81 + 1 more..."
    assert row(ENDPOINTS, subsets=[{"addresses": addresses}])[1] == "192.0.2.1,2001:db8::1"
    assert row(ENDPOINTS, subsets=[{"notReadyAddresses": addresses, "ports": [{"port": 80}]}])[1] == ""


def test_endpoint_slices() -> None:
    endpoints = [{"addresses": ["10.1.2.1", "10.1.2.2"]}, {"addresses": ["10.1.2.3"]}, {"addresses": ["10.1.2.4"]}]
    ports = [{"port": 80}, {"name": "a"}, {}]
    assert row(ENDPOINT_SLICE, addressType="IPv4", endpoints=endpoints, ports=ports)[1:4] == [
        "IPv4",
        "80,a,*",
        "10.1.2.1,10.1.2.2,10.1.2.3 + 1 more...",
    ]
    assert row(ENDPOINT_SLICE, addressType="IPv4", endpoints=None, ports=None)[2:4] == ["<unset>", "<unset>"]


def running(name: str = "c", *, ready: bool = True, **others: Any) -> Tree:
    return {"name": name, "ready": ready, "state": {"running": {}}} | others


def waiting(reason: str) -> Tree:
    return {"name": "c", "state": {"waiting": {"reason": reason}}}


def ended(code: int = 0, reason: str = "", signal: int = 0) -> Tree:
    return {"name": "c", "state": {"terminated": {"exitCode": code, "reason": reason, "signal": signal}}}


READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"phase": "Pending"}, ["0/1", "Pending", "0"]),
        ({"phase": "Running", "containerStatuses": [running()]}, ["1/1", "Running", "0"]),
        ({"phase": "Running", "containerStatuses": [running(ready=False)]}, ["0/1", "Running", "0"]),
        ({"phase": "Pending", "containerStatuses": [waiting("ErrImageNeverPull")]}, ["0/1", "ErrImageNeverPull", "0"]),
        ({"phase": "Succeeded", "containerStatuses": [ended(reason="Completed")]}, ["0/1", "Completed", "0"]),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, ["0/1", "ExitCode:3", "0"]),
        ({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}, ["0/1", "Signal:9", "0"]),
        ({"phase": "Failed", "reason": "Evicted"}, ["0/1", "Evicted", "0"]),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}, ["0/1", "SchedulingGated", "0"]),
        (
            {"phase": "Running", "containerStatuses": [ended(reason="Completed"), running()], "conditions": [READY]},
            ["1/1", "Running", "0"],
        ),
        ({"phase": "Running", "containerStatuses": [ended(reason="Completed"), running()]}, ["1/1", "NotReady", "0"]),
        (
            {"phase": "Running", "containerStatuses": [
                running(restartCount=2, lastState={"terminated": {"finishedAt": "2026-01-01T00:02:00Z"}})]},
            ["1/1", "Running", "2 (5s ago)"],
        ),
        ({"phase": "Running", "containerStatuses": [running(restartCount=2)]}, ["1/1", "Running", "2"]),
    ],
)  # fmt: skip
def test_pods(status: Tree, shown: list[Cell]) -> None:
    assert row(POD, spec={"containers": [{"name": "c"}]}, status=status)[1:4] == shown


@pytest.mark.parametrize(
    ("inits", "reason"),
    [([waiting("PodInitializing")], "Init:0/2"), ([ended(), running()], "Init:1/2"), ([waiting("CrashLoopBackOff")], "Init:CrashLoopBackOff"),
     ([ended(1)], "Init:ExitCode:1"), ([ended(1, "Error")], "Init:Error"), ([ended(137, signal=9)], "Init:Signal:9"), ([ended(), ended()], "Pending")],
)  # fmt: skip
def test_pods_that_initialize(inits: list[Tree], reason: str) -> None:
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
    assert row(POD, spec=spec, status={"phase": "Pending", "initContainerStatuses": inits})[2] == reason


def test_a_sidecar_counts_as_a_container() -> None:
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}
    statuses = {"initContainerStatuses": [running("s", started=True, restartCount=1)], "containerStatuses": [running()]}
    assert row(POD, spec=spec, status={"phase": "Running"} | statuses)[1:4] == ["2/2", "Running", "1"]


def test_a_pod_on_its_way_out() -> None:
    gone = {"deletionTimestamp": BORN}
    assert row(POD, metadata=gone, status={"phase": "Running"})[2] == "Terminating"
    assert row(POD, metadata=gone, status={"phase": "Succeeded"})[2] == "Succeeded"
    assert row(POD, metadata=gone, status={"phase": "Running", "reason": "NodeLost"})[2] == "Unknown"


def test_what_is_wide_about_a_pod() -> None:
    spec = {"nodeName": "n", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]}
    status = {"podIPs": [{"ip": "10.1.2.3"}], "conditions": [{"type": "a", "status": "True"}]}
    assert row(POD, spec=spec, status=status)[5:] == ["10.1.2.3", "n", "<none>", "1/2"]
    assert row(POD)[5:] == ["<none>"] * 4


def test_replica_sets() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "one"}, {"name": "d", "image": "two"}]}}
    selector = {"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["c", "b"]}]}
    spec = {"replicas": 3, "selector": selector, "template": template}
    cells = row(REPLICA_SET, spec=spec, status={"replicas": 2, "readyReplicas": 1})
    assert cells == ["x", 3, 2, 1, "2m5s", "c,d", "one,two", "a in (b,c),z=1"]


def test_nodes() -> None:
    labels = {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "192.0.2.2"}],
        "nodeInfo": {"kubeletVersion": "v1", "kernelVersion": "6", "architecture": "amd64"},
    }
    cells = row(NODE, metadata={"labels": labels}, spec={"unschedulable": True}, status=status)
    wide = ["192.0.2.1", "<none>", "<unknown>", "6 (amd64)", "<unknown>"]
    assert cells == ["x", "Ready,SchedulingDisabled", "edge,worker", "2m5s", "v1", *wide]
    assert row(NODE, status={"conditions": [{"type": "Ready", "status": "Unknown"}]})[1:3] == ["NotReady", "<none>"]
    assert row(NODE)[1] == "Unknown"


def test_events() -> None:
    event = {
        "type": "Warning",
        "reason": "R",
        "message": " m\n",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
        "source": {"component": "me", "host": "h"},
        "firstTimestamp": BORN,
        "lastTimestamp": "2026-01-01T00:02:00Z",
        "count": 3,
    }
    assert row(EVENT, **event) == ["5s", "Warning", "R", "pod/p", "spec", "me, h", "m", "2m5s", 3, "x"]
    series = {"count": 7, "lastObservedTime": "2026-01-01T00:02:04.000000Z"}
    modern = row(
        EVENT, eventTime="2026-01-01T00:02:00.000000Z", series=series, reportingComponent="r", reportingInstance="i"
    )
    assert modern == ["1s", "", "", "", "", "r, i", "", "5s", 7, "x"]


def test_the_small_kinds() -> None:
    assert row(NAMESPACE, status={"phase": "Active"}) == ["x", "Active", "2m5s"]
    assert row(CONFIG_MAP, data={"a": ""}, binaryData={"b": ""}) == ["x", 2, "2m5s"]
    assert row(SECRET, type="Opaque", data={"a": ""}) == ["x", "Opaque", 1, "2m5s"]
    assert row(LEASE, spec={"holderIdentity": "me"}) == ["x", "me", "2m5s"]
    status = {
        "nodes": ["a", "b"],
        "programmed": {"services": "5"},
        "refusals": [{}],
        "observedAt": "2026-01-01T00:02:00Z",
    }
    assert row(PROXY_STATUS, status=status) == ["x", "a,b", "5", "<none>", 1, "5s", "2m5s"]
    assert DEFAULT.cells({"metadata": META}, NOW) == ["x", "2m5s"]


def test_floating_ips_and_their_pools() -> None:
    owned = {"address": "192.0.2.7", "services": ["a/1", "a/2", "a/3", "a/4"]}
    assert row(FLOATING_IP, spec={"pool": "p", "displayName": "site"}, status=owned) == [
        "x", "192.0.2.7", "site", "a/1,a/2,a/3 + 1 more...", "p", "2m5s"
    ]  # fmt: skip
    assert row(FLOATING_IP, spec={"pool": "p"}) == ["x", "<pending>", "<none>", "<none>", "p", "2m5s"]
    waiting = {"pool": "p", "service": "a/1"}
    assert row(FLOATING_IP, spec=waiting) == ["x", "<pending>", "<none>", "a/1", "p", "2m5s"]
    pool = {"ranges": ["192.0.2.0/28", "192.0.2.64"], "region": "local", "zones": ["a", "b"]}
    assert row(FLOATING_IP_POOL, spec=pool, status={"used": 1, "free": 14}) == [
        "x", "192.0.2.0/28,192.0.2.64", 1, 14, "2m5s", "local", "a,b"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_empty_object_has_a_row_and_its_name_a_column(kind: Any) -> None:
    columns = kind.columns or DEFAULT
    place = [column.format for column in columns.columns].index("name")
    assert columns.cells({"metadata": META}, NOW)[place] == "x"
