"""The subresources that are no view of their object: pods/binding, pods/eviction, pods/log, replicasets/scale,
namespaces/finalize; and what is said of those that are not served yet."""

from __future__ import annotations

from typing import NoReturn

import msgspec
from msgspec.structs import replace

from pierhead.api import Tree
from pierhead.api.codec import times
from pierhead.api.kind import Kind
from pierhead.api.kinds import POD
from pierhead.api.logs import LogQuery, validate
from pierhead.api.pods import set_condition
from pierhead.api.selectors import from_tree
from pierhead.apiserver import answer
from pierhead.apiserver.answer import Answer, Chunks
from pierhead.apiserver.bodies import given, patched
from pierhead.apiserver.deletes import Deletes
from pierhead.apiserver.nodelink import NodeLink
from pierhead.apiserver.options import checked_delete, write_options
from pierhead.apiserver.reads import found
from pierhead.apiserver.registry import ATTEMPTS, MODIFIED, Registry, rfc3339
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.apiserver.writes import check_name
from pierhead.errors import ApiError, Cause, PreconditionFailed, bad_request, conflict, invalid
from pierhead.store import Entry

SCALE = Kind("autoscaling", "v1", "Scale", "scales", "api.autoscaling.v1.Scale")
BINDING = Kind("", "v1", "Binding", "bindings", "api.core.v1.Binding")
EVICTION = Kind("policy", "v1", "Eviction", "evictions", "api.policy.v1.Eviction")
"""What these subresources speak; no objects of their own."""

_WHY_NOT = {
    "attach": "attaching to a container is not served yet; kubectl logs -f shows what it writes",
    "exec": "running a command in a container is not served yet",
    "portforward": "forwarding a port is not served yet; a pod answers at its own address, status.podIP",
    "proxy": "the API server forwards no requests yet; Services, pods and nodes answer at their own addresses",
}
"""Subresource → why not, and what to do instead."""

_decode = msgspec.json.Decoder(dict).decode


