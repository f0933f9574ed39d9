"""get and list: forms, pages of one revision, selectors, revisions asked for."""

from __future__ import annotations

from base64 import urlsafe_b64encode as b64encode
from urllib.parse import quote

import pytest
import yaml

from scenes import Region, play

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def names(reply_json: dict[str, object]) -> list[str]:
    items = reply_json["items"]
    assert isinstance(items, list)
    return [item["metadata"]["name"] for item in items]


def test_an_object_comes_back_as_it_was_stored() -> None:
    async def scene(region: Region) -> None:
        made = await region.configmap("a")
        got = await region.admin("GET", f"{MAPS}/a")
        assert got.json == made
        assert got.body.endswith(b"}\n")
        assert got.header("content-type") == ["application/json"]
        stored = region.store.get("configmaps/default/a")
        assert stored is not None
        assert got.body == stored.value + b"\n"

    play(scene)


def test_a_missing_object_is_404() -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("GET", f"{MAPS}/none")
        assert got.json == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": 'configmaps "none" not found', "reason": "NotFound",
            "details": {"name": "none", "kind": "configmaps"}, "code": 404,
        }  # fmt: skip

    play(scene)


def test_items_of_a_list_do_not_repeat_their_kind() -> None:
    async def scene(region: Region) -> None:
        empty = await region.admin("GET", MAPS)
        assert empty.json["kind"] == "ConfigMapList"
        assert empty.json["items"] == []
        for name in "abc":
            await region.configmap(name)
        full = (await region.admin("GET", MAPS)).json
        assert names(full) == ["a", "b", "c"]
        assert set(full["items"][0]) == {"metadata"}
        assert full["metadata"]["resourceVersion"] == str(region.store.revision)

    play(scene)


def test_pages_show_one_revision() -> None:
    async def scene(region: Region) -> None:
        for name in "abcde":
            await region.configmap(name)
        first = (await region.admin("GET", f"{MAPS}?limit=2")).json
        assert names(first) == ["a", "b"]
        assert first["metadata"]["remainingItemCount"] == 3
        await region.admin("DELETE", f"{MAPS}/d")
        await region.configmap("c2")
        second = (await region.admin("GET", f"{MAPS}?limit=2&continue={first['metadata']['continue']}")).json
        assert names(second) == ["c", "d"]
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        third = (await region.admin("GET", f"{MAPS}?continue={second['metadata']['continue']}")).json
        assert names(third) == ["e"]
        assert "continue" not in third["metadata"]

    play(scene)


def test_a_page_with_a_selector_counts_nothing() -> None:
    async def scene(region: Region) -> None:
        for name in "abc":
            await region.configmap(name, labels={"half": "low"})
        page = (await region.admin("GET", f"{MAPS}?limit=1&labelSelector=half%3Dlow")).json
        assert "continue" in page["metadata"]
        assert "remainingItemCount" not in page["metadata"]

    play(scene)


NOW = b64encode(b'{"v":"meta.k8s.io/v1","rv":0,"start":"a"}').decode().rstrip("=")


@pytest.mark.parametrize("token", ["x", "e30", quote("ééé"), "eyJ2IjoxfQ", NOW])
def test_a_broken_token_is_400(token: str) -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("GET", f"{MAPS}?continue={token}")
        assert got.status == 400
        assert got.json["message"].startswith("continue key is not valid: ")

    play(scene)


def test_a_token_older_than_the_history_is_410() -> None:
    async def scene(region: Region) -> None:
        for name in "abc":
            await region.configmap(name)
        page = (await region.admin("GET", f"{MAPS}?limit=1")).json
        await region.configmap("d")
        await region.store.compact(region.store.revision)
        got = await region.admin("GET", f"{MAPS}?continue={page['metadata']['continue']}")
        assert (got.status, got.json["reason"]) == (410, "Expired")
        exact = f"resourceVersion={page['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        assert (await region.admin("GET", f"{MAPS}?{exact}")).status == 410

    play(scene)


