"""OpenAPI v3 as kubectl reads it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, KINDS, REVIEWS, SERVED, SERVICE
from pierhead.apiserver import openapi

REF = "#/components/schemas/"


def document(kind: Kind) -> Any:
    body = openapi.find(SERVED, kind.root.strip("/").split("/"))
    assert body is not None
    return json.loads(body)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)


def test_the_index_names_every_document_with_a_hash() -> None:
    body = openapi.find(SERVED, [])
    assert body is not None
    paths = json.loads(body)["paths"]
    assert sorted(paths) == [
        "api/v1",
        "apis/apps/v1",
        "apis/authentication.k8s.io/v1",
        "apis/authorization.k8s.io/v1",
        "apis/coordination.k8s.io/v1",
        "apis/discovery.k8s.io/v1",
        "apis/pierhead.dev/v1",
    ]
    url = paths["api/v1"]["serverRelativeURL"]
    assert url.startswith("/openapi/v3/api/v1?hash=")
    assert len(url.rpartition("=")[2]) == 128


def test_a_document_that_is_not_there() -> None:
    assert openapi.find(SERVED, ["api", "v9"]) is None


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.name)
def test_every_reference_leads_somewhere(kind: Kind) -> None:
    found = document(kind)
    assert {ref.removeprefix(REF) for ref in references(found)} <= found["components"]["schemas"].keys()


@pytest.mark.parametrize("kind", REVIEWS, ids=lambda kind: kind.name)
def test_a_question_can_only_be_posted(kind: Kind) -> None:
    assert document(kind)["paths"][kind.path()].keys() == {"post"}
    assert f"{openapi.published(kind.message)}List" not in document(kind)["components"]["schemas"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kubectl_finds_field_validation_at_the_patch_of_a_kind(kind: Kind) -> None:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.name}
    patches = [path["patch"] for path in document(kind)["paths"].values() if "patch" in path]
    (own,) = [patch for patch in patches if patch["x-kubernetes-group-version-kind"] == gvk]
    assert {parameter["name"] for parameter in own["parameters"]} == {
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    }


def test_paths() -> None:
    paths = document(SERVICE)["paths"]
    assert set(paths["/api/v1/namespaces/{namespace}/services"]) == {"get", "post", "parameters"}
    assert set(paths["/api/v1/namespaces/{namespace}/services/{name}"]) == {
        "get",
        "put",
        "patch",
        "delete",
        "parameters",
    }
    assert "/api/v1/nodes/{name}" in paths


def test_a_schema_says_how_lists_merge_and_what_is_required() -> None:
    schemas = document(SERVICE)["components"]["schemas"]
    ports = schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"
    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    port = schemas["io.k8s.api.core.v1.ServicePort"]
    assert port["required"] == ["port"]
    assert port["properties"]["protocol"]["default"] == "TCP"
    assert port["properties"]["protocol"]["enum"] == ["SCTP", "TCP", "UDP"]


def test_explain_has_something_to_say() -> None:
    schemas = document(ENDPOINT_SLICE)["components"]["schemas"]
    found = schemas["io.k8s.api.discovery.v1.EndpointSlice"]
    assert found["description"]
    assert found["x-kubernetes-group-version-kind"] == [
        {"group": "discovery.k8s.io", "kind": "EndpointSlice", "version": "v1"}
    ]
    assert found["properties"]["addressType"] | {"description": ""} == {
        "type": "string", "default": "", "enum": ["FQDN", "IPv4", "IPv6"], "description": "",
    }  # fmt: skip


def test_version_2_describes_nothing_in_the_form_that_was_asked_for() -> None:
    """kubectl says that there is no such kind only after it has seen that v2 does not know it either."""
    content_type, body = openapi.version_2("application/json")
    assert (content_type, json.loads(body)["swagger"]) == (b"application/json", "2.0")
    content_type, body = openapi.version_2("application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert content_type == b"application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert body == b"\x0a\x032.0\x12\x13\x0a\x08Pierhead\x12\x07v1.36.2"
