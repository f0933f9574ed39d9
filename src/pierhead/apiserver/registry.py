"""Objects in the store: one commit for an object and all that goes with it, whoever asked for the write.

The order of a write is that of ``api.strategy``; here are its steps from ``prepare`` to the commit, and what makes an object end:
the last finalizer of one that is being deleted.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from pierhead.api import Tree, metadata
from pierhead.api.codec import encode, stamp
from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINTS, KINDS, NAMESPACE, SERVICE
from pierhead.api.managedfields import record
from pierhead.api.network import Network
from pierhead.api.schema import message
from pierhead.api.strategy import Write
from pierhead.apiserver.ground import Stored, claimant
from pierhead.apiserver.router import Route, collection
from pierhead.core.claims import Allocation
from pierhead.errors import (
    ApiError,
    Cause,
    PreconditionFailed,
    StoreFailed,
    already_exists,
    conflict,
    forbidden,
    internal,
    invalid,
    not_found,
)
from pierhead.store import Absent, AtRevision, Delete, Entry, Operation, Precondition, Present, Put, RangeEmpty, Store

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
ATTEMPTS = 32
"""How often a write is decided anew when somebody else's commit came first: so often that of many who want the last free
addresses of a pool, and guess at them, each gets one."""
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The real server's, without vowels and look-alikes."""
NAME_ROOM = 58
"""How much of a generateName is kept before its five random characters."""

_decode = msgspec.json.Decoder(dict).decode


class Context(msgspec.Struct, frozen=True):
    """The circumstances of one write request."""

    write: Write
    manager: str
    """The field manager."""
    warnings: list[str] = msgspec.field(default_factory=list)
    """Collected on the way, for the answer."""


class Outcome(msgspec.Struct, frozen=True):
    """What a write left."""

    value: bytes
    """The object, with the resourceVersion it has now (none after a dry run of a create)."""
    created: bool = False
    removed: bool = False