class Subresources:
    """Serves them."""

    def __init__(self, registry: Registry, deletes: Deletes, node_link: NodeLink) -> None:
        self._registry = registry
        self._deletes = deletes
        self._node_link = node_link

    # -- namespaces/finalize --------------------------------------------------------------------------------

    async def finalize(self, request: Request, route: Route) -> Answer:
        """Takes spec.finalizers from the body and nothing else. Without any, a namespace that is being deleted ends.

        Raises:
            ApiError: 404, 409 (something is still inside), 422.
        """
        options = write_options(request, "Update")
        context = self._registry.context(
            request.identity.user, options.manager, dry_run=options.dry_run, subresource="finalize"
        )
        body = given(request, route.kind, options, context)
        check_name(route, body)
        finalizers = body.get("spec", {}).get("finalizers", [])

        def wanted(entry: Entry) -> Tree:
            obj = _decode(entry.value)
            obj["spec"] = {"finalizers": finalizers} if finalizers else {}
            return obj

        outcome = await self._registry.change(route, wanted, context)
        return answer.of_object(route.kind, outcome.value, request.form, warnings=context.warnings)

    # -- replicasets/scale ----------------------------------------------------------------------------------

    def scale(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 404."""
        return answer.of_tree(scale_of(_decode(found(self._registry.store, route).value)), request.form)

    async def rescale(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 400, 404, 409, 415, 422."""
        patch = route.verb == "patch"
        options = write_options(request, "Patch" if patch else "Update")
        context = self._registry.context(request.identity.user, options.manager, dry_run=options.dry_run)
        body = {} if patch else given(request, SCALE, options, context)

        def wanted(entry: Entry) -> Tree:
            obj = _decode(entry.value)
            scale = patched(request, SCALE, scale_of(obj), options, context) if patch else body
            obj["spec"]["replicas"] = _replicas(route, scale, entry)
            return obj

        outcome = await self._registry.change(replace(route, subresource=""), wanted, context)
        return answer.of_tree(scale_of(_decode(outcome.value)), request.form, warnings=context.warnings)

    # -- pods/binding ---------------------------------------------------------------------------------------

    async def bind(self, request: Request, route: Route) -> Answer:
        """Gives a pod its node, once and for all.

        Raises:
            ApiError: 400, 404, 409 (it has one, or is going), 500 (as the real server answers a bad target).
        """
        options, form = write_options(request, "Create"), request.form
        context = self._registry.context(request.identity.user, options.manager, dry_run=options.dry_run)
        binding = given(request, BINDING, options, context)
        target = _target(route, binding)
        for _ in range(ATTEMPTS):
            entry = found(self._registry.store, route)
            pod = _decode(entry.value)
            _check_same(route, pod, entry, binding["metadata"])
            _bind(route, pod, target, binding["metadata"], rfc3339())
            try:
                if not options.dry_run:
                    await self._registry.mark(route.kind, pod, entry)
            except PreconditionFailed:
                continue
            return answer.of_tree(answer.success(code=201), replace(form, view=""), 201, context.warnings)
        raise conflict(route.name, "pods/binding", "", MODIFIED)

    # -- pods/eviction --------------------------------------------------------------------------------------

    async def evict(self, request: Request, route: Route) -> Answer:
        """A delete in other words. There are no disruption budgets that could stand in its way.

        Raises:
            ApiError: 400, 404, 409 (preconditions), 422.
        """
        options, form = write_options(request, "Create"), request.form
        context = self._registry.context(request.identity.user, options.manager, dry_run=options.dry_run)
        eviction = given(request, EVICTION, options, context)
        if eviction["metadata"].get("name", "") != route.name:
            raise bad_request("name in URL does not match name in Eviction object")
        wanted = checked_delete(eviction.get("deleteOptions") or {})
        wanted = replace(wanted, dry_run=wanted.dry_run or options.dry_run)
        why = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": rfc3339()}
        why |= {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
        await self._deletes.remove(route, wanted, why)
        return answer.of_tree(answer.success(code=201), replace(form, view=""), 201, context.warnings)

    # -- pods/log -------------------------------------------------------------------------------------------

    async def log(self, request: Request, route: Route) -> Answer | Chunks:
        """Raises: ApiError 400, 404, 422, and whatever the node says."""
        pod = _decode(found(self._registry.store, route).value)
        query = log_query(request, route, pod)
        node = pod["spec"].get("nodeName", "")
        if not node:
            return Answer(204, content_type=b"")
        return Chunks(self._node_link.logs(node, query))

    # -- what is not served yet -----------------------------------------------------------------------------

    def refuse(self, route: Route) -> NoReturn:
        """Raises: ApiError 400, 404, 501."""
        obj = _decode(found(self._registry.store, replace(route, subresource="")).value)
        if route.kind is POD and not obj["spec"].get("nodeName"):
            raise bad_request(f"pod {route.name} does not have a host assigned")
        raise ApiError(501, "", _WHY_NOT[route.subresource])


def log_query(request: Request, route: Route, pod: Tree) -> LogQuery:
    """Raises: ApiError 400 for a container the pod does not have, or none named where it has several; 422."""
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
    query = LogQuery(
        namespace=route.namespace,
        pod=route.name,
        container=container or names[0],
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        timestamps=request.flag("timestamps"),
        tail_lines=request.number("tailLines"),
        limit_bytes=request.number("limitBytes"),
        since_seconds=request.number("sinceSeconds"),
        since_time=_time(request.query.get("sinceTime", "")),
    )
    if causes := validate(query):
        raise invalid(route.name, "PodLogOptions", "", causes)
    return query


def _time(text: str) -> str:
    try:
        return text and times.canonical(text) and text
    except ValueError as error:
        raise bad_request(str(error)) from error


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


def _replicas(route: Route, scale: Tree, entry: Entry) -> int:
    check_name(route, scale)
    revision = scale["metadata"].get("resourceVersion", "")
    if revision and revision != str(entry.revision):
        raise conflict(route.name, route.kind.plural, route.kind.group, MODIFIED)
    replicas: int = scale.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(route.name, SCALE.name, SCALE.group, [Cause("FieldValueInvalid", text, "spec.replicas")])
    return replicas


def _target(route: Route, binding: Tree) -> str:
    target = binding.get("target", {})
    if binding["metadata"].get("name", "") != route.name:
        raise bad_request("name in URL does not match name in Binding object")
    if target.get("kind", "Node") not in ("", "Node"):
        raise ApiError(
            500, "", f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        )
    if not target.get("name"):
        raise ApiError(500, "", "target.name: Required value")
    name: str = target["name"]
    return name


def _check_same(route: Route, pod: Tree, entry: Entry, wanted: Tree) -> None:
    """A Binding may name the very pod it was decided for, by uid and resourceVersion.

    Raises:
        ApiError: 409.
    """
    held = {"uid": ("UID", pod["metadata"]["uid"]), "resourceVersion": ("ResourceVersion", str(entry.revision))}
    for name, (word, is_now) in held.items():
        if wanted.get(name, is_now) not in ("", is_now):
            why = f"Precondition failed: {word} in precondition: {wanted[name]}, {word} in object meta: {is_now}"
            raise conflict(route.name, "pods/binding", "", why)


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
    set_condition(pod, {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
