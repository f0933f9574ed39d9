"""create, update, patch: what the server adds, what it refuses, what a write leaves in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pierhead.errors import PreconditionFailed
from pierhead.store import Operation, Precondition
from scenes import Region, play

MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def test_the_server_names_and_dates_an_object() -> None:
    async def scene(region: Region) -> None:
        forged = {
            "name": "a",
            "uid": "mine",
            "creationTimestamp": "2001-01-01T00:00:00Z",
            "deletionTimestamp": "2001-01-01T00:00:00Z",
        }
        made = (await region.admin("POST", MAPS, {"metadata": forged, "data": {"k": "v"}})).json
        assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"k": "v"})
        metadata = made["metadata"]
        assert metadata["namespace"] == "default"
        assert metadata["uid"] != "mine"
        assert metadata["creationTimestamp"] > "2020"
        assert "deletionTimestamp" not in metadata
        assert metadata["resourceVersion"] == str(region.store.revision)

    play(scene)


def test_a_generated_name_is_its_beginning_and_five_characters() -> None:
    async def scene(region: Region) -> None:
        names = set()
        for _ in range(20):
            made = await region.admin("POST", MAPS, {"metadata": {"generateName": "web-"}})
            names.add(made.json["metadata"]["name"])
        assert len(names) == 20
        assert all(len(name) == 9 and name.startswith("web-") for name in names)

    play(scene)


def test_a_taken_name_is_409() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        again = await region.admin("POST", MAPS, {"metadata": {"name": "a"}})
        assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
        assert again.json["message"] == 'configmaps "a" already exists'

    play(scene)


@pytest.mark.parametrize(
    ("metadata", "code", "message"),
    [
        ({}, 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
        ({"name": "a", "namespace": "other"}, 400, "the namespace of the provided object does not match the namespace sent on the request"),
        ({"name": "a", "resourceVersion": "5"}, 500, "resourceVersion should not be set on objects to be created"),
    ],
)  # fmt: skip
def test_metadata_that_may_not_be(metadata: dict[str, str], code: int, message: str) -> None:
    async def scene(region: Region) -> None:
        got = await region.admin("POST", MAPS, {"metadata": metadata})
        assert (got.status, got.json["message"]) == (code, message)
        assert region.store.count("configmaps/") == 0

    play(scene)


def test_nothing_is_born_into_a_missing_or_ending_namespace() -> None:
    async def scene(region: Region) -> None:
        missing = await region.admin("POST", MAPS.replace("default", "none"), {"metadata": {"name": "a"}})
        assert (missing.status, missing.json["message"]) == (404, 'namespaces "none" not found')
        await region.admin("POST", "/api/v1/namespaces", {"metadata": {"name": "ending"}})
        await region.admin("DELETE", "/api/v1/namespaces/ending")
        late = await region.admin("POST", MAPS.replace("default", "ending"), {"metadata": {"name": "a"}})
        assert late.status == 403
        assert late.json["message"] == (
            'configmaps "a" is forbidden: unable to create new content in namespace ending because it is being terminated'
        )
        assert late.json["details"]["causes"] == [
            {
                "reason": "NamespaceTerminating",
                "message": "namespace ending is being terminated",
                "field": "metadata.namespace",
            }
        ]

    play(scene)


def test_unknown_fields_by_fieldvalidation() -> None:
    async def scene(region: Region) -> None:
        body = {"metadata": {"name": "a", "foo": "bar"}, "extra": 1}
        strict = await region.admin("POST", f"{MAPS}?fieldValidation=Strict", body)
        assert strict.status == 400
        assert strict.json["message"] == (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
            'strict decoding error: unknown field "metadata.foo", unknown field "extra"'
        )
        warned = await region.admin("POST", MAPS, body)
        assert warned.status == 201
        assert warned.header("warning") == [
            '299 - "unknown field \\"metadata.foo\\""',
            '299 - "unknown field \\"extra\\""',
        ]
        assert "extra" not in warned.json
        body["metadata"] = {"name": "b"}
        silent = await region.admin("POST", f"{MAPS}?fieldValidation=Ignore", body)
        assert (silent.status, silent.header("warning")) == (201, [])
        loose = await region.admin("POST", f"{MAPS}?fieldValidation=Loose", body)
        assert loose.status == 422

    play(scene)


def test_warnings_that_are_too_long_together_are_cut() -> None:
    """Clients refuse an answer whose headers are too long, and so would not know that the write was done."""

    async def scene(region: Region) -> None:
        fields = {f"{n:02}{'x' * 1000}": 1 for n in range(40)}
        made = await region.admin("POST", MAPS, {"metadata": {"name": "a"}} | fields)
        assert made.status == 201
        told = made.header("warning")
        assert len(told) == 16
        assert told[0].startswith('299 - "unknown field \\"00xxx')
        assert {len(text) for text in told} == {len('299 - ""') + 256 + len("\\")}

    play(scene)


def test_a_dry_run_writes_nothing() -> None:
    async def scene(region: Region) -> None:
        before = region.store.revision
        made = await region.admin("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "a"}})
        assert made.status == 201
        assert "resourceVersion" not in made.json["metadata"]
        assert region.store.revision == before
        await region.configmap("a")
        before = region.store.revision
        assert (await region.admin("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "a"}})).status == 409
        patched = await region.admin("PATCH", f"{MAPS}/a?dryRun=All", {"data": {"k": "v"}}, MERGE)
        assert patched.json["data"] == {"k": "v"}
        deleted = await region.admin("DELETE", f"{MAPS}/a?dryRun=All")
        assert deleted.status == 200
        assert region.store.revision == before
        assert (await region.admin("PATCH", f"{MAPS}/a?dryRun=Yes", {}, MERGE)).status == 422

    play(scene)


def test_update_by_revision() -> None:
    async def scene(region: Region) -> None:
        first = await region.configmap("a")
        since = first["metadata"]["resourceVersion"]
        body = {"metadata": {"name": "a", "resourceVersion": since}, "data": {"k": "1"}}
        second = await region.admin("PUT", f"{MAPS}/a", body)
        assert (second.status, second.json["data"]) == (200, {"k": "1"})
        stale = await region.admin("PUT", f"{MAPS}/a", body)
        assert (stale.status, stale.json["message"]) == (
            409,
            f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}',
        )
        unconditional = await region.admin("PUT", f"{MAPS}/a", {"metadata": {"name": "a"}, "data": {"k": "2"}})
        assert unconditional.status == 200
        zero = await region.admin("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "resourceVersion": "0"}})
        assert zero.status == 200
        garbage = await region.admin("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "resourceVersion": "abc"}})
        assert (garbage.status, garbage.json["message"]) == (500, 'strconv.ParseUint: parsing "abc": invalid syntax')

    play(scene)


def test_a_lease_is_only_updated_by_revision() -> None:
    async def scene(region: Region) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        made = await region.admin("PUT", f"{leases}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
        assert made.status == 201
        blind = await region.admin("PUT", f"{leases}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}})
        assert blind.status == 422
        assert blind.json["message"] == (
            'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update'
        )

    play(scene)


def test_a_put_creates_some_kinds_and_others_not() -> None:
    async def scene(region: Region) -> None:
        service = {"metadata": {"name": "web", "resourceVersion": "5"}, "spec": {"ports": [{"port": 80}]}}
        assert (await region.admin("PUT", f"{SERVICES}/web", service)).status == 201
        assert (await region.admin("PUT", f"{SERVICES}/web", {**service, "metadata": {"name": "web"}})).status == 200
        meant = {**service, "metadata": {"name": "x", "uid": "00000000-0000-4000-8000-000000000009"}}
        assert (await region.admin("PUT", f"{SERVICES}/x", meant)).status == 409
        assert (await region.admin("PUT", f"{MAPS}/a", {"metadata": {"name": "a"}})).status == 404

    play(scene)


def test_the_name_in_the_url_is_the_name_of_the_object() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        for got in (
            await region.admin("PUT", f"{MAPS}/a", {"metadata": {"name": "b"}}),
            await region.admin("PATCH", f"{MAPS}/a", {"metadata": {"name": "b"}}, MERGE),
        ):
            assert got.status == 400
            assert got.json["message"] == "the name of the object (b) does not match the name on the URL (a)"

    play(scene)


def test_what_does_not_change_is_not_written() -> None:
    async def scene(region: Region) -> None:
        made = await region.configmap("a", labels={"x": "1"})
        before = region.store.revision
        same = await region.admin("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"x": "1"}}}, MERGE)
        assert same.json == made
        dated = await region.admin(
            "PATCH", f"{MAPS}/a", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}, MERGE
        )
        assert dated.json == made
        assert region.store.revision == before

    play(scene)


@pytest.mark.parametrize(
    ("headers", "patch"),
    [
        (MERGE, {"data": {"k": "w"}}),
        (JSON_PATCH, [{"op": "add", "path": "/data", "value": {"k": "w"}}]),
        (STRATEGIC, {"data": {"k": "w"}}),
    ],
)
def test_three_formats_of_patches(headers: dict[str, str], patch: object) -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        got = await region.admin("PATCH", f"{MAPS}/a", patch, headers)
        assert (got.status, got.json["data"]) == (200, {"k": "w"})

    play(scene)


@pytest.mark.parametrize(
    ("headers", "patch", "code"),
    [
        ({"content-type": "text/plain"}, {}, 415),
        ({"content-type": "application/apply-patch+yaml"}, {}, 415),
        (MERGE, [], 400),
        (MERGE, b"", 400),
        (MERGE, b"[" * 100_000, 400),
        (MERGE, {"metadata": {"resourceVersion": "1"}}, 409),
        (MERGE, {"data": {"k": 1}}, 422),
        (MERGE, {"metadata": {"uid": "x"}}, 422),
        (JSON_PATCH, [{"op": "test", "path": "/kind", "value": "x"}], 422),
    ],
)
def test_patches_that_cannot_be(headers: dict[str, str], patch: object, code: int) -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        before = region.store.revision
        got = await region.admin("PATCH", f"{MAPS}/a", patch, headers)
        assert got.status == code, got.body
        assert got.json["kind"] == "Status"
        assert region.store.revision == before
        assert (await region.admin("PATCH", f"{MAPS}/none", {}, MERGE)).status == 404

    play(scene)


def test_patches_of_many_all_arrive() -> None:
    """A patch is decided anew when another write came first."""

    async def scene(region: Region) -> None:
        await region.configmap("a")
        patches = [region.admin("PATCH", f"{MAPS}/a", {"data": {f"k{n}": "v"}}, MERGE) for n in range(5)]
        assert {got.status for got in await asyncio.gather(*patches)} == {200}
        found = await region.admin("GET", f"{MAPS}/a")
        assert sorted(found.json["data"]) == ["k0", "k1", "k2", "k3", "k4"]

    play(scene)


def test_status_is_written_apart_from_the_rest() -> None:
    async def scene(region: Region) -> None:
        await region.admin(
            "POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "type": "LoadBalancer"}}
        )
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
        await region.admin("PATCH", f"{SERVICES}/web", ingress, MERGE)
        assert (await region.admin("GET", f"{SERVICES}/web")).json["status"] == {"loadBalancer": {}}
        await region.admin("PATCH", f"{SERVICES}/web/status", ingress, MERGE)
        found = await region.admin("GET", f"{SERVICES}/web/status")
        assert found.json["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"

    play(scene)


def test_addresses_and_ports_are_claimed_with_the_service() -> None:
    async def scene(region: Region) -> None:
        made = await region.admin(
            "POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}}
        )
        address, port = made.json["spec"]["clusterIP"], made.json["spec"]["ports"][0]["nodePort"]
        for claim in (f"claims/ip/{address}", f"claims/nodeport/{port}"):
            entry = region.store.get(claim)
            assert entry is not None
            assert entry.value == b"services/default/web"
        taken = await region.admin(
            "POST", SERVICES, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": address}}
        )
        assert taken.status == 422
        await region.admin(
            "PATCH",
            f"{SERVICES}/web",
            {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": None}]}},
            MERGE,
        )
        assert region.store.get(f"claims/nodeport/{port}") is None
        await region.admin("DELETE", f"{SERVICES}/web")
        assert region.store.count("claims/") == 0

    play(scene)


def test_services_created_at_once_get_addresses_of_their_own() -> None:
    async def scene(region: Region) -> None:
        body = {"spec": {"ports": [{"port": 80}], "type": "NodePort"}}
        made = await asyncio.gather(
            *(region.admin("POST", SERVICES, {**body, "metadata": {"name": f"s{n}"}}) for n in range(50))
        )
        assert {got.status for got in made} == {201}
        assert len({got.json["spec"]["clusterIP"] for got in made}) == 50
        assert region.store.count("claims/ip/") == 50

    play(scene)


def test_a_write_that_loses_its_claim_is_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(region: Region) -> None:
        commit = region.store.commit
        lost: list[Sequence[Operation]] = []

        async def contended(
            operations: Sequence[Operation], preconditions: Sequence[Precondition] = ()
        ) -> Sequence[int]:
            if not lost:
                lost.append(operations)
                raise PreconditionFailed("claims/ip/10.96.0.7", 5)
            return await commit(operations, preconditions)

        monkeypatch.setattr(region.store, "commit", contended)
        made = await region.admin("POST", SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
        assert (made.status, len(lost)) == (201, 1)

    play(scene)


def test_bodies_that_are_no_object() -> None:
    async def scene(region: Region) -> None:
        for body in (
            b"",
            b"{",
            b"[]",
            b'"x"',
            b"null",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"metadata":[]}',
            b'{"metadata":"x"}',
        ):
            got = await region.admin("POST", MAPS, body)
            assert got.status in (400, 422), (body[:20], got.body)
            put = await region.admin("PUT", f"{MAPS}/a", body)
            assert put.status in (400, 404, 422), (body[:20], put.body)
        assert (await region.admin("POST", MAPS, b"{}", {"content-type": "text/plain"})).status == 415
        assert (await region.admin("POST", MAPS, b"x" * (3 * 2**20 + 1))).status == 413
        assert region.store.count("configmaps/") == 0

    play(scene)
