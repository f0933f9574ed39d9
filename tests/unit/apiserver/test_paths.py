"""Health, version, metrics, and what is not there; history that may be forgotten."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pierhead.api import configz
from pierhead.api.network import Network
from pierhead.apiserver import health
from pierhead.apiserver.request import Request
from scenes import Region, play


def test_health_runs_its_checks() -> None:
    checks = {"ping": lambda: True, "store": lambda: False}
    failed = health.answer(Request("GET", "/readyz"), checks)
    assert (failed.status, failed.body) == (500, b"[+]ping ok\n[-]store failed\nreadyz check failed\n")
    assert health.answer(Request("GET", "/readyz", {}, "exclude=store"), checks).body == b"ok"
    verbose = health.answer(Request("GET", "/livez/ping", {}, "verbose"), checks)
    assert verbose.body == b"[+]ping ok\nlivez check passed\n"
    assert health.answer(Request("GET", "/readyz/none"), checks).status == 404


def test_the_version_is_one_that_kubectl_knows() -> None:
    async def scene(region: Region) -> None:
        found = (await region.admin("GET", "/version")).json
        assert (found["major"], found["minor"], found["gitVersion"]) == ("1", "36", "v1.36.2+pierhead")
        assert (await region.admin("POST", "/version")).status == 405

    play(scene)


def test_the_configuration_is_the_regions_network_and_not_for_everybody() -> None:
    async def scene(region: Region) -> None:
        found = await region.admin("GET", "/configz")
        assert configz.read(found.json) == Network("none", (ip_network("10.96.0.0/16"),))
        assert (await region.anonymous("GET", "/configz")).status == 403

    play(scene)


def test_metrics_count_requests_commits_and_watches() -> None:
    async def scene(region: Region) -> None:
        await region.configmap("a")
        async with region.admin.stream("/api/v1/configmaps?watch=1") as events:
            await anext(events)
            shown = (await region.admin("GET", "/metrics")).body.decode()
        assert 'apiserver_request_total{code="201",resource="configmaps",verb="create"} 1.0' in shown
        assert "pierhead_store_commits_total 3.0" in shown
        assert "pierhead_watchers 1.0" in shown

    play(scene)


def test_what_nobody_serves() -> None:
    async def scene(region: Region) -> None:
        for path in ("/foo", "/apis/foo.example.com/v1/bars", "/apis/foo.example.com"):
            got = await region.admin("GET", path)
            assert (got.status, got.body) == (404, b"404 page not found\n")
        for path in ("/api/v2/services", "/apis/apps/v9/replicasets", "/api/v1/foos"):
            got = await region.admin("GET", path)
            assert (got.status, got.json["message"]) == (404, "the server could not find the requested resource")
        assert (await region.admin("HEAD", "/api/v1/namespaces")).status == 405

    play(scene)


def test_a_failure_of_ours_is_a_status_and_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(region: Region) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a secret")

        monkeypatch.setattr(region.store, "range", broken)
        got = await region.admin("GET", "/api/v1/services")
        assert (got.status, got.json["reason"]) == (500, "InternalError")
        assert b"secret" not in got.body

    play(scene)
