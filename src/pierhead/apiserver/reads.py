"""get and list: straight from stored bytes, of one consistent revision."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec

from pierhead.api import Tree
from pierhead.apiserver import answer
from pierhead.apiserver.answer import Answer
from pierhead.apiserver.options import ListOptions, list_options
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.apiserver.selection import Selection, selection
from pierhead.errors import ApiError, Compacted, bad_request, expired, not_found
from pierhead.store import Entry, Store


def get(store: Store, request: Request, route: Route) -> Answer:
    """Raises: ApiError 404."""
    return answer.of_object(route.kind, found(store, route).value, request.form)


def found(store: Store, route: Route) -> Entry:
    """Raises: ApiError 404."""
    entry = store.get(route.key)
    if entry is None:
        raise not_found(route.name, route.kind.plural, route.kind.group)
    return entry


def selected(request: Request, route: Route) -> Selection:
    """Raises: ApiError 400."""
    query = request.query
    return selection(route.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""), route.name)


def list_(store: Store, request: Request, route: Route) -> Answer:
    """Raises: ApiError 400, 410 (a token or revision older than the history), 422, 504 (a revision not yet reached)."""
    options, form, wanted = list_options(request), request.form, selected(request, route)
    revision, after = _begin(store, options)
    at = 0 if revision == store.revision else revision
    try:
        entries = store.range(route.prefix, after=after and route.prefix + after, at=at)
    except Compacted as error:
        raise _too_old(options) from error
    if not wanted.everything:
        entries = [entry for entry in entries if wanted.matches(entry.value)]
    metadata: Tree = {"resourceVersion": str(revision)}
    page: Sequence[Entry] = entries
    if options.limit and len(entries) > options.limit:
        page = entries[: options.limit]
        metadata["continue"] = _token(revision, page[-1].key.removeprefix(route.prefix))
        if wanted.everything:
            metadata["remainingItemCount"] = len(entries) - len(page)
    return answer.of_list(route.kind, [entry.value for entry in page], metadata, form)


def _begin(store: Store, options: ListOptions) -> tuple[int, str]:
    """(the revision to read at, the key to begin behind, within the collection)."""
    if options.continued:
        if options.revision not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return _read_token(options.continued)
    asked = parse_revision(options.revision, "invalid resource version: ", 400)
    if asked > store.revision:
        raise too_large(asked, store.revision)
    # A limit with a revision reads at exactly that one: the pages that follow could not be of it otherwise.
    exact = options.match == "Exact" or (not options.match and options.limit)
    return (asked if asked and exact else store.revision), ""


def parse_revision(text: str, prefix: str = "", code: int = 500) -> int:
    """A resourceVersion parameter; empty is 0.

    Raises:
        ApiError: ``code``, with Go's text after ``prefix``.
    """
    if not text:
        return 0
    if is_revision(text):
        return int(text)
    reason = "BadRequest" if code == 400 else ""
    why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
    raise ApiError(code, reason, prefix + why)


def is_revision(text: str) -> bool:
    """Whether Go would read this as an unsigned integer of 64 bits, give or take the last digit."""
    return text.isascii() and text.isdecimal() and len(text) <= 20


def too_large(asked: int, current: int) -> ApiError:
    message = "Too large resource version"
    causes = [{"reason": "ResourceVersionTooLarge", "message": message}]
    details = {"causes": causes, "retryAfterSeconds": 1}
    text = f"Timeout: {message}: {asked}, current: {current}"
    return ApiError(504, "Timeout", text, details=details, retry_after=1)


def _too_old(options: ListOptions) -> ApiError:
    if options.continued:
        return expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You must start a new list without the continue parameter."
        )
    return expired("The resourceVersion for the provided list is too old.")


def _token(revision: int, key: str) -> str:
    text = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": revision, "start": key})
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        fields = msgspec.json.decode(text, type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
    if fields.rv <= 0:
        raise bad_request(f"continue key is not valid: incorrect encoded start resourceVersion ({fields.rv})")
    return fields.rv, fields.start


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str