def test_exact_reads_the_past() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a")
        await region.configmap("b")
        then = first["metadata"]["resourceVersion"]
        past = (await region.admin("GET", f"{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).json
        assert names(past) == ["a"]
        assert past["metadata"]["resourceVersion"] == then
        recent = (await region.admin("GET", f"{MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan")).json
        assert names(recent) == ["a", "b"]

    play(scene)


def test_a_revision_not_yet_reached_is_504() -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("GET", f"{MAPS}?resourceVersion=99999999")
        assert (got.status, got.json["reason"]) == (504, "Timeout")
        assert got.header("retry-after") == ["1"]

    play(scene)


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("resourceVersion=-1", 400, 'invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax'),
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("labelSelector=n%20in%20(1", 400, "unable to parse requirement: found '', expected: ',' or ')'"),
        ("fieldSelector=foo=1", 400, '"foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("resourceVersionMatch=Exact", 422, 'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided'),
        ("sendInitialEvents=true", 422, 'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list'),
    ],
)  # fmt: skip
def test_options_that_may_not_be(query: str, code: int, message: str) -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("GET", f"{MAPS}?{query}")
        assert (got.status, got.json["message"]) == (code, message)

    play(scene)


def test_selectors() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a", labels={"x": "1"})
        await region.configmap("b", labels={"x": "2"})
        for query, found in (
            ("labelSelector=x%3D1", ["a"]),
            ("labelSelector=x!%3D1", ["b"]),
            ("fieldSelector=metadata.name%3Db", ["b"]),
            ("fieldSelector=metadata.name!%3Db&labelSelector=x", ["a"]),
        ):
            assert names((await region.admin("GET", f"{MAPS}?{query}")).json) == found
        everywhere = (await region.admin("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault")).json
        assert names(everywhere) == ["a", "b"]

    play(scene)


def test_services_are_selected_by_fields_of_their_own() -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("GET", "/api/v1/namespaces/default/services?fieldSelector=spec.foo=x")
        assert (got.status, got.json["message"]) == (400, "field label not supported: spec.foo")
        assert (await region.admin("GET", "/api/v1/services?fieldSelector=spec.type=NodePort")).json["items"] == []

    play(scene)


def test_a_table_has_a_row_of_cells_for_each_object() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a", labels={"x": "1"})
        table = (await region.admin("GET", MAPS, headers=TABLE)).json
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert table["columnDefinitions"][0]["name"] == "Name"
        (row,) = table["rows"]
        assert row["cells"][0] == "a"
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"]["labels"] == {"x": "1"}
        whole = (await region.admin("GET", f"{MAPS}/a?includeObject=Object", headers=TABLE)).json
        assert whole["rows"][0]["object"]["kind"] == "ConfigMap"
        none = (await region.admin("GET", f"{MAPS}/a?includeObject=None", headers=TABLE)).json
        assert none["rows"][0]["object"] is None
        bad = await region.admin("GET", f"{MAPS}/a?includeObject=Foo", headers=TABLE)
        assert bad.status == 400

    play(scene)


def test_metadata_only() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        accept = {"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
        one = (await region.admin("GET", f"{MAPS}/a", headers=accept)).json
        assert set(one) == {"kind", "apiVersion", "metadata"}
        assert (await region.admin("GET", MAPS, headers=accept)).status == 406
        accept = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
        assert (await region.admin("GET", MAPS, headers=accept)).json["items"][0]["kind"] == "PartialObjectMetadata"
        assert (await region.admin("GET", f"{MAPS}/a", headers=accept)).status == 406

    play(scene)


def test_yaml_and_indented_json() -> None:
    async def scene(region: Region) -> None:
        made = await region.configmap("a")
        as_yaml = await region.admin("GET", f"{MAPS}/a", headers={"accept": "application/yaml"})
        assert as_yaml.header("content-type") == ["application/yaml"]
        found = yaml.load(as_yaml.body, Loader=yaml.BaseLoader)
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        indented = await region.admin("GET", f"{MAPS}/none?pretty=1")
        assert indented.body.startswith(b'{\n  "kind": "Status",\n  "apiVersion": "v1",\n  "metadata": {},\n')

    play(scene)


def test_endpoints_say_with_every_answer_that_they_are_deprecated() -> None:
    async def scene(region: Region) -> None:
        for name in ("", "/none"):
            got = await region.admin("GET", f"/api/v1/namespaces/default/endpoints{name}")
            assert got.header("warning") == [
                '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
            ]

    play(scene)
