"""The subresources that are no view of their object: pods/binding, pods/log, replicasets/scale, namespaces/finalize."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec

from pierhead.api import Tree, codec
from pierhead.api.selectors import from_tree
from pierhead.apiserver import answer
from pierhead.apiserver.answer import Answer, Chunks
from pierhead.apiserver.nodelink import LogQuery, NodeLink
from pierhead.apiserver.options import write_options
from pierhead.apiserver.patches import applied_to_view
from pierhead.apiserver.reads import found
from pierhead.apiserver.registry import ATTEMPTS, MODIFIED, Registry, rfc3339
from pierhead.apiserver.request import Request, body_media
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError, Cause, PreconditionFailed, bad_request, conflict, invalid
from pierhead.store import Entry

_decode = msgspec.json.Decoder(dict).decode


class Subresources:
    """Serves them."""

    def __init__(self, registry: Registry, node_link: NodeLink) -> None:
        self._registry = registry
        self._node_link = node_link

    # -- namespaces/finalize --------------------------------------------------------------------------------

    async def finalize(self, request: Request, route: Route) -> Answer:
        """Takes spec.finalizers from the body and nothing else. Without any, a namespace that is being deleted ends.

        Raises:
            ApiError: 404, 409 (something is still inside), 422.
        """
        options = write_options(request, "Update")
        body = codec.decode(route.kind, request.body, body_media(request)).tree
        finalizers = body.get("spec", {}).get("finalizers", [])

        def wanted(entry: Entry) -> Tree:
            obj = _decode(entry.value)
            obj["spec"] = {"finalizers": finalizers} if finalizers else {}
            return obj

        context = self._registry.context(
            request.identity.user, options.manager, dry_run=options.dry_run, subresource="finalize"
        )
        outcome = await self._registry.change(route, wanted, context)
        return answer.of_object(route.kind, outcome.value, request.form, warnings=context.warnings)

    # -- replicasets/scale ----------------------------------------------------------------------------------

    def scale(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 404."""
        return answer.of_tree(scale_of(_decode(found(self._registry.store, route).value)), request.form)

    async def rescale(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 400, 404, 409, 415, 422."""
        verb = "Patch" if route.verb == "patch" else "Update"
        options = write_options(request, "Patch" if verb == "Patch" else "Update")

        def wanted(entry: Entry) -> Tree:
            obj = _decode(entry.value)
            scale = applied_to_view(request, scale_of(obj)) if verb == "Patch" else body_tree(request)
            obj["spec"]["replicas"] = _replicas(route, scale, entry)
            return obj

        context = self._registry.context(request.identity.user, options.manager, dry_run=options.dry_run)
        outcome = await self._registry.change(replace(route, subresource=""), wanted, context)
        return answer.of_tree(scale_of(_decode(outcome.value)), request.form, warnings=context.warnings)

    # -- pods/binding ---------------------------------------------------------------------------------------

    async def bind(self, request: Request, route: Route) -> Answer:
        """Gives a pod its node, once and for all.

        Raises:
            ApiError: 400, 404, 409 (it has one, or is going), 500 (as the real server answers a bad target).
        """
        options, form = write_options(request, "Create"), request.form
        binding = body_tree(request)
        target = _target(route, binding)
        for _ in range(ATTEMPTS):
            entry = found(self._registry.store, route)
            pod = _decode(entry.value)
            _bind(route, pod, target, binding.get("metadata", {}), rfc3339())
            try:
                if not options.dry_run:
                    await self._registry.mark(route.kind, pod, entry)
            except PreconditionFailed:
                continue
            return answer.of_tree(answer.success(code=201), replace(form, view=""), 201)
        raise conflict(route.name, "pods/binding", "", MODIFIED)

    # -- pods/log -------------------------------------------------------------------------------------------

    async def log(self, request: Request, route: Route) -> Answer | Chunks:
        """Raises: ApiError 400, 404, and whatever the node says."""
        pod = _decode(found(self._registry.store, route).value)
        query = log_query(request, route, pod)
        node = pod["spec"].get("nodeName", "")
        if not node:
            return Answer(204, content_type=b"")
        chunks = aiter(self._node_link.logs(node, query))
        try:
            first = await anext(chunks)
        except StopAsyncIteration:
            return Answer(200, content_type=b"text/plain")
        return Chunks(_continued(first, chunks))


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def log_query(request: Request, route: Route, pod: Tree) -> LogQuery:
    """Raises: ApiError 400 for a container the pod does not have, or none named where it has several."""
    spec = pod.get("spec", {})
    names = [container["name"] for container in spec.get("containers", ())]
    every = names + [container["name"] for container in spec.get("initContainers", ())]
    container = request.query.get("container", "")
    if not container and len(names) != 1:
        raise bad_request(
            f"a container name must be specified for pod {route.name}, choose one of: [{' '.join(every)}]"
        )
    if container and container not in every:
        raise bad_request(f"container {container} is not valid for pod {route.name}")
    return LogQuery(
        namespace=route.namespace,
        pod=route.name,
        container=container or names[0],
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        timestamps=request.flag("timestamps"),
        tail_lines=request.number("tailLines"),
        limit_bytes=request.number("limitBytes"),
        since_seconds=request.number("sinceSeconds"),
        since_time=request.query.get("sinceTime", ""),
    )


def scale_of(obj: Tree) -> Tree:
    """The autoscaling/v1 Scale of a ReplicaSet."""
    metadata, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = spec.get("replicas", 0)
    shown: Tree = {"replicas": status.get("replicas", 0)}
    if selector := str(from_tree(spec.get("selector"))):
        shown["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def _replicas(route: Route, scale: Any, entry: Entry) -> int:
    metadata = scale.get("metadata") or {}
    named, revision = metadata.get("name", ""), metadata.get("resourceVersion", "")
    if named != route.name:
        raise bad_request(f"the name of the object ({named}) does not match the name on the URL ({route.name})")
    if revision and revision != str(entry.revision):
        raise conflict(route.name, route.kind.plural, route.kind.group, MODIFIED)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    if replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(route.name, "Scale", "autoscaling", [Cause("FieldValueInvalid", text, "spec.replicas")])
    return replicas


def body_tree(request: Request) -> Tree:
    """A body of a kind that we keep no schema of: JSON, as every client sends these.

    Raises:
        ApiError: 400, 415.
    """
    if body_media(request) != "json":
        raise ApiError(415, "UnsupportedMediaType", "the body of this request has to be application/json")
    try:
        tree = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body of the request cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise bad_request("the body of the request is no object")
    return tree


def _target(route: Route, binding: Tree) -> str:
    named, target = (binding.get("metadata") or {}).get("name", ""), binding.get("target") or {}
    if named != route.name:
        raise bad_request("name in URL does not match name in Binding object")
    if target.get("kind", "Node") not in ("", "Node"):
        raise ApiError(
            500, "", f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        )
    if not target.get("name"):
        raise ApiError(500, "", "target.name: Required value")
    return str(target["name"])


def _bind(route: Route, pod: Tree, node: str, metadata: Tree, now: str) -> None:
    holder = pod["spec"].get("nodeName", "")
    if holder:
        raise conflict(route.name, "pods/binding", "", f'pod {route.name} is already assigned to node "{holder}"')
    if pod["metadata"].get("deletionTimestamp"):
        raise conflict(
            route.name, "pods/binding", "", f"pod {route.name} is being deleted, cannot be assigned to a host"
        )
    pod["spec"]["nodeName"] = node
    if annotations := metadata.get("annotations"):
        pod["metadata"].setdefault("annotations", {}).update(annotations)
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [found for found in conditions if found["type"] != "PodScheduled"] + [condition]
