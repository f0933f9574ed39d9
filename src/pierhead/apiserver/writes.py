"""create, update and patch: from a body to the object wanted. What follows, down to the commit, is the registry's."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pierhead.api import Tree, codec
from pierhead.api.codec import Decoded
from pierhead.apiserver import answer, auth
from pierhead.apiserver.answer import Answer
from pierhead.apiserver.bodies import judged, patched
from pierhead.apiserver.options import WriteOptions, write_options
from pierhead.apiserver.patches import patch_media
from pierhead.apiserver.reads import is_revision
from pierhead.apiserver.registry import MODIFIED, Context, Registry
from pierhead.apiserver.request import Request, body_media
from pierhead.apiserver.router import Route
from pierhead.errors import ApiError, Cause, bad_request, conflict, invalid
from pierhead.store import Entry

_decode = msgspec.json.Decoder(dict).decode


class Writes:
    """The writing verbs of every kind and of its status."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError."""
        form, options = request.form, write_options(request, "Create")
        context = self._context(request, route, options)
        media = body_media(request)
        body = _Body(route, lambda: codec.decode(route.kind, request.body, media))
        judged(route.kind, body.decoded, options, context)
        auth.admit(request.identity, route, body.first)
        outcome = await self._registry.create(route.kind, route.namespace, body.complete, context)
        return answer.of_object(route.kind, outcome.value, form, 201, context.warnings)

    async def update(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError."""
        form, options = request.form, write_options(request, "Update")
        context = self._context(request, route, options)
        media = body_media(request)
        body = _Body(route, lambda: codec.decode(route.kind, request.body, media))
        judged(route.kind, body.decoded, options, context)
        check_name(route, body.first)
        if self._registry.store.get(route.key) is None and route.kind.put_creates and not route.subresource:
            auth.admit(request.identity, route, body.first)
            _refuse_uid(route, body.first)
            body.first["metadata"].pop("resourceVersion", None)
            outcome = await self._registry.create(route.kind, route.namespace, body.complete, context)
        else:
            outcome = await self._registry.change(route, self._replacement(request, route, body), context)
        return answer.of_object(route.kind, outcome.value, form, 201 if outcome.created else 200, context.warnings)

    def _replacement(self, request: Request, route: Route, body: _Body) -> Callable[[Entry], Tree]:
        def wanted(entry: Entry) -> Tree:
            auth.admit(request.identity, route, _decode(entry.value))
            obj = body.complete()
            _check_revision(route, obj, entry, conditional=not route.kind.unconditional_update)
            return obj

        return wanted

    async def patch(self, request: Request, route: Route) -> Answer:
        """Raises: ApiError."""
        form, options = request.form, write_options(request, "Patch")
        patch_media(request)  # refused before anything is looked at
        context = self._context(request, route, options)

        def wanted(entry: Entry) -> Tree:
            old = _decode(entry.value)
            auth.admit(request.identity, route, old)
            obj = patched(request, route.kind, old, options, context)
            check_name(route, obj)
            _place(route, obj)
            _check_revision(route, obj, entry, conditional=False)
            codec.complete(route.kind, obj)
            return obj

        outcome = await self._registry.change(route, wanted, context)
        return answer.of_object(route.kind, outcome.value, form, 200, context.warnings)

    def _context(self, request: Request, route: Route, options: WriteOptions) -> Context:
        return self._registry.context(
            request.identity.user, options.manager, dry_run=options.dry_run, subresource=route.subresource
        )


class _Body:
    """The object in a request's body. Each attempt at a write begins with it anew: what an earlier one allocated is not in it."""

    def __init__(self, route: Route, decode: Callable[[], Decoded]) -> None:
        self._route = route
        self._decode = decode
        self.decoded = decode()
        self.first = self.decoded.tree
        _place(route, self.first)
        self._used = False

    def complete(self) -> Tree:
        """The object with its defaults."""
        obj = self._decode().tree if self._used else self.first
        self._used = True
        _place(self._route, obj)
        codec.complete(self._route.kind, obj)
        return obj


def _place(route: Route, obj: Tree) -> None:
    """Puts the object into the namespace of the request.

    Raises:
        ApiError: 400 when it names another.
    """
    metadata = obj.setdefault("metadata", {})
    if not route.kind.namespaced:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", route.namespace) != route.namespace:
        if metadata["namespace"]:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = route.namespace


def check_name(route: Route, obj: Tree) -> None:
    name = obj.get("metadata", {}).get("name", "")
    if not name:
        raise bad_request(
            f"the name of the object ({route.name} based on URL) was undeterminable: name must be provided"
        )
    if name != route.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({route.name})")


def _check_revision(route: Route, obj: Tree, entry: Entry, *, conditional: bool) -> None:
    """Refuses a write that was decided on another revision than the one there. ``conditional``: it has to name one."""
    kind, text = route.kind, obj["metadata"].pop("resourceVersion", "")
    if text and not is_revision(text):
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if text and int(text):
        if int(text) != entry.revision:
            raise conflict(route.name, kind.plural, kind.group, MODIFIED)
    elif conditional:
        cause = Cause(
            "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
        )
        raise invalid(route.name, kind.plural, kind.group, [cause])


def _refuse_uid(route: Route, obj: Tree) -> None:
    """A PUT that names a uid means that very object, which does not exist."""
    uid = obj["metadata"].get("uid", "")
    if uid:
        where = "services/specs" if route.kind.plural == "services" else route.kind.plural
        key = f"/registry/{where}/{route.key.partition('/')[2]}"
        found = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
        why = f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {found}"
        raise conflict(route.name, route.kind.plural, route.kind.group, why)
