"""``Client``: the verbs of the API as calls, errors as ``ApiError``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from pierhead.api import Tree, configz
from pierhead.api.kind import Kind
from pierhead.api.kinds import POD
from pierhead.api.network import Network
from pierhead.client.transport import Response, Transport
from pierhead.errors import ApiError, not_found

T = TypeVar("T")

Propagation: TypeAlias = Literal["", "Background", "Foreground", "Orphan"]
PatchType: TypeAlias = Literal["merge", "json", "strategic"]

_PATCHES: Mapping[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class WatchEvent(msgspec.Struct, frozen=True):
    """One event of a watch."""

    type: str
    """``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``."""
    object: msgspec.Raw
    """The object as the server sent it; of a bookmark only ``metadata.resourceVersion`` counts."""


class Listing(NamedTuple):
    """A collection at one revision."""

    items: list[Tree]
    revision: str


class Client:
    """The API as one identity. ``name`` stands in ``User-Agent`` and so names the field manager."""

    def __init__(self, transport: Transport, name: str = "pierhead") -> None:
        self._transport = transport
        self._headers = {"accept": "application/json", "user-agent": f"{name}/1.0"}

    def named(self, name: str) -> Client:
        """The same connection under another field manager's name."""
        return Client(self._transport, name)

    async def network(self) -> Network:
        """The ground that the region stands on, as its API server tells it.

        Raises:
            ApiError: 403, or 404 from a server that is none of ours.
        """
        try:
            return configz.read(await self._call("GET", configz.PATH))
        except ValueError as error:
            raise ApiError(404, "NotFound", f"{configz.PATH} of this server tells of no region") from error

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Tree:
        """Raises: ApiError 404."""
        return await self._call("GET", _of(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> Listing:
        """A whole collection; an empty namespace means all of them. Selectors as kubectl writes them."""
        found = await self._call("GET", _all(kind, namespace) + _query(labelSelector=labels, fieldSelector=fields))
        return Listing(found.get("items") or [], found["metadata"]["resourceVersion"])

    async def collection(self, kind: Kind, namespace: str = "") -> bytes:
        """A whole collection as the server wrote it, for who decodes it himself."""
        return (await self._send("GET", _all(kind, namespace))).body

    async def create(self, kind: Kind, obj: Tree) -> Tree:
        """Returns the object as stored. Its namespace is taken from its metadata.

        Raises:
            ApiError: 409 AlreadyExists, 422 Invalid, 403 when the namespace is being deleted, 404 when it does not exist.
        """
        return await self._call("POST", _all(kind, obj["metadata"].get("namespace", "")), obj)

    async def bind(self, name: str, namespace: str, node: str, *, uid: str = "") -> None:
        """Gives a pod to a node, once and for all; ``uid``: only if it still is that one.

        Raises:
            ApiError: 404; 409 when it has a node already, or is another pod by now.
        """
        body = {
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace} | ({"uid": uid} if uid else {}),
            "target": {"kind": "Node", "apiVersion": "v1", "name": node},
        }
        await self._call("POST", _of(POD, namespace, name, "binding"), body)

    async def update(self, kind: Kind, obj: Tree, subresource: str = "") -> Tree:
        """Replaces the object (or its ``status``).

        Raises:
            ApiError: 404; 409 Conflict when the object is no longer at ``metadata.resourceVersion``.
        """
        found = obj["metadata"]
        return await self._call("PUT", _of(kind, found.get("namespace", ""), found["name"], subresource), obj)

    async def update_status(self, kind: Kind, obj: Tree) -> Tree:
        """Replaces the object's status and nothing else. Raises as ``update``."""
        return await self.update(kind, obj, "status")

    async def patch(
        self, kind: Kind, name: str, patch: Any, namespace: str = "", *, subresource: str = "", how: PatchType = "merge"
    ) -> Tree:
        """Changes what the patch names. Raises: ApiError 404, 409, 422."""
        return await self._call("PATCH", _of(kind, namespace, name, subresource), patch, _PATCHES[how])

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        revision: str = "",
        grace: int | None = None,
        propagation: Propagation = "",
    ) -> Tree:
        """Begins to delete an object. ``uid`` and ``revision``: only if it still is that one. ``grace``: seconds for a Pod.

        Raises:
            ApiError: 404; 409 when it is another one by now.
        """
        options: Tree = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid or revision:
            wanted = {"uid": uid, "resourceVersion": revision}
            options["preconditions"] = {key: value for key, value in wanted.items() if value}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if propagation:
            options["propagationPolicy"] = propagation
        return await self._call("DELETE", _of(kind, namespace, name), options)

    async def delete_all(self, kind: Kind, namespace: str) -> None:
        """Begins to delete every object of a kind in a namespace."""
        await self._call("DELETE", _all(kind, namespace))

    @asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str = "", *, revision: str, timeout: int = 0
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Events after ``revision``, with bookmarks; ``timeout``: seconds after which the server ends it.

        Raises:
            ApiError: 410 when the server no longer knows that revision, at the start or on the way.
        """
        query = _query(watch="1", allowWatchBookmarks="1", resourceVersion=revision, timeoutSeconds=timeout or "")
        async with self._transport.stream("GET", _all(kind, namespace) + query, headers=self._headers) as stream:
            if stream.status >= 300:
                raise _error(stream.status, b"".join([chunk async for chunk in stream.chunks]))
            yield _events(stream.chunks)

    async def close(self) -> None:
        await self._transport.close()

    async def _call(self, method: str, target: str, body: Any = None, media: str = "application/json") -> Tree:
        found = await self._send(method, target, body, media)
        return read(_decode_tree, found.body)

    async def _send(self, method: str, target: str, body: Any = None, media: str = "application/json") -> Response:
        headers, sent = self._headers, b""
        if body is not None:
            headers, sent = headers | {"content-type": media}, msgspec.json.encode(body)
        found = await self._transport.request(method, target, headers=headers, body=sent)
        if found.status >= 300:
            raise _error(found.status, found.body)
        return found


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            event = read(_decode_event, line)
            if event.type == "ERROR":
                raise _error(0, bytes(event.object))
            yield event


def read(decode: Callable[[bytes], T], body: bytes | msgspec.Raw) -> T:
    """What the server sent, decoded.

    Raises:
        ApiError: 502 when it is not what an API server sends.
    """
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise ApiError(502, "", f"the server's answer cannot be read: {error}") from error  # which may hold secrets


def _all(kind: Kind, namespace: str) -> str:
    return kind.path(_segment(namespace))


def _of(kind: Kind, namespace: str, name: str, subresource: str = "") -> str:
    """
    Raises:
        ApiError: 404: without a name it would be the path of all of them.
    """
    if not name:
        raise not_found(name, kind.plural, kind.group)
    return kind.path(_segment(namespace), _segment(name), subresource)


def _segment(text: str) -> str:
    """One segment of a path, whatever is in it: what somebody typed leads to nothing else than what is called so."""
    return quote(text, safe=":") if text.strip(".") else text.replace(".", "%2E")


def _query(**found: object) -> str:
    given = {key: str(value) for key, value in found.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _error(status: int, body: bytes) -> ApiError:
    """What a Status says; an answer that is none keeps its code and its first words."""
    try:
        found = _decode_status(body)
    except msgspec.MsgspecError:
        return ApiError(status, "", body[:200].decode(errors="replace"))
    retry = found.details.get("retryAfterSeconds", 0)
    return ApiError(found.code or status, found.reason, found.message, details=found.details, retry_after=retry)


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""
    details: dict[str, Any] = msgspec.field(default_factory=dict)


_decode_status = msgspec.json.Decoder(_Status).decode
_decode_tree = msgspec.json.Decoder(Tree).decode
_decode_event = msgspec.json.Decoder(WatchEvent).decode
