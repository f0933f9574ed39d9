"""The kinds whose rules fit on a page: each rule once, in Kubernetes' words."""

from __future__ import annotations

import copy
from base64 import b64encode
from ipaddress import IPv4Network
from typing import Any

import pytest

from pierhead.api import Tree, codec
from pierhead.api.kind import Kind
from pierhead.api.kinds import CONFIG_MAP, EVENT, LEASE, NAMESPACE, NODE, PROXY_STATUS, REPLICA_SET, SECRET
from pierhead.api.network import Network
from pierhead.api.strategy import Write

NETWORK = Network("none", (IPv4Network("10.96.0.0/16"),))
NOW = "2026-01-02T03:04:05Z"
KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def created(kind: Kind, **fields: Any) -> tuple[Tree, list[str]]:
    """The new object, and why it was refused."""
    metadata = {"name": "x"} | ({"namespace": "n"} if kind.namespaced else {}) | fields.pop("metadata", {})
    obj: Tree = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata} | fields
    codec.complete(kind, obj)
    kind.strategy.prepare_create(obj, Write(NOW, NETWORK))
    return obj, texts(kind.strategy.validate(obj, Write(NOW, NETWORK)))


def changed(kind: Kind, old: Tree, subresource: str = "", **fields: Any) -> tuple[Tree, list[str]]:
    obj, write = copy.deepcopy(old) | fields, Write(NOW, NETWORK, subresource=subresource)
    codec.complete(kind, obj)
    kind.strategy.prepare_update(obj, old, write)
    return obj, texts(kind.strategy.validate_update(obj, old, write))


def texts(causes: list[Any]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]


# -- ConfigMaps and Secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [("a b", KEY_TEXT), ("", KEY_TEXT), (".", "must not be '.'"), ("..", "must not be '..'"), ("..a", "must not start with '..'"),
     ("a" * 254, "must be no more than 253 characters")],
)  # fmt: skip
def test_a_key_can_be_the_name_of_a_file(key: str, text: str) -> None:
    assert created(CONFIG_MAP, data={key: ""})[1] == [f'data[{key}]: Invalid value: "{key}": {text}']
    assert created(SECRET, data={key: ""})[1] == [f'data[{key}]: Invalid value: "{key}": {text}']


def test_a_key_is_text_or_bytes() -> None:
    assert created(CONFIG_MAP, data={"a": ""}, binaryData={"a": "AA=="})[1] == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]


def test_a_mebibyte_is_enough() -> None:
    assert created(CONFIG_MAP, data={"a": "x" * 2**20})[1] == []
    assert created(CONFIG_MAP, data={"a": "x" * 2**20}, binaryData={"b": "AA=="})[1] == [
        ": Too long: may not be more than 1048576 bytes"
    ]
    assert created(SECRET, stringData={"a": "x" * 2**20})[1] == []


@pytest.mark.parametrize("kind", [CONFIG_MAP, SECRET], ids=lambda kind: kind.name)
def test_what_is_marked_immutable_stays(kind: Kind) -> None:
    old, _ = created(kind, data={"a": "YQ=="}, immutable=True)
    text = "Forbidden: field is immutable when `immutable` is set"
    assert changed(kind, old, metadata=old["metadata"] | {"labels": {"a": "b"}})[1] == []
    assert changed(kind, old, data={"a": "Yg=="})[1] == [f"data: {text}"]
    assert changed(kind, old, immutable=False)[1] == [f"immutable: {text}"]


def test_plain_text_becomes_data() -> None:
    secret, refused = created(SECRET, data={"a": "YQ==", "c": "Yw=="}, stringData={"a": "over", "b": "new"})
    assert refused == []
    assert secret["data"] == {"a": "b3Zlcg==", "b": "bmV3", "c": "Yw=="}
    assert ("stringData" in secret, secret["type"]) == (False, "Opaque")


@pytest.mark.parametrize(
    ("kind", "data", "refused"),
    [
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/tls", {"tls.crt": ""}, ["data[tls.key]: Required value"]),
        ("kubernetes.io/basic-auth", {}, ["data[username]: Required value", "data[password]: Required value"]),
        ("kubernetes.io/basic-auth", {"password": ""}, []),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "{}"}, []),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": "a"},
            [
                (
                    'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
                    "invalid character 'a' looking for beginning of value"
                )
            ],
        ),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("example.com/own", {}, []),
    ],
)
def test_a_type_says_which_keys_a_secret_has(kind: str, data: dict[str, str], refused: list[str]) -> None:
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    assert created(SECRET, type=kind, data=encoded)[1] == refused


