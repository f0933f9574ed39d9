"""Questions about oneself (authentication.k8s.io, authorization.k8s.io): answered from the fixed rights, and never kept."""

from __future__ import annotations

from typing import Any

import pytest

from pierhead.api import Tree
from pierhead.api.kinds import REVIEWS
from scenes import Region, play

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
MAY = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHAT = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


def resource(verb: str, plural: str, **more: str) -> Tree:
    return {"spec": {"resourceAttributes": {"verb": verb, "resource": plural, **more}}}


def path(name: str) -> Tree:
    return {"spec": {"nonResourceAttributes": {"verb": "get", "path": name}}}


def test_who_am_i() -> None:
    async def scene(region: Region) -> None:
        got = await region.node("POST", WHO, {})
        assert got.status == 201
        assert got.json["metadata"].keys() == {"creationTimestamp"}
        assert got.json["status"]["userInfo"] == {
            "username": "system:node:n1",
            "groups": ["system:nodes", "system:authenticated"],
        }

    play(scene)


@pytest.mark.parametrize("kind", REVIEWS, ids=lambda kind: kind.name)
def test_only_who_has_a_name_may_ask(kind: Any) -> None:
    async def scene(region: Region) -> None:
        assert (await region.anonymous("POST", kind.path(), {})).status == 403

    play(scene)


@pytest.mark.parametrize(
    ("question", "admin", "node", "bob"),
    [
        (resource("get", "services", namespace="default"), True, True, False),
        (resource("delete", "deployments", group="apps"), True, False, False),
        (resource("list", "secrets"), True, False, False),
        (resource("get", "secrets", name="s", namespace="default"), True, True, False),
        (resource("get", "pods", subresource="log"), True, False, False),
        (resource("create", "pods", subresource="exec"), True, False, False),
        (resource("patch", "pods", subresource="status"), True, True, False),
        (resource("update", "nodes", name="n1"), True, True, False),
        (resource("update", "nodes", name="n2"), True, False, False),
        (resource("update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n1"), True, True, False),
        (resource("update", "leases", namespace="kube-node-lease", name="n1"), True, False, False),
        (resource("*", "*", group="*"), True, False, False),
        (resource("create", "selfsubjectreviews", group="authentication.k8s.io"), True, True, True),
        (path("/metrics"), True, False, False),
        (path("/apis/apps"), True, True, True),
        (path("/readyz"), True, True, True),
        ({"spec": {"nonResourceAttributes": {}}}, True, False, False),
        ({"spec": {"resourceAttributes": {}}}, True, False, False),
    ],
)  # fmt: skip
def test_may_i(question: Tree, admin: bool, node: bool, bob: bool) -> None:
    async def scene(region: Region) -> None:
        answers = (
            await region.admin("POST", MAY, question),
            await region.node("POST", MAY, question),
            await region.admin("POST", MAY, question, {"impersonate-user": "bob"}),
        )
        assert [got.status for got in answers] == [201] * 3
        assert [got.json["status"] for got in answers] == [{"allowed": allowed} for allowed in (admin, node, bob)]
        assert answers[0].json["spec"] == question["spec"]

    play(scene)


def test_a_question_is_about_one_thing() -> None:
    async def scene(region: Region) -> None:
        nothing = await region.admin("POST", MAY, {"spec": {}})
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        message = f'.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: {why}'
        assert (nothing.status, nothing.json["message"]) == (422, message)
        both = await region.admin("POST", MAY, {"spec": resource("get", "pods")["spec"] | path("/x")["spec"]})
        assert both.status == 422
        assert "cannot be specified in combination with resourceAttributes" in both.json["message"]
        wrong = await region.admin("POST", MAY, {"spec": {"resourceAttributes": {"verb": 1}}})
        assert wrong.status == 400

    play(scene)


def test_what_may_i() -> None:
    async def scene(region: Region) -> None:
        question = {"spec": {"namespace": "default"}}
        everything = (await region.admin("POST", WHAT, question)).json["status"]
        assert everything["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        assert everything["incomplete"] is False
        bob = (await region.admin("POST", WHAT, question, {"impersonate-user": "bob"})).json["status"]
        assert [rule["resources"] for rule in bob["resourceRules"]] == [[kind.plural] for kind in REVIEWS]
        assert "/readyz" in bob["nonResourceRules"][0]["nonResourceURLs"]
        node = (await region.node("POST", WHAT, question)).json["status"]
        assert node["incomplete"] is True
        assert "SelfSubjectAccessReview" in node["evaluationError"]
        refused = await region.admin("POST", WHAT, {"spec": {}})
        assert (refused.status, refused.json["message"]) == (400, "no namespace on request")

    play(scene)


def test_nothing_is_kept() -> None:
    async def scene(region: Region) -> None:
        before = region.store.revision
        assert (await region.admin("POST", f"{MAY}?dryRun=All", resource("get", "pods"))).status == 201
        assert (await region.admin("GET", MAY)).status == 405
        assert region.store.revision == before

    play(scene)
