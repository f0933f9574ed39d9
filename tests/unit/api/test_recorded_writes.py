"""What kube-apiserver 1.36 answered to writes of Services, Endpoints and EndpointSlices, without a server in between.

Each recorded case that asks for nothing but this road is walked by hand: decode, complete, prepare, allocate, validate, encode.
"""

from __future__ import annotations

import json
import random
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from pierhead.api import Tree, codec, metadata
from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from pierhead.api.network import Network
from pierhead.api.patch import merge_patch
from pierhead.api.strategy import Write
from pierhead.core.allocation import allocate, held
from pierhead.core.claims import Allocation
from pierhead.errors import ApiError, invalid
from recorded.recording import Bindings, Comparison, cases

RECORDED = Path(__file__).parents[2] / "recorded" / "cases"
AREAS = (
    "services-create",
    "services-update",
    "services-allocation",
    "services-dualstack",
    "endpoints",
    "endpointslices",
)
KINDS = {kind.plural: kind for kind in (SERVICE, ENDPOINTS, ENDPOINT_SLICE)}
RANGES = {
    "single": (ip_network("10.96.0.0/16"),),
    "dual": (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112")),
}
NOW = "2026-01-02T03:04:05Z"
UID = "00000000-0000-4000-8000-00000000000a"
JSON_MEDIA = (None, "application/json", "application/merge-patch+json")


class Desk:
    """Objects and claims in two dicts, and one road for every write."""

    def __init__(self, config: str) -> None:
        self.network = Network("none", RANGES[config])
        self.objects: dict[str, Tree] = {}
        self.claims: dict[str, str] = {}
        self.chance = random.Random(1)

    def holder(self, key: str) -> str | None:
        return self.claims.get(key)

    def write(
        self, kind: Kind, key: str, obj: Tree, *, create: bool, status: bool, dry_run: bool
    ) -> tuple[Tree, list[str]]:
        write = Write(NOW, self.network, dry_run=dry_run, subresource="status" if status else "")
        old = None if create else self.objects.get(key)
        obj = codec.check(kind, obj).tree
        codec.complete(kind, obj)
        about = obj["metadata"]
        about["uid"] = about.get("uid") or UID
        about["creationTimestamp"] = NOW
        if old is None:
            kind.strategy.prepare_create(obj, write)
        else:
            if "generation" in old["metadata"]:
                about["generation"] = old["metadata"]["generation"]
            kind.strategy.prepare_update(obj, old, write)
        allocation = Allocation()
        if kind is SERVICE and not status:
            allocation = allocate(obj, old, self.network, self, self.chance.randrange, dry_run=dry_run)
        if old is None:
            causes = [*metadata.validate(kind, obj), *kind.strategy.validate(obj, write)]
        else:
            causes = [*metadata.validate_update(kind, obj, old), *kind.strategy.validate_update(obj, old, write)]
        if causes:
            raise invalid(about.get("name", ""), kind.name, kind.group, causes)
        if not dry_run:
            self._commit(key, obj, allocation)
        return obj, kind.strategy.warnings(obj, old)

    def _commit(self, key: str, obj: Tree, allocation: Allocation) -> None:
        assert not set(allocation.take) & self.claims.keys(), "nothing is given twice"
        self.claims.update(dict.fromkeys(allocation.take, key))
        for claim in allocation.release:
            assert self.claims.pop(claim) == key
        self.objects[key] = json.loads(codec.encode(KINDS[key.split("/")[0]], obj))

    def delete(self, key: str) -> None:
        for claim in held(self.objects.pop(key)):
            assert self.claims.pop(claim) == key


def _target(path: str) -> tuple[Kind, str, bool, bool]:
    path, _, query = path.partition("?")
    parts = path.split("/namespaces/{ns}/", 1)[1].split("/")
    name = parts[1] if len(parts) > 1 else ""
    return KINDS[parts[0]], name, parts[-1] == "status", query == "dryRun=All"


def _plays(step: dict[str, Any]) -> bool:
    """Whether a step is a write of ours and nothing else."""
    request, response = step["request"], step["response"]
    path = request["path"]
    media = (request.get("headers") or {}).get("Content-Type")
    if "/namespaces/{ns}/" not in path or ("?" in path and not path.endswith("?dryRun=All")):
        return False
    if path.partition("?")[0].split("/namespaces/{ns}/")[1].split("/")[0] not in KINDS:
        return False
    if request["method"] == "DELETE":
        return len(path.split("/namespaces/{ns}/")[1].split("/")) == 2 and response["status"] == 200
    if request["method"] == "GET":
        return bool(response["status"] == 200)
    given = request.get("body")
    ours = isinstance(given, dict) and "$base64" not in given and set(request.get("headers") or {}) <= {"Content-Type"}
    text = json.dumps(response.get("body"))
    foreign = (
        "Go struct field",
        "patch: Invalid",
        "StorageError",
        "cannot be handled",
        "unknown field",
        "already exists",
    )
    outcome = response["status"] in (200, 201, 422) or "Internal error occurred" in text
    return bool(ours and media in JSON_MEDIA and outcome and not any(word in text for word in foreign))


def _collect() -> list[Any]:
    found = []
    for area in AREAS:
        for case in cases(RECORDED / f"{area}.jsonl"):
            clean = all(_plays(step) for step in case["steps"]) and not any(
                word in json.dumps(case) for word in ("finalizers", "generateName", "unknown field")
            )
            if clean:
                found.append(pytest.param(case, id=case["id"]))
    return found


@pytest.mark.parametrize("case", _collect())
def test_answers_as_recorded(case: dict[str, Any]) -> None:
    desk, bindings = Desk(case["config"]), Bindings("test")
    for step in case["steps"]:
        request = bindings.fill(step["request"])
        kind, name, status, dry_run = _target(step["request"]["path"])
        key = f"{kind.plural}/{name or _named(request)}"
        if request["method"] == "DELETE":
            desk.delete(key)
            continue
        expected = step["response"]
        try:
            answer, warnings = _answer(desk, kind, key, request, status=status, dry_run=dry_run)
        except ApiError as error:
            answer, warnings = error.status(), []
        if expected.get("body", {}).get("kind") != "Status":
            answer = json.loads(codec.encode(kind, answer))
        problems = list(_differences(bindings, expected["body"], answer))
        assert not problems, (request.get("body"), problems)
        if request["method"] != "GET" and answer.get("kind") != "Status":
            texts = [f'299 - "{text.translate(ESCAPES)}"' for text in [kind.deprecation, *warnings] if text]
            recorded = expected["headers"].get("warning", [])
            assert len(texts) == len(recorded)
            assert all(map(bindings.matches, recorded, texts)), texts


def _named(request: dict[str, Any]) -> str:
    body = request.get("body") or {}
    return str((body.get("metadata") or {}).get("name"))


ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


def _answer(
    desk: Desk, kind: Kind, key: str, request: dict[str, Any], *, status: bool, dry_run: bool
) -> tuple[Tree, list[str]]:
    if request["method"] == "GET":
        return desk.objects[key], []
    body = request["body"]
    if request["method"] == "PATCH":
        body = merge_patch(json.loads(json.dumps(desk.objects[key])), body)
    body["metadata"] = {"namespace": "test"} | (body.get("metadata") or {})
    create = request["method"] == "POST"
    return desk.write(kind, key, body, create=create, status=status, dry_run=dry_run)


def _differences(bindings: Bindings, expected: Tree, actual: Tree) -> list[str]:
    """What the server adds after this road (versions, managed fields) is left out."""
    for tree in (expected, actual):
        for name in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            tree.get("metadata", {}).pop(name, None)
    return list(Comparison(bindings).differences(expected, actual))
