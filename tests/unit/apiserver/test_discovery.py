"""Both dialects of discovery say the same about the same kinds."""

from typing import Any

import pytest

from pierhead.api.kinds import LEASE, SERVED
from pierhead.apiserver import discovery

KUBECTL = (
    f"{discovery.AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def body(path: str, accept: str = "application/json") -> Any:
    found = discovery.find(SERVED, path.strip("/").split("/"), accept)
    assert found is not None
    return found[1]


def test_versions_and_groups() -> None:
    assert body("/api")["versions"] == ["v1"]
    names = [group["name"] for group in body("/apis")["groups"]]
    assert names == [
        "apps", "authentication.k8s.io", "authorization.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "pierhead.dev"
    ]  # fmt: skip
    assert body("/apis/apps") == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "apps",
        "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
    }


def test_a_resource_and_its_subresources() -> None:
    rows = {row["name"]: row for row in body("/api/v1")["resources"]}
    assert rows["services"] == {
        "name": "services",
        "singularName": "service",
        "namespaced": True,
        "kind": "Service",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["svc"],
        "categories": ["all"],
        "storageVersionHash": "0/CO1lhkEBI=",
    }
    assert rows["services/status"]["verbs"] == ["get", "patch", "update"]
    assert (rows["pods/binding"]["kind"], rows["pods/log"]["verbs"]) == ("Binding", ["get"])
    assert "deletecollection" not in rows["namespaces"]["verbs"]


def test_a_scale_is_of_another_group() -> None:
    rows = {row["name"]: row for row in body("/apis/apps/v1")["resources"]}
    scale = rows["replicasets/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


def test_hashes_are_those_of_kubernetes() -> None:
    assert discovery.storage_hash(LEASE) == "gqkMMb/YqFM="


def test_aggregated() -> None:
    (core,) = body("/api", KUBECTL)["items"]
    assert core["metadata"] == {}
    pods = next(row for row in core["versions"][0]["resources"] if row["resource"] == "pods")
    assert (pods["scope"], pods["singularResource"], pods["categories"]) == ("Namespaced", "pod", ["all"])
    assert [row["subresource"] for row in pods["subresources"]] == ["binding", "eviction", "log", "status"]
    groups = [item["metadata"]["name"] for item in body("/apis", KUBECTL)["items"]]
    assert groups == [group["name"] for group in body("/apis")["groups"]]


def test_both_dialects_name_the_same_resources() -> None:
    for item in body("/apis", KUBECTL)["items"]:
        for version in item["versions"]:
            path = f"/apis/{item['metadata']['name']}/{version['version']}"
            plain = {row["name"] for row in body(path)["resources"]}
            whole = {row["resource"] for row in version["resources"]}
            whole |= {
                f"{row['resource']}/{sub['subresource']}"
                for row in version["resources"]
                for sub in row.get("subresources", ())
            }
            assert plain == whole


@pytest.mark.parametrize(
    ("accept", "aggregated"),
    [(KUBECTL, True), ("application/json", False), (f"application/json,{discovery.AGGREGATED}", False), ("", False), ("*/*", False),
     ("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json", False)],
)  # fmt: skip
def test_who_asks_for_the_aggregated_form(accept: str, *, aggregated: bool) -> None:
    assert discovery.wants_aggregated(accept) is aggregated


@pytest.mark.parametrize(
    "path", ["api/v9", "apis/none", "apis/none/v1", "apis/apps/v9", "apis//v1", "api/v1/services", "apis/apps/v1/x"]
)
def test_what_is_not_there(path: str) -> None:
    assert discovery.find(SERVED, path.split("/"), "application/json") is None


def test_a_question_can_only_be_posted_and_is_not_stored() -> None:
    (row,) = body("/apis/authentication.k8s.io/v1")["resources"]
    assert (row["kind"], row["verbs"], row["namespaced"]) == ("SelfSubjectReview", ["create"], False)
    assert "storageVersionHash" not in row


def test_kubectl_finds_in_which_words_pods_are_evicted() -> None:
    rows = {row["name"]: row for row in body("/api/v1")["resources"]}
    row = rows["pods/eviction"]
    assert (row["group"], row["version"], row["kind"], row["verbs"]) == ("policy", "v1", "Eviction", ["create"])
    assert not rows.keys() & {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"}