class Registry:
    """Creates, changes and removes objects."""

    def __init__(self, store: Store, network: Network) -> None:
        self.store = store
        self.network = network
        self.ground = Stored(store)

    def context(self, user: str, manager: str, *, dry_run: bool = False, subresource: str = "") -> Context:
        return Context(Write(rfc3339(), self.network, user, dry_run, subresource), manager)

    # -- create ---------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, namespace: str, body: Callable[[], Tree], context: Context) -> Outcome:
        """``body``: makes the object asked for anew at each call, decoded and completed.

        Raises:
            ApiError: 403, 404 (the namespace), 409, 422, 500.
        """
        for _ in range(ATTEMPTS):
            obj = body()
            named = bool(obj["metadata"].get("name"))
            self._check_namespace(kind, namespace, obj)
            allocation = self._prepare_create(kind, obj, context)
            try:
                return await self._commit_create(kind, obj, allocation, context)
            except PreconditionFailed as failure:
                if named and failure.key == key_of(kind, obj):
                    raise already_exists(obj["metadata"]["name"], kind.plural, kind.group) from failure
        raise _contended(kind, body()["metadata"].get("name", ""))

    def _prepare_create(self, kind: Kind, obj: Tree, context: Context) -> Allocation:
        strategy, claims, write = kind.strategy, claimant(kind), context.write
        _give_birth(obj["metadata"], write.now)
        _record(kind, obj, None, context)
        strategy.prepare_create(obj, write)
        allocation = claims.allocate(obj, None, write, self.ground)
        _refuse(kind, obj, [*metadata.validate(kind, obj), *strategy.validate(obj, write)])
        _refuse_versioned(obj["metadata"])
        context.warnings.extend(strategy.warnings(obj, None))
        return allocation + claims.claim(obj, None, write, self.ground)

    async def _commit_create(self, kind: Kind, obj: Tree, allocation: Allocation, context: Context) -> Outcome:
        key, value = key_of(kind, obj), encode(kind, obj)
        if context.write.dry_run:
            if self.store.get(key):
                raise PreconditionFailed(key, None)
            return Outcome(_unversioned(value), created=True)
        preconditions: list[Precondition] = [Absent(key)]
        if kind.namespaced:
            preconditions.append(Present(f"{NAMESPACE.resource}/{obj['metadata']['namespace']}"))
        revisions = await self._commit([Put(key, value)], preconditions, allocation, key)
        return Outcome(stamp(value, revisions[0]), created=True)

    def _check_namespace(self, kind: Kind, namespace: str, obj: Tree) -> None:
        """Nothing is born into a namespace that is missing or going."""
        if not kind.namespaced:
            return
        entry = self.store.get(f"{NAMESPACE.resource}/{namespace}")
        if entry is None:
            raise not_found(namespace, NAMESPACE.plural)
        if b'"deletionTimestamp"' in entry.value and _decode(entry.value)["metadata"].get("deletionTimestamp"):
            raise _terminating(kind, namespace, obj)

    # -- change ---------------------------------------------------------------------------------------------

    async def change(self, route: Route, make: Callable[[Entry], Tree], context: Context) -> Outcome:
        """``make``: the object wanted instead of the one there, decoded and completed; it refuses stale revisions.

        Raises:
            ApiError: 404, 409, 422, 500.
        """
        told = len(context.warnings)
        for _ in range(ATTEMPTS):
            entry = self.store.get(route.key)
            if entry is None:
                raise not_found(route.name, route.kind.plural, route.kind.group)
            new, old = make(entry), _decode(entry.value)
            owners = new["metadata"].get("managedFields")
            allocation = self._prepare_update(route.kind, new, old, context)
            if owners in (None, old["metadata"].get("managedFields")) and _same(new, old):
                return Outcome(entry.value)
            try:
                return await self._commit_change(route.kind, new, entry, allocation, context)
            except PreconditionFailed:
                del context.warnings[told:]
        raise conflict(route.name, route.kind.plural, route.kind.group, MODIFIED)

    def _prepare_update(self, kind: Kind, new: Tree, old: Tree, context: Context) -> Allocation:
        strategy, claims, write = kind.strategy, claimant(kind), context.write
        _record(kind, new, old, context)
        _carry_over(new["metadata"], old["metadata"])
        strategy.prepare_update(new, old, write)
        allocation = Allocation() if write.subresource else claims.allocate(new, old, write, self.ground)
        strategy.finish(new, old, write)
        _refuse(kind, new, [*metadata.validate_update(kind, new, old), *strategy.validate_update(new, old, write)])
        context.warnings.extend(strategy.warnings(new, old))
        return allocation + claims.claim(new, old, write, self.ground)

    async def _commit_change(
        self, kind: Kind, new: Tree, entry: Entry, allocation: Allocation, context: Context
    ) -> Outcome:
        value = encode(kind, new)
        if is_over(kind, new):
            if context.write.dry_run:
                self.leave(kind, None, entry)
            else:
                await self.remove(kind, entry)
            return Outcome(stamp(value, entry.revision), removed=True)
        if context.write.dry_run:
            return Outcome(stamp(value, entry.revision))
        at = AtRevision(entry.key, entry.revision)
        revisions = await self._commit([Put(entry.key, value)], [at], allocation, entry.key)
        return Outcome(stamp(value, revisions[0]))

    # -- removal --------------------------------------------------------------------------------------------

    async def remove(self, kind: Kind, entry: Entry) -> int:
        """Removes the object at this very revision, with what belongs to it: a Service's claims and its Endpoints.

        Raises:
            PreconditionFailed: it changed, or (a namespace) something is still inside.
            ApiError: 409 while others depend on it.
        """
        operations: list[Operation] = [Delete(entry.key)]
        preconditions: list[Precondition] = [AtRevision(entry.key, entry.revision)]
        allocation = self.leave(kind, None, entry)
        if kind is SERVICE:
            endpoints = self.store.get(f"{ENDPOINTS.resource}/{entry.key.partition('/')[2]}")
            if endpoints is not None:
                operations.append(Delete(endpoints.key))
                preconditions.append(AtRevision(endpoints.key, endpoints.revision))
        if kind is NAMESPACE:
            name = entry.key.partition("/")[2]
            preconditions += [RangeEmpty(collection(inside, name)) for inside in KINDS if inside.namespaced]
        return (await self._commit(operations, preconditions, allocation, entry.key))[0]

    async def mark(self, kind: Kind, obj: Tree, entry: Entry) -> bytes:
        """Writes an object that is on its way out, past all rules of updates.

        Raises:
            PreconditionFailed: it changed meanwhile.
            ApiError: 409 while others depend on it.
        """
        value, at = encode(kind, obj), AtRevision(entry.key, entry.revision)
        revisions = await self._commit([Put(entry.key, value)], [at], self.leave(kind, obj, entry), entry.key)
        return stamp(value, revisions[0])

    def leave(self, kind: Kind, obj: Tree | None, entry: Entry) -> Allocation:
        """What an object gives back that becomes ``obj``, which waits for its end, or (None) that ends.

        Raises:
            ApiError: 409 while others depend on it.
        """
        return claimant(kind).leave(obj, _decode(entry.value), self.ground)

    # -- the commit -----------------------------------------------------------------------------------------

    async def _commit(
        self,
        operations: Sequence[Operation],
        preconditions: Sequence[Precondition],
        allocation: Allocation,
        holder: str,
    ) -> Sequence[int]:
        """Writes an object, whose key is ``holder``, together with its claims."""
        claims: list[Operation] = [Put(key, holder.encode()) for key in (*allocation.take, *allocation.renew)]
        claims += [Delete(key) for key in allocation.release if self.ground.holder(key) == holder]
        conditions: list[Precondition] = [Absent(key) for key in allocation.take]
        conditions += [AtRevision(*read) if read[1] else Absent(read[0]) for read in allocation.unchanged]
        conditions += [RangeEmpty(*read) for read in allocation.none_since]
        try:
            return await self.store.commit([*operations, *claims], [*preconditions, *conditions])
        except StoreFailed as failure:
            raise internal(str(failure)) from failure