def test_the_type_of_a_secret_stays() -> None:
    old, _ = created(SECRET)
    assert changed(SECRET, old, type="x")[1] == ['type: Invalid value: "x": field is immutable']


# -- Events and Leases --------------------------------------------------------------------------------------


def test_an_event_lives_where_its_object_does() -> None:
    elsewhere = "involvedObject.namespace: Invalid value: {}: does not match event.namespace"
    assert created(EVENT, involvedObject={"namespace": "n"})[1] == []
    assert created(EVENT, involvedObject={"namespace": "m"})[1] == [elsewhere.format('"m"')]
    assert created(EVENT)[1] == [elsewhere.format('""')]
    assert created(EVENT, metadata={"namespace": "default"})[1] == []


def test_an_event_with_a_time_names_who_did_what() -> None:
    named = {"reportingComponent": "a", "reportingInstance": "b", "action": "c", "reason": "d"}
    modern = {"eventTime": "2026-01-02T03:04:05.000000Z", "involvedObject": {"namespace": "n"}}
    assert created(EVENT, **modern, **named)[1] == []
    refused = created(EVENT, **modern)[1]
    assert refused[0] == "reportingController: Required value"
    assert refused[-3:] == ["reportingInstance: Required value", "action: Required value", "reason: Required value"]
    assert created(EVENT, **modern, **named | {"reason": "x" * 129}, message="x" * 1025)[1] == [
        'reason: Invalid value: "": can have at most 128 characters',
        'message: Invalid value: "": can have at most 1024 characters',
    ]


def test_events_are_found_by_their_object() -> None:
    event = {"involvedObject": {"name": "web", "uid": "u"}, "reportingComponent": "r", "type": "Normal"}
    fields = EVENT.strategy.selectable(event)
    assert (fields["involvedObject.name"], fields["involvedObject.kind"], fields["source"]) == ("web", "", "r")


def test_a_lease_lasts() -> None:
    assert created(LEASE, spec={"leaseDurationSeconds": 0, "leaseTransitions": -1})[1] == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]
    lease, refused = created(LEASE, spec={"strategy": "x", "preferredHolder": "y", "holderIdentity": "z"})
    assert (lease["spec"], refused) == ({"holderIdentity": "z"}, [])


# -- Namespaces and Nodes -----------------------------------------------------------------------------------


def test_a_namespace_is_active_and_held_by_its_content() -> None:
    namespace, refused = created(NAMESPACE, spec={"finalizers": ["example.com/x"]}, status={"phase": "Terminating"})
    assert refused == []
    assert namespace["spec"] == {"finalizers": ["example.com/x", "kubernetes"]}
    assert namespace["status"] == {"phase": "Active"}
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}


def test_the_label_of_a_namespace_is_its_name() -> None:
    old, _ = created(NAMESPACE)
    labels = {"kubernetes.io/metadata.name": "other", "a": "b"}
    new, _ = changed(NAMESPACE, old, metadata={"name": "x", "labels": labels}, spec={}, status={"phase": "Terminating"})
    assert new["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x", "a": "b"}
    assert (new["spec"], new["status"]) == (old["spec"], old["status"])


def test_finalizers_of_a_namespace_change_through_finalize() -> None:
    old, _ = created(NAMESPACE)
    assert changed(NAMESPACE, old, "finalize", spec={"finalizers": []})[0]["spec"] == {"finalizers": []}
    assert changed(NAMESPACE, old, "finalize", spec={"finalizers": ["nodomain", "kubernetes"]})[1] == [
        'spec.finalizers[0]: Invalid value: "nodomain": name is neither a standard finalizer name nor is it fully qualified'
    ]


def test_the_phase_of_a_namespace_says_whether_it_is_going() -> None:
    old, _ = created(NAMESPACE)
    text = "status.Phase: Invalid value: {}: may only be {} if `deletionTimestamp` is {}"
    assert changed(NAMESPACE, old, "status", status={"phase": "Active", "conditions": []})[1] == []
    assert changed(NAMESPACE, old, "status", status={"phase": "Terminating"})[1] == [
        text.format('"Terminating"', "'Active'", "empty")
    ]
    old["metadata"]["deletionTimestamp"] = NOW
    assert changed(NAMESPACE, old, "status", status={"phase": "Active"})[1] == [
        text.format('"Active"', "'Terminating'", "not empty")
    ]


def test_a_node_is_born_tainted_and_with_its_status() -> None:
    node, refused = created(NODE, status={"capacity": {"cpu": "2"}})
    assert refused == []
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert node["status"]["allocatable"] == {"cpu": "2"}
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "value": "x"}
    assert created(NODE, spec={"taints": [taint]})[0]["spec"]["taints"] == [taint]


