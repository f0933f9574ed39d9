"""Paths and methods, as discovery and the read cases of the real server have them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.kinds import SERVED
from pierhead.apiserver.router import Route, Router
from pierhead.errors import ApiError

ROUTER = Router(SERVED)


def route(method: str, path: str) -> Route:
    return ROUTER.route(method, path.strip("/").split("/"))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/services", ("list", "services", "", "", "")),
        ("GET", "/api/v1/namespaces/a/services", ("list", "services", "a", "", "")),
        ("POST", "/api/v1/namespaces/a/services", ("create", "services", "a", "", "")),
        ("DELETE", "/api/v1/namespaces/a/services", ("deletecollection", "services", "a", "", "")),
        ("PUT", "/api/v1/namespaces/a/services/web", ("update", "services", "a", "web", "")),
        ("PATCH", "/api/v1/namespaces/a/services/web/status", ("patch", "services", "a", "web", "status")),
        ("POST", "/api/v1/namespaces/a/pods/p/binding", ("create", "pods", "a", "p", "binding")),
        ("POST", "/api/v1/namespaces/a/pods/p/eviction", ("create", "pods", "a", "p", "eviction")),
        ("GET", "/api/v1/namespaces/a/pods/p/exec", ("get", "pods", "a", "p", "exec")),
        ("POST", "/api/v1/namespaces/a/pods/p/portforward", ("create", "pods", "a", "p", "portforward")),
        ("DELETE", "/api/v1/namespaces/a/services/web/proxy", ("delete", "services", "a", "web", "proxy")),
        ("GET", "/api/v1/nodes/n/proxy/stats/summary", ("get", "nodes", "", "n", "proxy")),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ("create", "selfsubjectaccessreviews", "", "", ""),
        ),
        ("GET", "/api/v1/namespaces/a/pods/p/log", ("get", "pods", "a", "p", "log")),
        ("GET", "/api/v1/namespaces/a", ("get", "namespaces", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/status", ("get", "namespaces", "", "a", "status")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "namespaces", "", "a", "finalize")),
        ("GET", "/api/v1/nodes/n", ("get", "nodes", "", "n", "")),
        ("GET", "/apis/apps/v1/namespaces/a/replicasets/r/scale", ("get", "replicasets", "a", "r", "scale")),
        ("GET", "/api/v1/watch/namespaces/a/services", ("watch", "services", "a", "", "")),
        ("GET", "/api/v1/watch/namespaces/a/services/web", ("watch", "services", "a", "web", "")),
    ],
)
def test_a_path_names_a_resource_and_a_method_its_verb(method: str, path: str, expected: tuple[str, ...]) -> None:
    found = route(method, path)
    assert (found.verb, found.kind.plural, found.namespace, found.name, found.subresource) == expected


@pytest.mark.parametrize(
    ("code", "method", "path"),
    [
        (404, "GET", "/api/v2/services"),
        (404, "GET", "/apis/apps/v9/replicasets"),
        (404, "GET", "/api/v1/namespaces/a/nodes"),
        (404, "GET", "/api/v1/services/web"),
        (404, "GET", "/api/v1/namespaces/a/services/web/scale"),
        (404, "GET", "/api/v1/namespaces/a/services/web/status/x"),
        (404, "GET", "/api/v1/namespaces//services"),
        (404, "GET", "/api/v1/namespaces/a/endpoints/e/status"),
        (404, "GET", "/api/v1/namespaces/a/services/web/exec"),
        (404, "GET", "/api/v1/namespaces/a/configmaps/m/proxy"),
        (404, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x"),
        (405, "GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        (405, "DELETE", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
        (405, "DELETE", "/api/v1/namespaces/a/pods/p/exec"),
        (405, "PUT", "/api/v1/namespaces/a/services"),
        (405, "POST", "/api/v1/namespaces/a/services/web"),
        (405, "POST", "/api/v1/services"),
        (405, "DELETE", "/api/v1/services"),
        (405, "DELETE", "/api/v1/namespaces"),
        (405, "HEAD", "/api/v1/namespaces/a/services"),
        (405, "OPTIONS", "/api/v1/namespaces/a/services/web"),
        (405, "GET", "/api/v1/namespaces/a/pods/p/binding"),
        (405, "POST", "/api/v1/watch/namespaces/a/services"),
    ],
)
def test_what_is_not_served(code: int, method: str, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        route(method, path)
    assert refused.value.code == code


def test_keys_of_the_store_follow_the_path() -> None:
    assert route("GET", "/api/v1/namespaces/a/services/web").key == "services/a/web"
    assert route("GET", "/api/v1/services").prefix == "services/"
    assert (
        route("GET", "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices").prefix
        == "endpointslices.discovery.k8s.io/a/"
    )
    assert route("GET", "/api/v1/nodes/n").key == "nodes/n"


@given(
    st.sampled_from(["GET", "PUT", "X"]),
    st.lists(st.sampled_from(["namespaces", "a", "services", "watch", "", "pods"]), min_size=1),
)
def test_any_path_has_an_answer(method: str, parts: list[str]) -> None:
    with contextlib.suppress(ApiError):
        found = ROUTER.route(method, ["api", "v1", *parts])
        assert found.kind.plural in parts
