"""What kubectl shows: get in all its forms, watches, describe, explain, and what a server says about itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clients.kubectls import Kubectl
from e2e.backends import eventually
from pierhead.api.kinds import KINDS, REVIEWS, SERVED
from pierhead.api.schema import message
from pierhead.testing import Region

LABEL = {"app": "web"}


def pod(name: str, **labels: str) -> dict[str, Any]:
    container = {"name": "c", "image": "host", "ports": [{"containerPort": 8080}]}
    metadata = {"name": name, "labels": LABEL | labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def service(name: str, **labels: str) -> dict[str, Any]:
    spec = {"selector": LABEL, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": spec}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


OF_EACH_KIND: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}},
    service("web"),
    {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "ext"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}],
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "ext-1"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"port": 80}],
    },
    pod("web-0"),
    {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "set"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "set"}},
            "template": {
                "metadata": {"labels": {"app": "set"}},
                "spec": {"containers": [{"name": "c", "image": "host"}]},
            },
        },
    },
    config_map("settings", colour="blue"),
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": "x"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}},
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1"},
        "involvedObject": {"apiVersion": "v1", "kind": "Service", "name": "web", "namespace": "default"},
        "reason": "Tested",
        "message": "somebody looked",
        "type": "Normal",
    },
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "leader"},
        "spec": {"holderIdentity": "one"},
    },
    {"apiVersion": "pierhead.dev/v1", "kind": "ProxyStatus", "metadata": {"name": "p1"}},
    {
        "apiVersion": "pierhead.dev/v1",
        "kind": "FloatingIPPool",
        "metadata": {"name": "outside"},
        "spec": {"ranges": ["192.0.2.0/29"]},
    },
    {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIP", "metadata": {"name": "fip"}, "spec": {"pool": "outside"}},
]  # fmt: skip


# -- get ------------------------------------------------------------------------------------------------------


def test_get_a_table_and_a_wider_one(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(service("web", tier="front"), pod("web-0"))
    pierhead.ready("web-0")
    heading, row = kubectl.rows("get", "svc", "web", "-o", "wide")
    assert heading == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert (row[0], row[1], row[4], row[6]) == ("web", "ClusterIP", "80/TCP", "app=web")
    heading, row = kubectl.rows("get", "pods", "-o", "wide")
    assert heading[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert (row[:4], row[6]) == (["web-0", "1/1", "Running", "0"], "node-1")
    assert kubectl.rows("get", "svc", "web", "--show-labels")[1][-1] == "tier=front"
    assert kubectl.rows("get", "svc", "-L", "tier")[0][-1] == "TIER"
    assert kubectl("get", "svc", "web", "--no-headers").startswith("web ")


def test_get_as_data(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(service("web"), config_map("m", a="1"))
    assert json.loads(kubectl("get", "svc/web", "-o", "json"))["spec"]["ports"][0]["port"] == 80
    assert '  a: "1"\n' in kubectl("get", "cm", "m", "-o", "yaml")
    assert kubectl("get", "svc,cm", "-o", "name").split() == ["service/kubernetes", "service/web", "configmap/m"]
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    columns = "NAME:.metadata.name,PORTS:.spec.ports[*].port,NONE:.spec.nothing"
    assert kubectl.rows("get", "svc", "web", "-o", f"custom-columns={columns}") == [["NAME", "PORTS", "NONE"], ["web", "80", "<none>"]]  # fmt: skip
    assert kubectl("get", "svc", "web", "-o", "go-template={{.spec.type}}") == "ClusterIP"
    assert "managedFields" not in kubectl("get", "svc", "web", "-o", "yaml")
    assert "managedFields" in kubectl("get", "svc", "web", "-o", "yaml", "--show-managed-fields")


def test_get_some(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(pod("a", tier="front"), pod("b", tier="back"), pod("c"))
    pierhead.ready("b")
    names = ("get", "pods", "-o", "name")
    assert kubectl(*names, "-l", "tier") == "pod/a\npod/b\n"
    assert kubectl(*names, "-l", "tier notin (front)") == "pod/b\npod/c\n"
    assert kubectl(*names, "-l", "app=web,tier!=back") == "pod/a\npod/c\n"
    assert kubectl(*names, "--field-selector", "status.phase=Running") == "pod/b\n"
    assert kubectl(*names, "--field-selector", "spec.nodeName=,metadata.name!=a") == "pod/c\n"
    assert "field label not supported: foo" in kubectl.refused(*names, "--field-selector", "foo=bar")
    assert kubectl("get", "pods", "a", "c", "-o", "name") == "pod/a\npod/c\n"
    assert kubectl.refused("get", "pods", "d") == 'Error from server (NotFound): pods "d" not found\n'
    assert kubectl("get", "pods", "d", "--ignore-not-found") == ""


def test_get_in_pages_and_in_order(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(*(config_map(name, order=str(9 - number)) for number, name in enumerate("abcde")))
    assert kubectl("get", "cm", "-o", "name", "--chunk-size=2").split() == [f"configmap/{name}" for name in "abcde"]
    ordered = kubectl("get", "cm", "-o", "name", "--sort-by=.data.order")
    assert ordered.split() == [f"configmap/{name}" for name in "edcba"]


def test_get_in_all_namespaces_and_everything(pierhead: Region, kubectl: Kubectl) -> None:
    there = service("web")
    there["metadata"]["namespace"] = "shop"
    pierhead.apply(OF_EACH_KIND[0], there, service("web"), pod("web-0"))
    rows = kubectl.rows("get", "svc", "-A")
    assert [row[:2] for row in rows] == [["NAMESPACE", "NAME"], ["default", "kubernetes"], ["default", "web"], ["shop", "web"]]  # fmt: skip
    everything = kubectl("get", "all", "-o", "name")
    assert everything.split() == ["pod/web-0", "service/kubernetes", "service/web"]
    assert kubectl("get", "svc", "-n", "shop", "-o", "name") == "service/web\n"


def test_a_watch_goes_on_until_it_is_ended(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(config_map("a", x="1"))
    with kubectl.following("get", "cm", "-w", "--output-watch-events", "--no-headers") as lines:
        assert next(lines).split()[:3] == ["ADDED", "a", "1"]
        pierhead.apply(config_map("b"))
        assert next(lines).split()[:3] == ["ADDED", "b", "0"]
        pierhead.apply(config_map("b", x="1"))
        assert next(lines).split()[:3] == ["MODIFIED", "b", "1"]
        kubectl("delete", "cm", "a")
        assert next(lines).split()[:2] == ["DELETED", "a"]


def test_a_watch_of_one_object(pierhead: Region, kubectl: Kubectl) -> None:
    """kubectl prints the object before it watches, and not the event that its watch begins with: a change between is not shown."""

    def watches() -> float:
        lines = kubectl("get", "--raw", "/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("pierhead_watchers "))

    pierhead.apply(config_map("a"), config_map("b"))
    before = watches()
    with kubectl.following("get", "cm", "b", "-w", "--no-headers") as lines:
        assert next(lines).split()[:2] == ["b", "0"]
        eventually(lambda: watches() > before, "the watch is open")
        pierhead.apply(config_map("a", x="1"), config_map("b", x="1"))
        assert next(lines).split()[:2] == ["b", "1"]


# -- describe -------------------------------------------------------------------------------------------------


def test_describe_each_kind(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(*OF_EACH_KIND)
    assert {found["kind"] for found in OF_EACH_KIND} == {kind.name for kind in KINDS}
    for found in OF_EACH_KIND:
        name = found["metadata"]["name"]
        shown = kubectl("describe", found["kind"].lower(), name)
        assert shown.splitlines()[0].split() == ["Name:", name], shown


def test_describe_says_what_matters(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(*OF_EACH_KIND)
    pierhead.ready("web-0")
    address = "Endpoints: 10.244.0.1:8080\n"
    eventually(lambda: address in kubectl.words("describe", "svc", "web"), "the pod is an endpoint")
    assert "Selector: app=web\n" in kubectl.words("describe", "svc", "web")
    assert "Node: node-1/" in kubectl.words("describe", "pod", "web")  # by the beginning of its name
    assert "password: 1 bytes" in kubectl.words("describe", "secret", "key")
    assert "Replicas: 0 current / 0 desired" in kubectl.words("describe", "rs", "set")
    assert "Holder Identity: one" in kubectl.words("describe", "lease", "leader")
    assert 'services "none" not found' in kubectl.refused("describe", "svc", "none")


# -- explain and discovery --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.name)
def test_explain(kubectl: Kubectl, kind: Any) -> None:
    shown = kubectl("explain", kind.plural)
    head = [line.split() for line in shown.splitlines()[:3]]
    group = [["GROUP:", kind.group]] if kind.group else []
    assert head[: len(group) + 2] == [*group, ["KIND:", kind.name], ["VERSION:", kind.version]]
    deep = kubectl("explain", kind.plural, "--recursive")
    for name in message(kind.message).fields:
        assert f"\n  {name}\t" in deep


def test_explain_a_field(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "svc.spec.ports.targetPort")
    assert "FIELD: targetPort <IntOrString>" in shown
    assert "the name of a container" in shown
    assert "podIP\t<string>" in kubectl("explain", "pod.status")
    assert 'field "nothing" does not exist' in kubectl.refused("explain", "svc.spec.nothing")


def test_what_the_server_serves(kubectl: Kubectl) -> None:
    listed = {tuple(row.split()[-3:]) for row in kubectl("api-resources", "--no-headers").splitlines()}
    assert listed == {(kind.api_version, str(kind.namespaced).lower(), kind.name) for kind in SERVED}
    assert set(kubectl("api-versions").split()) == {kind.api_version for kind in SERVED}
    creatable = kubectl("api-resources", "--verbs=create", "-o", "name").split()
    assert set(creatable) == {kind.resource for kind in SERVED}
    kept = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert set(kept) == {kind.resource for kind in SERVED if kind not in REVIEWS}
    short = {row.split()[1] for row in kubectl("api-resources", "--no-headers").splitlines() if len(row.split()) == 5}
    assert short == {",".join(kind.short_names) for kind in KINDS if kind.short_names}


def test_a_kind_that_is_not_served_is_said_to_be_none(pierhead: Region, kubectl: Kubectl) -> None:
    assert kubectl.refused("get", "deployments") == 'error: the server doesn\'t have a resource type "deployments"\n'
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}}
    assert 'no matches for kind "Ingress" in version "networking.k8s.io/v1"' in kubectl.refused(
        "apply", "-f", kubectl.file("i.yaml", ingress)
    )


def test_where_and_which_version(pierhead: Region, kubectl: Kubectl) -> None:
    assert pierhead.url in kubectl("cluster-info")
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "36")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in kubectl("get", "--raw", "/readyz?verbose")


# -- who one is, and what happened ------------------------------------------------------------------------------


def test_who_one_is_and_what_one_may(kubectl: Kubectl) -> None:
    assert kubectl.rows("auth", "whoami")[1:] == [
        ["Username", "kubernetes-admin"], ["Groups", "[system:masters system:authenticated]"]
    ]  # fmt: skip
    assert json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"] == "kubernetes-admin"
    assert kubectl("auth", "can-i", "delete", "services") == "yes\n"
    assert kubectl("auth", "can-i", "*", "*") == "yes\n"
    bob = ("--as", "bob")
    assert kubectl.rows("auth", "whoami", *bob)[1] == ["Username", "bob"]
    for question, says in (
        (("get", "pods", "-n", "shop"), "no\n"),
        (("get", "/apis"), "yes\n"),
        (("get", "/metrics"), "no\n"),
    ):
        done = kubectl.result("auth", "can-i", *question, *bob)
        assert (done.stdout, done.returncode) == (says, 0 if says == "yes\n" else 1)
    assert kubectl("auth", "can-i", "list", "pods", "--subresource=status", "--as=system:node:n1", "--as-group=system:nodes") == "yes\n"  # fmt: skip
    rules = kubectl("auth", "can-i", "--list", *bob)
    assert "selfsubjectaccessreviews.authorization.k8s.io" in rules
    assert "[/readyz]" in rules
    assert kubectl.refused("get", "pods", *bob).endswith(
        'User "bob" cannot list resource "pods" in API group "" in the namespace "default"\n'
    )


def test_events(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(*OF_EACH_KIND)
    assert kubectl.rows("events", "--for", "service/web", "--no-headers")[0][1:] == ["Normal", "Tested", "Service/web", "somebody looked"]  # fmt: skip
    assert "Tested" not in kubectl("events", "--types=Warning")
    rows = kubectl.rows("get", "events", "--field-selector", "involvedObject.name=web,reason=Tested", "--no-headers")
    assert rows[0][-4:] == ["Normal", "Tested", "service/web", "somebody looked"]
    assert "Tested" in kubectl("events", "-A")
