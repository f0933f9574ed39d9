"""Questions about oneself: who am I, may I, what may I. They are answered from the fixed rights of `auth`; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.kinds import REVIEWS, SELF_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_REVIEW, SELF_SUBJECT_RULES_REVIEW
from pierhead.api.rules import invalid_value
from pierhead.apiserver import answer, auth
from pierhead.apiserver.answer import Answer
from pierhead.apiserver.auth import Attributes, Identity
from pierhead.apiserver.bodies import given
from pierhead.apiserver.options import write_options
from pierhead.apiserver.registry import Registry, rfc3339
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.errors import Cause, bad_request, invalid

_Answer: TypeAlias = Callable[[Tree, Identity], Tree]
"""(the question, who asks) → its status."""

_ANYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ANYWHERE = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_OF_NODES = "the rights of a node depend on the object: ask for one at a time, with a SelfSubjectAccessReview"


class Reviews:
    """Answers them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def answer(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 400, 415, 422."""
        form, options, kind = request.form, write_options(request, "Create"), route.kind
        context = self._registry.context(request.identity.user, options.manager, dry_run=options.dry_run)
        review = given(request, kind, options, context)
        if causes := _causes(kind, review):
            raise invalid("", "", kind.group, causes)
        if kind is SELF_SUBJECT_REVIEW:
            review["metadata"] = {"creationTimestamp": rfc3339()}
        head = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": review["metadata"]}
        spec = {"spec": review["spec"]} if "spec" in review else {}
        status = _ANSWERS[kind](review.get("spec", {}), request.identity)
        return answer.of_tree(head | spec | {"status": status}, form, 201, context.warnings)


def _causes(kind: Kind, review: Tree) -> list[Cause]:
    if kind is not SELF_SUBJECT_ACCESS_REVIEW:
        return []
    spec, causes = review["spec"], []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        causes.append(invalid_value("spec.nonResourceAttributes", path, text))
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(invalid_value("spec.resourceAttributes", None, text))
    return causes


def _who(_: Tree, identity: Identity) -> Tree:
    return {"userInfo": {"username": identity.user, "groups": list(identity.groups)}}


def _whether(spec: Tree, identity: Identity) -> Tree:
    if (path := spec.get("nonResourceAttributes")) is not None:
        return {"allowed": auth.may_see(identity, path.get("path", ""))}
    wanted = spec["resourceAttributes"]
    names = ("verb", "resource", "group", "subresource", "namespace", "name")
    return {"allowed": auth.may(identity, Attributes(*(wanted.get(name, "") for name in names)))}


def _what(spec: Tree, identity: Identity) -> Tree:
    """Raises: ApiError 400."""
    if not spec.get("namespace"):
        raise bad_request("no namespace on request")
    if identity.anything:
        return {"resourceRules": [_ANYTHING], "nonResourceRules": [_ANYWHERE], "incomplete": False}
    seen = [*auth.PUBLIC, *auth.DISCOVERY, *(f"{path}/*" for path in auth.DISCOVERY), "/"]
    rules = {
        "resourceRules": [
            {"verbs": ["create"], "apiGroups": [kind.group], "resources": [kind.plural]} for kind in REVIEWS
        ],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": seen}],
        "incomplete": bool(identity.node),
    }
    return rules | ({"evaluationError": _OF_NODES} if identity.node else {})


_ANSWERS: Mapping[Kind, _Answer] = {
    SELF_SUBJECT_REVIEW: _who,
    SELF_SUBJECT_ACCESS_REVIEW: _whether,
    SELF_SUBJECT_RULES_REVIEW: _what,
}