def key_of(kind: Kind, obj: Tree) -> str:
    namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
    return f"{collection(kind, namespace)}{name}"


def is_over(kind: Kind, obj: Tree) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    found = obj["metadata"]
    if not found.get("deletionTimestamp") or found.get("finalizers"):
        return False
    if kind is NAMESPACE:
        return not obj.get("spec", {}).get("finalizers")
    return not (kind.graceful and found.get("deletionGracePeriodSeconds"))


def rfc3339(seconds: float | None = None) -> str:
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate_name(base: str) -> str:
    return base[:NAME_ROOM] + "".join(secrets.choice(NAME_ALPHABET) for _ in range(5))


def _give_birth(found: Tree, now: str) -> None:
    """What only the server may say about a new object."""
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        found.pop(name, None)
    if not found.get("name") and found.get("generateName"):
        found["name"] = generate_name(found["generateName"])
    found["uid"] = str(uuid.uuid4())
    found["creationTimestamp"] = now


def _carry_over(new: Tree, old: Tree) -> None:
    """What an update may leave out of the metadata, or may not say."""
    if not new.get("uid"):
        new["uid"] = old["uid"]
    for name in (
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ):
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)
    new.pop("selfLink", None)


def _same(new: Tree, old: Tree) -> bool:
    """Whether nothing changed but who owns it."""
    if any(new.get(name) != old.get(name) for name in new.keys() | old.keys() if name != "metadata"):
        return False
    one, other = new["metadata"], old["metadata"]
    return all(one.get(name) == other.get(name) for name in one.keys() | other.keys() if name != "managedFields")


def _record(kind: Kind, new: Tree, old: Tree | None, context: Context) -> None:
    record(
        new,
        old,
        manager=context.manager,
        operation="Update",
        subresource=context.write.subresource,
        api_version=kind.api_version,
        now=context.write.now,
        message=message(kind.message),
    )


def _refuse(kind: Kind, obj: Tree, causes: Sequence[Cause]) -> None:
    if causes:
        raise invalid(obj["metadata"].get("name", ""), kind.name, kind.group, causes)


def _refuse_versioned(found: Tree) -> None:
    """Who names a resourceVersion means an object that exists already."""
    if found.pop("resourceVersion", "").strip("0"):
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")


def _terminating(kind: Kind, namespace: str, obj: Tree) -> ApiError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = forbidden(obj["metadata"].get("name", ""), kind.plural, kind.group, why)
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    error.details = (error.details or {}) | {"causes": [cause.tree()]}
    return error


def _contended(kind: Kind, name: str) -> ApiError:
    why = "other writes came first each time; please try again"
    return conflict(name, kind.plural, kind.group, why)


def _unversioned(value: bytes) -> bytes:
    return value.replace(b'"resourceVersion":"",', b"", 1)
