"""The floating IPs of Hyper.sh's Pi: its paths and its answers, on the verbs and rights of the kind FloatingIP.

    POST /api/v1/hyper/fips?count=N      201, the new ones      GET    /api/v1/hyper/fips         all of them
    GET  /api/v1/hyper/fips/IP           one                    POST   /api/v1/hyper/fips/IP      {"name": …}: 204
                                                                DELETE /api/v1/hyper/fips/IP      204; 409 while it is used

Pi knew an address and a remark, which it called name; here these are ``status.address`` and ``spec.displayName``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import msgspec

from pierhead.api import Tree, codec
from pierhead.api.kinds import FLOATING_IP
from pierhead.api.rules import address
from pierhead.api.views import FloatingIP
from pierhead.apiserver import answer
from pierhead.apiserver.answer import Answer
from pierhead.apiserver.deletes import Deletes
from pierhead.apiserver.options import DeleteOptions
from pierhead.apiserver.registry import Registry
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route, not_allowed, not_served
from pierhead.core.floating import users_prefix
from pierhead.errors import ApiError, bad_request, not_found
from pierhead.store import Entry

ROOT = ["api", "v1", "hyper", "fips"]
MOST = 256
"""How many one request may allocate."""
_ALL: Mapping[str, str] = {"GET": "list", "POST": "create"}
_ONE: Mapping[str, str] = {"GET": "get", "POST": "patch", "DELETE": "delete"}

_decode = msgspec.json.Decoder(dict).decode
_view = msgspec.json.Decoder(FloatingIP).decode


class _Remark(msgspec.Struct):
    name: str


def owns(parts: Sequence[str]) -> bool:
    return list(parts[: len(ROOT)]) == ROOT


def route(method: str, parts: Sequence[str]) -> Route:
    """What a request means, for authorization; the name is still an address.

    Raises:
        ApiError: 404, 405.
    """
    rest = parts[len(ROOT) :]
    if len(rest) > 1:
        raise not_served()
    verbs = _ONE if rest else _ALL
    if method not in verbs:
        raise not_allowed()
    return Route(FLOATING_IP, verbs[method], name=rest[0] if rest else "")


class Pi:
    """Serves them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deletes = Deletes(registry)

    async def answer(self, request: Request, asked: Route) -> Answer:
        """Raises: ApiError."""
        match asked.verb:
            case "list":
                return answer.of_tree(self._all(), request.fallback)
            case "get":
                return answer.of_tree(self._shown(self._found(asked.name)), request.fallback)
            case "create":
                return answer.of_tree(await self._allocate(request), request.fallback, 201)
            case "patch":
                await self._rename(request, self._found(asked.name))
            case _:
                await self._deletes.remove(_object(asked.verb, self._found(asked.name)), DeleteOptions())
        return Answer(204, content_type=b"")

    def _all(self) -> list[Tree]:
        entries = self._registry.store.range(f"{FLOATING_IP.resource}/")
        return [self._shown(fip) for fip in map(_view, (entry.value for entry in entries)) if fip.status.address]

    def _found(self, ip: str) -> FloatingIP:
        """Raises: ApiError 404."""
        canonical = address(ip)
        fip = self._registry.ground.at(str(canonical)) if canonical else None
        if fip is None:
            raise not_found(ip, FLOATING_IP.plural, FLOATING_IP.group)
        return fip

    def _shown(self, fip: FloatingIP) -> Tree:
        """As Pi shows one. Its Services all lived in ``default``; others are shown with their namespace."""
        holders = {holder for _, holder in self._registry.ground.holders(users_prefix(fip.status.address))}
        return {
            "fip": fip.status.address,
            "name": fip.spec.display_name,
            "createdAt": fip.metadata.creation_timestamp,
            "services": sorted(holder.removeprefix("services/").removeprefix("default/") for holder in holders),
        }

    async def _allocate(self, request: Request) -> list[Tree]:
        """All that are asked for, or none."""
        count = request.number("count")
        count = 1 if count is None else count
        if not 0 < count <= MOST:
            raise bad_request(f"count: must be between 1 and {MOST}, inclusive")
        context = self._registry.context(request.identity.user, request.manager)
        made: list[FloatingIP] = []
        try:
            for _ in range(count):
                outcome = await self._registry.create(FLOATING_IP, "", _unnamed, context)
                made.append(_view(outcome.value))
        except ApiError:
            for fip in made:
                with contextlib.suppress(ApiError):  # somebody uses it already, or has removed it
                    await self._deletes.remove(_object("delete", fip), DeleteOptions(uid=fip.metadata.uid))
            raise
        return [self._shown(fip) for fip in made]

    async def _rename(self, request: Request, fip: FloatingIP) -> None:
        try:
            remark = msgspec.json.decode(request.body, type=_Remark)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request(f'the body of the request has to be {{"name": "…"}}: {error}') from error

        def wanted(entry: Entry) -> Tree:
            obj = _decode(entry.value)
            obj["spec"]["displayName"] = remark.name
            return obj

        context = self._registry.context(request.identity.user, request.manager)
        await self._registry.change(_object("patch", fip), wanted, context)


def _unnamed() -> Tree:
    obj: Tree = {"metadata": {}}
    codec.complete(FLOATING_IP, obj)
    return obj


def _object(verb: str, fip: FloatingIP) -> Route:
    return Route(FLOATING_IP, verb, name=fip.metadata.name)
