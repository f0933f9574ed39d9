"""Whatever a body says, a kind's rules refuse it or take it; they never break."""

from __future__ import annotations

import copy
import json
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pierhead.api import Tree, codec
from pierhead.api.kind import Kind
from pierhead.api.kinds import KINDS
from pierhead.api.managedfields import record
from pierhead.api.network import Network
from pierhead.api.schema import message
from pierhead.api.strategy import Write
from pierhead.errors import ApiError

NETWORK = Network("none", (IPv4Network("10.96.0.0/16"),))
NOW = "2026-01-02T03:04:05Z"

CONTAINER = {
    "name": "c",
    "image": "host",
    "command": ["x"],
    "ports": [{"name": "http", "containerPort": 80, "hostPort": 80}],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
    "readinessProbe": {"httpGet": {"port": 80}},
    "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "securityContext": {"runAsUser": 1},
}
POD_SPEC = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "i", "image": "host"}],
    "volumes": [{"name": "v", "configMap": {"name": "c"}}],
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "readinessGates": [{"conditionType": "x"}],
    "nodeSelector": {"a": "b"},
}
STATE = {"running": {"startedAt": NOW}, "terminated": {"exitCode": 1}, "waiting": {"reason": "x"}}
POD_STATUS = {
    "phase": "Running",
    "podIP": "10.1.2.3",
    "podIPs": [{"ip": "10.1.2.3"}],
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "c", "state": STATE, "lastState": STATE, "restartCount": 3}],
    "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
NODE_STATUS = {
    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
    "capacity": {"cpu": "2"},
    "conditions": [{"type": "Ready", "status": "True"}],
    "nodeInfo": {"kernelVersion": "6", "architecture": "amd64"},
}
EXAMPLES: dict[str, Tree] = {
    "Pod": {"spec": POD_SPEC, "status": POD_STATUS},
    "ReplicaSet": {
        "spec": {
            "replicas": 1,
            "selector": SELECTOR,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC},
        },
        "status": {"replicas": 1, "readyReplicas": 1},
    },
    "Node": {
        "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDRs": ["10.1.0.0/24"]},
        "status": NODE_STATUS,
    },
    "Namespace": {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    "ConfigMap": {"data": {"a": "1"}, "binaryData": {"b": "AA=="}, "immutable": True},
    "Secret": {"data": {"a": "YQ=="}, "stringData": {"b": "x"}, "type": "Opaque"},
    "ServiceAccount": {"secrets": [{"name": "x"}]},
    "Event": {
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
        "series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:05.000000Z"},
        "source": {"component": "x"},
        "firstTimestamp": NOW,
    },
    "Lease": {"spec": {"holderIdentity": "x", "leaseDurationSeconds": 5, "leaseTransitions": 1}},
    "ProxyStatus": {
        "spec": {"want": {"services": "5"}},
        "status": {"nodes": ["a"], "programmed": {"services": "4"}, "refusals": [{"name": "x"}], "observedAt": NOW},
    },
}
ODD: Any = st.sampled_from(
    [
        None,
        "",
        "x",
        "A_b",
        "-",
        "1",
        0,
        -1,
        70000,
        2**31 - 1,
        True,
        False,
        {},
        [],
        [None],
        [{}],
        ["x"],
        {"": ""},
        {"a": None},
    ]
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [path for step, below in steps for path in paths(below, (*here, step))]


def mangled(example: Tree, changes: list[tuple[int, Any]]) -> Tree:
    tree = copy.deepcopy(example)
    for choice, value in changes:
        places = paths(tree)
        if not places:
            break
        *holder, last = places[choice % len(places)]
        target = tree
        for step in holder:
            target = target[step]
        target[last] = copy.deepcopy(value)
    return tree


def written(kind: Kind, body: Tree) -> Tree | None:
    """The object as the write path makes it; None when it was refused."""
    metadata = {"name": "x"} | ({"namespace": "n"} if kind.namespaced else {})
    whole = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata} | body
    try:
        tree = codec.decode(kind, json.dumps(whole).encode(), "json").tree
        codec.complete(kind, tree)
    except ApiError:
        return None
    return tree


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), ODD), max_size=4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in EXAMPLES], ids=lambda kind: kind.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=CHANGES, second=CHANGES, subresource=st.sampled_from(["", "status"]))
def test_a_create_and_an_update_of_anything(kind: Kind, first: Any, second: Any, subresource: str) -> None:
    example, write = EXAMPLES[kind.name], Write(NOW, NETWORK)
    old, new = written(kind, mangled(example, first)), written(kind, mangled(example, second))
    if old is None or new is None:
        return
    schema = message(kind.message)
    try:
        record(old, None, manager="a", operation="Update", subresource="", api_version="v1", now=NOW, message=schema)
        kind.strategy.prepare_create(old, write)
        refused = kind.strategy.validate(old, write)
        kind.strategy.warnings(old, None)
        changing = Write(NOW, NETWORK, subresource=subresource)
        record(
            new,
            old,
            manager="b",
            operation="Update",
            subresource=subresource,
            api_version="v1",
            now=NOW,
            message=schema,
        )
        kind.strategy.prepare_update(new, old, changing)
        refused += kind.strategy.validate_update(new, old, changing)
        kind.strategy.warnings(new, old)
    except ApiError:
        return
    if refused:
        return
    for obj in (old, new):
        stored = json.loads(codec.encode(kind, obj))
        assert all(isinstance(value, str) for value in kind.strategy.selectable(stored).values())
        if kind.columns is not None:
            assert len(kind.columns.cells(stored, 1e9)) == len(kind.columns.columns)