def test_a_node_and_its_status_are_written_apart() -> None:
    old, _ = created(NODE, status={"capacity": {"cpu": "2"}})
    assert changed(NODE, old, status={})[0]["status"] == old["status"]
    new, _ = changed(NODE, old, "status", status={"capacity": {"cpu": "3"}}, spec={})
    assert (new["spec"], new["status"]["capacity"]) == (old["spec"], {"cpu": "3"})


def test_the_range_and_the_ranges_of_a_node_agree() -> None:
    for spec in ({"podCIDR": "10.1.0.0/24"}, {"podCIDRs": ["10.1.0.0/24"]}):
        node, _ = created(NODE, spec=spec)
        assert (node["spec"]["podCIDR"], node["spec"]["podCIDRs"]) == ("10.1.0.0/24", ["10.1.0.0/24"])
    node, _ = created(NODE, spec={"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.2.0.0/24", "fd00::/64"]})
    assert node["spec"]["podCIDRs"] == ["10.1.0.0/24"]


def test_taints_and_ranges_of_a_node() -> None:
    refused = created(NODE, spec={"taints": [{"key": "a", "effect": "X"}, {"key": "b"}], "podCIDRs": ["10.1.0.1/24"]})[
        1
    ]
    assert refused == [
        'spec.taints[0].effect: Unsupported value: "X": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
        "spec.taints[1].effect: Required value",
        'spec.podCIDRs[0]: Invalid value: "10.1.0.1/24": must not have bits set beyond the prefix length',
    ]
    old, _ = created(NODE, spec={"podCIDRs": ["10.1.0.0/24"], "providerID": "a"})
    assert [text.partition(":")[0] for text in changed(NODE, old, spec={})[1]] == ["spec.podCIDRs", "spec.providerID"]


# -- ReplicaSets and ProxyStatuses --------------------------------------------------------------------------


def replica_set(template: Tree | None = None, **spec: Any) -> Tree:
    labelled = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    return {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": labelled | (template or {})} | spec


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        (replica_set(), []),
        (replica_set(replicas=-1), ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            replica_set(selector={"matchLabels": {"x": "y"}}),
            ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`'],
        ),
        (
            {"template": {}},
            [
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                "spec.template.spec.containers: Required value",
            ],
        ),
        (replica_set(selector={}), ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (
            replica_set(selector={"matchExpressions": [{"key": "a", "operator": "Foo"}]}),
            [
                'spec.selector.matchExpressions[0].operator: Invalid value: "Foo": not a valid selector operator',
                'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Foo"}]}: invalid label selector',
            ],
        ),
        (
            replica_set({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "host"}]}}),
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
        ),
    ],
)
def test_a_replica_set(spec: Tree, refused: list[str]) -> None:
    assert created(REPLICA_SET, spec=spec)[1] == refused


def test_a_replica_set_counts_changes_of_its_spec() -> None:
    old, _ = created(REPLICA_SET, spec=replica_set(), status={"replicas": 5})
    assert (old["status"], old["metadata"]["generation"]) == ({"replicas": 0}, 1)
    new, _ = changed(REPLICA_SET, old, spec=old["spec"] | {"replicas": 2}, status={"replicas": 7})
    assert (new["status"], new["metadata"]["generation"]) == ({"replicas": 0}, 2)
    assert changed(REPLICA_SET, old)[0]["metadata"]["generation"] == 1
    assert changed(REPLICA_SET, old, spec=replica_set(selector={"matchLabels": {}}))[1][-1] == (
        'spec.selector: Invalid value: {"matchLabels":{}}: field is immutable'
    )


def test_the_counts_of_a_replica_set_fit_together() -> None:
    old, _ = created(REPLICA_SET, spec=replica_set())
    counts = {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}
    assert changed(REPLICA_SET, old, "status", status=counts)[1] == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    ]


def test_a_proxy_reports_and_others_wait() -> None:
    old, refused = created(PROXY_STATUS, spec={"want": {"services": "5"}}, status={"nodes": ["x"]})
    assert ("status" in old, refused) == (False, [])
    new, _ = changed(PROXY_STATUS, old, "status", status={"programmed": {"services": "7"}}, spec={})
    assert (new["spec"], new["status"]) == (old["spec"], {"programmed": {"services": "7"}})
    assert changed(PROXY_STATUS, new, spec={"want": {"services": "x"}}, status={})[1] == [
        'spec.want.services: Invalid value: "x": must be a resourceVersion: decimal digits'
    ]
