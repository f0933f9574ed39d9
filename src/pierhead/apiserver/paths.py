"""The paths that are no resource: health, version, configuration, metrics, discovery and OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from pierhead import KUBERNETES
from pierhead.api import Tree, configz
from pierhead.api.kind import Kind
from pierhead.api.network import Network
from pierhead.apiserver import answer, discovery, health, openapi
from pierhead.apiserver.answer import Answer, text
from pierhead.apiserver.metrics import CONTENT_TYPE, Metrics
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import not_allowed, not_served

VERSION: Tree = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": f"{KUBERNETES}+pierhead",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
_Handler: TypeAlias = Callable[[Request], Answer]


class Paths:
    """Answers them."""

    def __init__(self, kinds: Sequence[Kind], metrics: Metrics, checks: health.Checks, network: Network) -> None:
        self._kinds = kinds
        self._checks = checks
        self._exact: Mapping[str, _Handler] = {
            "/": self._index,
            "/version": lambda request: answer.of_tree(VERSION, replace(request.form, pretty=True)),
            "/openapi/v2": _described_in_version_2,
            configz.PATH: lambda request: answer.of_tree(configz.tell(network), replace(request.form, pretty=True)),
            "/metrics": lambda _: Answer(200, metrics.render(), CONTENT_TYPE),
        }

    def answer(self, request: Request, parts: Sequence[str]) -> Answer:
        """``parts``: of the path, unescaped.

        Raises:
            ApiError: 404, 405, 406.
        """
        if parts and f"/{parts[0]}" in health.PATHS:
            return health.answer(request, self._checks)
        handler = self._exact.get("/version" if request.path == "/version/" else request.path)  # kr8s asks so
        if handler is None and parts and parts[0] in ("api", "apis"):
            return self._discovered(request, parts)
        if handler is None and list(parts[:2]) == ["openapi", "v3"]:
            return self._described(request, parts[2:])
        if handler is None:
            return text("404 page not found\n", 404)
        if request.method != "GET":
            raise not_allowed()
        return handler(request)

    def _discovered(self, request: Request, parts: Sequence[str]) -> Answer:
        found = discovery.find(self._kinds, parts, request.headers.get("accept", ""))
        if found is None:
            known = parts[0] == "api" or any(kind.group == parts[1] for kind in self._kinds)
            if known:
                raise not_served()
            return text("404 page not found\n", 404)
        if request.method != "GET" and request.path != "/apis":
            raise not_allowed()
        content_type, tree = found
        form = replace(request.form, view="") if content_type == "application/json" else request.fallback
        result = answer.of_tree(tree, form)
        return result if form.yaml else replace(result, content_type=content_type.encode())

    def _described(self, request: Request, rest: Sequence[str]) -> Answer:
        body = openapi.find(self._kinds, rest)
        if body is None:
            return Answer(404, content_type=b"")
        return Answer(200, body)

    def _index(self, request: Request) -> Answer:
        versions = sorted({kind.root for kind in self._kinds})
        groups = sorted({f"/apis/{kind.group}" for kind in self._kinds if kind.group})
        rest = [f"{base}/{check}" for base in health.PATHS for check in self._checks]
        own = self._exact.keys() - {"/"}
        paths = ["/api", "/apis", "/openapi/v3", *versions, *groups, *health.PATHS, *rest, *own]
        return answer.of_tree({"paths": sorted(paths)}, replace(request.fallback, pretty=True))


def _described_in_version_2(request: Request) -> Answer:
    content_type, body = openapi.version_2(request.headers.get("accept", ""))
    return Answer(200, body, content_type)
