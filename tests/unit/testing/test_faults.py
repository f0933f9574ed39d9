"""Faults: which requests meet one, what they are told, and who never notices."""

from __future__ import annotations

import asyncio

import pytest

from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, POD, SERVICE
from pierhead.apiserver.registry import MODIFIED
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError
from pierhead.testing import Region
from pierhead.testing.faults import Fault, Faults

SEEN = Request("PUT", "/", client="127.0.0.1")
OURS = Request("PUT", "/")
SERVICES = 'resource "services" in API group ""'
WEB = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


def route(kind: Kind = SERVICE, verb: str = "update", name: str = "web", sub: str = "") -> Route:
    return Route(kind, verb, "shop", name, sub)


def test_it_happens_so_many_times_and_no_more() -> None:
    fault = Fault("update", "services", 409, 2)
    assert [bool(fault.meets(SEEN, route())) for _ in range(4)] == [True, True, False, False]
    assert fault.left == 0


@pytest.mark.parametrize(
    "other",
    [route(verb="patch"), route(POD), route(sub="status"), route(name="db")],
    ids=["verb", "kind", "subresource", "name"],
)
def test_another_request_does_not_meet_it(other: Route) -> None:
    fault = Fault("update", "services", 409, name="web")
    assert fault.meets(SEEN, other) is None
    assert fault.left == 1


def test_it_may_be_meant_for_one_namespace() -> None:
    assert Fault("update", "services", 409, namespace="default").meets(SEEN, route()) is None
    assert Fault("update", "services", 409, namespace="shop").meets(SEEN, route())


def test_a_subresource_is_named_as_in_its_url() -> None:
    assert Fault("update", "services/status", 409).meets(SEEN, route(sub="status"))


def test_our_own_controllers_meet_it_only_when_that_is_asked_for() -> None:
    assert Fault("update", "services", 409).meets(OURS, route()) is None
    assert Fault("update", "services", 409, controllers=True).meets(OURS, route())


def test_the_first_of_several_that_fits_is_met() -> None:
    faults = Faults()
    for code in (500, 503):
        faults.add(Fault("update", "services", code))
    codes = []
    for _ in range(2):
        with pytest.raises(ApiError) as met:
            faults.gate(SEEN, route())
        codes.append(met.value.code)
    faults.gate(SEEN, route())
    assert codes == [500, 503]


@pytest.mark.parametrize(
    ("verb", "code", "reason", "message"),
    [
        ("update", 400, "BadRequest", "the server rejected our request for an unknown reason"),
        ("update", 401, "Unauthorized", "Unauthorized"),
        (
            "update",
            403,
            "Forbidden",
            f'services "web" is forbidden: User "kubernetes-admin" cannot update {SERVICES} in the namespace "shop"',
        ),
        ("update", 404, "NotFound", 'services "web" not found'),
        (
            "update",
            409,
            "Conflict",
            f'Operation cannot be fulfilled on services "web": {MODIFIED}',
        ),
        ("create", 409, "AlreadyExists", 'services "web" already exists'),
        ("watch", 410, "Expired", "The resourceVersion for the provided watch is too old."),
        (
            "update",
            422,
            "Invalid",
            'Service "web" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes',
        ),
        ("update", 429, "TooManyRequests", "Too many requests, please try again later."),
        ("update", 500, "InternalError", "Internal error occurred: the cause is in the server's log"),
        ("update", 503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        (
            "update",
            504,
            "Timeout",
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
        ),
    ],
)
def test_it_says_what_the_real_server_says(verb: str, code: int, reason: str, message: str) -> None:
    error = Fault(verb, "services", code).meets(SEEN, route(verb=verb))
    assert error
    assert (error.code, error.reason, error.message) == (code, reason, message)


def test_an_object_that_is_refused_has_a_field_that_is_wrong() -> None:
    error = Fault("create", "services", 422).meets(SEEN, route(verb="create"))
    assert error
    assert error.details
    [cause] = error.details["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldValueTooLong", "metadata.annotations")


def test_who_is_told_to_come_again_is_told_when() -> None:
    for code in (429, 503):
        error = Fault("update", "services", code).meets(SEEN, route())
        assert error
        assert error.retry_after == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("modify", "services", 409), "no verb 'modify'; there are get, list"),
        (("update", "service", 409), "no resource 'service'; write it as in a URL"),
        (("update", "services", 418), "no error 418; there are 400, 401"),
        (("update", "services", 409, 0), "happens at least once"),
    ],
)
def test_one_that_could_never_happen_is_refused(arguments: tuple[str, str, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Fault(*arguments)
    with pytest.raises(ValueError, match="the URL of a create names no object"):
        Fault("create", "services", 409, name="web")


def test_a_client_of_a_region_meets_it_and_nothing_is_done(pierhead: Region) -> None:
    async def scene() -> None:
        client = pierhead.client()
        service = await client.get(SERVICE, "web", "default")
        service["metadata"]["labels"] = {"tier": "front"}
        for _ in range(2):
            with pytest.raises(ApiError, match="has been modified") as met:
                await client.update(SERVICE, service)
            assert met.value.reason == "Conflict"
            assert "labels" not in (await client.get(SERVICE, "web", "default"))["metadata"]
        assert (await client.update(SERVICE, service))["metadata"]["labels"] == {"tier": "front"}
        await client.close()

    pierhead.apply(WEB)
    fault = pierhead.fault("update", "services", 409, times=2)
    asyncio.run(scene())
    assert fault.left == 0


def test_our_controllers_go_on_while_clients_meet_faults_and_try_again_when_they_do(pierhead: Region) -> None:
    async def until_slice() -> None:
        client = pierhead.client()
        async with client.watch(ENDPOINT_SLICE, "default", revision="0") as events:
            async for event in events:
                if b'"generateName":"web-"' in bytes(event.object):
                    break
        await client.close()

    theirs = pierhead.fault("create", "endpointslices", 500, times=9)
    ours = pierhead.fault("create", "endpointslices", 503, times=2, controllers=True)
    pierhead.apply(WEB)
    asyncio.run(until_slice())
    assert (theirs.left, ours.left) == (9, 0)


def test_a_reset_forgets_them(pierhead: Region) -> None:
    async def listed() -> int:
        client = pierhead.client()
        try:
            return len((await client.list(POD)).items)
        finally:
            await client.close()

    pierhead.fault("list", "pods", 500, times=100)
    pierhead.reset()
    assert asyncio.run(listed()) == 0
