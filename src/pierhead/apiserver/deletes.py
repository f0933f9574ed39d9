"""delete and deletecollection: at once, or in steps where finalizers, a grace period or a namespace's content stand in the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from pierhead.api import Tree
from pierhead.api.codec import encode, stamp
from pierhead.api.kind import Kind
from pierhead.api.kinds import NAMESPACE
from pierhead.api.pods import set_condition
from pierhead.apiserver import answer, auth
from pierhead.apiserver.answer import Answer
from pierhead.apiserver.options import DeleteOptions, delete_options
from pierhead.apiserver.reads import found, selected
from pierhead.apiserver.registry import ATTEMPTS, MODIFIED, Outcome, Registry, is_over, rfc3339
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError, PreconditionFailed, conflict, forbidden
from pierhead.store import Entry

PROTECTED = frozenset(("default", "kube-system", "kube-public"))
"""Namespaces that stay."""
LONGEST_GRACE = 2**63 // 10**9
"""Seconds; as much as a Go Duration holds (292 years). The end of a longer one would be no date."""
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""Finalizers of the garbage collector."""

_decode = msgspec.json.Decoder(dict).decode


class Deletes:
    """The removing verbs of every kind."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def delete(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError 400, 403, 404, 409, 422."""
        form, options = request.form, delete_options(request)
        auth.admit(request.identity, route, _decode(found(self._registry.store, route).value))
        outcome = await self.remove(route, options)
        kind = route.kind
        if outcome.removed and kind.delete_returns == "status":
            uid = _decode(outcome.value)["metadata"]["uid"]
            named = {"name": route.name, "group": kind.group, "kind": kind.plural, "uid": uid}
            status = answer.success({key: value for key, value in named.items() if value})
            return answer.of_tree(status, replace(form, view=""))
        return answer.of_object(kind, outcome.value, form)

    async def collection(self, request: Request, route: Route) -> Answer:
        """Deletes what is selected, and answers it as it was."""
        form, options, wanted = request.form, delete_options(request), selected(request, route)
        limit = request.number("limit") or 0
        store = self._registry.store
        chosen = [entry for entry in store.range(route.prefix) if wanted.matches(entry.value)]
        chosen = chosen[:limit] if limit > 0 else chosen
        for entry in chosen:
            try:
                await self.remove(replace(route, verb="delete", name=entry.key.removeprefix(route.prefix)), options)
            except ApiError as error:
                if error.code != 404:
                    raise
        metadata: Tree = {"resourceVersion": str(store.revision)}
        return answer.of_list(route.kind, [entry.value for entry in chosen], metadata, form)

    async def remove(self, route: Route, options: DeleteOptions, why: Tree | None = None) -> Outcome:
        """One step towards the end of an object, or the end. ``why``: a condition that a pod is left with.

        Raises:
            ApiError: 403, 404, 409.
        """
        if route.kind is NAMESPACE and route.name in PROTECTED:
            raise forbidden(route.name, NAMESPACE.plural, "", "this namespace may not be deleted")
        for _ in range(ATTEMPTS):
            entry = found(self._registry.store, route)
            old = _decode(entry.value)
            _check_preconditions(route, old, entry, options)
            obj = doomed(route.kind, old, options, time.time())
            if why:
                set_condition(obj, why)
            try:
                return await self._step(route.kind, entry, old, obj, options)
            except PreconditionFailed:
                continue
        raise conflict(route.name, route.kind.plural, route.kind.group, MODIFIED)

    async def _step(self, kind: Kind, entry: Entry, old: Tree, obj: Tree, options: DeleteOptions) -> Outcome:
        if not (over := is_over(kind, obj)) and obj == old:
            return Outcome(entry.value)
        if options.dry_run:
            self._registry.leave(kind, None if over else obj, entry)
            shown = obj if kind.graceful or not over else old
            return Outcome(stamp(encode(kind, shown), entry.revision), removed=over)
        if not over:
            return Outcome(await self._registry.mark(kind, obj, entry))
        if kind.graceful and obj != old:
            # Watchers see the pod told to end at once before they see it gone.
            marked = await self._registry.mark(kind, obj, entry)
            found_again = self._registry.store.get(entry.key)
            if found_again is None or found_again.value != marked:  # it may be another pod of that name by now
                raise PreconditionFailed(entry.key, found_again.revision if found_again else None)
            entry = found_again
        revision = await self._registry.remove(kind, entry)
        return Outcome(stamp(entry.value, revision), removed=True)


def doomed(kind: Kind, old: Tree, options: DeleteOptions, now: float) -> Tree:
    """The object as this delete leaves it where something still holds it. ``now``: seconds since the epoch."""
    obj = _decode(msgspec.json.encode(old))
    metadata = obj["metadata"]
    _set_finalizers(metadata, options)
    if kind is NAMESPACE:
        metadata.setdefault("deletionTimestamp", rfc3339(now))
        obj.setdefault("status", {})["phase"] = "Terminating"
        return obj
    grace = _grace(kind, obj, options)
    started = metadata.get("deletionTimestamp")
    if started is None:
        if metadata.get("generation"):
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        # A second delete may shorten what is left, never prolong it.
        began = datetime.fromisoformat(started).timestamp() - metadata["deletionGracePeriodSeconds"]
        metadata["deletionTimestamp"] = rfc3339(began + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    return obj


def _grace(kind: Kind, obj: Tree, options: DeleteOptions) -> int:
    """Seconds. Only a pod that a node may be running gets any."""
    if not kind.graceful:
        return 0
    spec, phase = obj.get("spec", {}), obj.get("status", {}).get("phase", "")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    grace = spec.get("terminationGracePeriodSeconds", 30) if options.grace is None else options.grace
    return min(grace, LONGEST_GRACE) if grace >= 0 else 1


def _set_finalizers(metadata: Tree, options: DeleteOptions) -> None:
    """Foreground and Orphan are finalizers which the garbage collector takes away when it is done."""
    if not options.propagation:
        return
    others: Sequence[str] = [name for name in metadata.get("finalizers", ()) if name not in (FOREGROUND, ORPHAN)]
    added = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(options.propagation, [])
    metadata["finalizers"] = [*others, *added]
    if not metadata["finalizers"]:
        del metadata["finalizers"]


def _check_preconditions(route: Route, old: Tree, entry: Entry, options: DeleteOptions) -> None:
    """Raises: ApiError 409. The real server names the kind here, not the resource."""
    kind, uid = route.kind, old["metadata"]["uid"]
    if options.uid and options.uid != uid:
        gone = "The object might have been deleted and then recreated"
        why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). {gone}"
        raise conflict(route.name, kind.name, kind.group, why)
    if options.revision and options.revision != str(entry.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in record"
        )
        raise conflict(
            route.name, kind.name, kind.group, f"{why} ({entry.revision}). The object might have been modified"
        )
