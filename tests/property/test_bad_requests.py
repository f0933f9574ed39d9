"""Whatever is sent, the answer is the API's: never a failure of ours, never half a write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi import Reply
from pierhead.api.kinds import SERVED
from pierhead.apiserver.router import UNSERVED
from scenes import Region

T = TypeVar("T")

MEDIA = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
WORDS = [
    "metadata",
    "name",
    "namespace",
    "labels",
    "spec",
    "status",
    "ports",
    "port",
    "type",
    "data",
    "kind",
    "apiVersion",
    "replicas",
    "selector",
    "template",
    "containers",
    "finalizers",
    "resourceVersion",
    "uid",
    "endpoints",
    "subsets",
    "addresses",
    "a",
    "Service",
    "v1",
    "default",
    "$patch",
    "op",
    "path",
    "value",
    "/spec/ports/0",
    "1",
    "True",
]
SERVICES = "/api/v1/namespaces/default/services"
MANAGED = (
    '{"managedFields":[{"operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","manager":"m","fieldsV1":%s}]}'
)
PARAMETERS = [
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "dryRun",
    "fieldValidation",
    "fieldManager",
    "force",
    "pretty",
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "includeObject",
    "sendInitialEvents",
    "tailLines",
    "container",
]
words = st.sampled_from(["", *WORDS])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | words | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
objects = st.fixed_dictionaries(
    {"metadata": st.just({"name": "x"})},
    optional={
        "spec": values
        | st.fixed_dictionaries({}, optional={"resourceAttributes": values, "nonResourceAttributes": values}),
        "deleteOptions": values,
        "status": values,
        "data": values,
        "subsets": values,
        "endpoints": values,
        "ports": values,
    },
)
bodies = st.one_of(objects, values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
queries = st.lists(
    st.tuples(st.sampled_from(PARAMETERS), st.text("ab019-=,!()<> é%", max_size=8)),
    max_size=2,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


@st.composite
def targets(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(SERVED))
    name = draw(st.sampled_from(["", "x", "y", "%2F", "default"]))
    subresource = draw(st.sampled_from(["", *kind.subresources, *UNSERVED.get(kind.plural, ())])) if name else ""
    return kind.path(draw(st.sampled_from(["default", "none"])), name, subresource)


def populated(scene: Callable[[Region], Awaitable[T]]) -> T:
    """Plays a scene in a region that has a Service and a Pod, both of the name ``x``."""

    async def main() -> T:
        region = Region()
        await region.prepare()
        for kind, spec in (
            ("services", {"ports": [{"port": 80}]}),
            ("pods", {"containers": [{"name": "c", "image": "host"}]}),
        ):
            await region.admin("POST", f"/api/v1/namespaces/default/{kind}", {"metadata": {"name": "x"}, "spec": spec})
        found = await scene(region)
        region.app.close()
        return found

    return asyncio.run(asyncio.wait_for(main(), 20))


def serve(method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[Reply, Region]:
    async def scene(region: Region) -> tuple[Reply, Region]:
        return await region.admin(method, target, body, headers), region

    return populated(scene)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), targets(), queries, bodies, st.sampled_from(MEDIA))
def test_any_request_has_an_answer_of_the_api(method: str, target: str, query: str, body: bytes, media: str) -> None:
    reply, region = serve(method, f"{target}?{query}", body, {"content-type": media})
    assert reply.status < 500 or reply.json.get("reason") != "InternalError", reply.body
    if reply.status >= 400 and reply.header("content-type") == ["application/json"]:
        assert reply.json["code"] == reply.status
    for entry in region.store.range(""):
        if not entry.key.startswith("claims/"):
            assert json.loads(entry.value)["metadata"]["resourceVersion"] == str(entry.revision)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("nest", ["[%s]", '{"a":%s}', '{"f:a":%s}'])
def test_no_depth_is_too_deep_for_an_answer(method: str, nest: str) -> None:
    """At some depths one walk over a body still gets through and the next one, with larger frames, does not."""
    left, right = nest.split("%s")
    media = MEDIA[4:] if method == "PATCH" else MEDIA[:1]
    target = SERVICES if method == "POST" else f"{SERVICES}/x"

    async def scene(region: Region) -> None:
        for depth in (*range(100, 1000, 100), 100_000):
            deep = f"{left * depth}1{right * depth}"
            for body in (f'{{"x":{deep}}}', f'{{"spec":{{"selector":{deep}}}}}', f'{{"metadata":{MANAGED % deep}}}'):
                for kind in media:
                    reply = await region.admin(method, target, body.encode(), {"content-type": kind})
                    assert reply.status < 500, (depth, reply.body)

    populated(scene)


def test_half_a_surrogate_pair_is_answered_wherever_it_stands() -> None:
    for body in (
        rb'{"kind":"\ud800"}',
        rb'{"apiVersion":"\ud800"}',
        rb'{"\ud800":1}',
        rb'{"metadata":{"name":"\udc00"}}',
    ):
        reply, _ = serve("POST", f"{SERVICES}?fieldValidation=Strict", body, {"content-type": MEDIA[0]})
        assert 400 <= reply.status < 500
        assert "\ufffd" in reply.json["message"]


@pytest.mark.parametrize(
    "accept", ["", "*/*;q=", ";;,,", "application/json;as=Table", "application/json;as=;v=;g=", "é"]
)
def test_any_accept_header_has_an_answer(accept: str) -> None:
    reply, _ = serve("GET", "/api/v1/services", b"", {"accept": accept.encode().decode("latin-1")})
    assert reply.status in (200, 406)
