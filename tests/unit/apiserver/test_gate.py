"""The gate: whoever runs an API server may refuse a request for a resource before it is answered."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

from asgi import Direct, Reply
from pierhead.api.codec import stamp
from pierhead.api.network import Network
from pierhead.apiserver.application import ApiServer
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError
from pierhead.store.memory import MemoryStore
from scenes import TOKENS, Logs


def ask(method: str, target: str, *, token: str = "admin") -> tuple[Reply, list[str]]:
    """The answer of a server whose gate refuses every write, and what the gate was asked."""
    asked: list[str] = []

    def gate(request: Request, route: Route) -> None:
        asked.append(f"{route.verb} {route.resource} {route.namespace}/{route.name}")
        if request.method != "GET":
            raise ApiError(503, "ServiceUnavailable", "not now", retry_after=2)

    network = Network("none", (ip_network("10.96.0.0/16"),))
    app = ApiServer(MemoryStore(stamp), network, TOKENS, Logs(), gate=gate)
    return asyncio.run(Direct(app, token)(method, target)), asked


def test_what_it_refuses_is_answered_as_a_status_and_changes_nothing() -> None:
    answered, asked = ask("DELETE", "/api/v1/namespaces/default/services/web")
    assert (answered.status, answered.json["message"]) == (503, "not now")
    assert answered.header("retry-after") == ["2"]
    assert asked == ["delete services default/web"]


def test_what_it_lets_pass_is_answered() -> None:
    answered, asked = ask("GET", "/api/v1/namespaces/default/pods/web/status")
    assert answered.status == 404
    assert asked == ["get pods/status default/web"]


def test_it_is_not_asked_about_what_may_not_be_nor_about_other_paths() -> None:
    assert ask("DELETE", "/api/v1/nodes/n2", token="node")[1] == []
    assert ask("GET", "/version")[1] == []
