"""The options of a verb, from the query or (deletes) the body, with the real server's refusals: ``CreateOptions.meta.k8s.io "" …``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from pierhead.api import Tree
from pierhead.api.codec import protobuf
from pierhead.api.rules import forbidden_field, invalid_value, not_supported
from pierhead.apiserver.request import Request, body_media
from pierhead.errors import ApiError, Cause, bad_request, invalid

_GROUP = "meta.k8s.io"
_MESSAGE = "apimachinery.pkg.apis.meta.v1.DeleteOptions"
MANAGER_BYTES = 128
Validation: TypeAlias = Literal["Strict", "Warn", "Ignore"]
_VALIDATIONS: Mapping[str, Validation] = {"Strict": "Strict", "Warn": "Warn", "Ignore": "Ignore"}
Propagation: TypeAlias = Literal["Foreground", "Background", "Orphan", ""]
_POLICIES: Mapping[str, Propagation] = {"Foreground": "Foreground", "Background": "Background", "Orphan": "Orphan"}


# -- lists and watches --------------------------------------------------------------------------------------


class ListOptions(msgspec.Struct, frozen=True):
    """What a list or watch asks."""

    limit: int = 0
    continued: str = ""
    """The continue token."""
    revision: str = ""
    match: str = ""
    """``resourceVersionMatch``: Exact, NotOlderThan or empty."""
    watch: bool = False
    bookmarks: bool = False
    timeout: int | None = None
    """Seconds; None when not given."""
    initial: bool | None = None
    """``sendInitialEvents``; None when not given."""


def list_options(request: Request, *, watch: bool = False) -> ListOptions:
    """``watch``: the path itself asks for a watch (the old form).

    Raises:
        ApiError: 400 for numbers that are none, 422 for combinations that may not be.
    """
    query = request.query
    limit = request.number("limit") or 0
    options = ListOptions(
        # Revision 0 reads what is at hand, which the real server has whole: it gives no pages of it.
        limit=max(0, limit) if query.get("resourceVersion") != "0" else 0,
        continued=query.get("continue", ""),
        revision=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        watch=watch or request.flag("watch"),
        bookmarks=request.flag("allowWatchBookmarks"),
        timeout=request.number("timeoutSeconds"),
        initial=request.flag("sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    if options.match or options.initial is not None:
        _refuse("ListOptions", _of_watch(options) if options.watch else _of_list(options))
    return options


def _of_watch(options: ListOptions) -> list[Cause]:
    path, found = "resourceVersionMatch", []
    if options.initial is None:
        if options.match:
            found.append(
                forbidden_field(
                    path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                )
            )
    elif not options.match or options.match != "NotOlderThan":
        found.append(forbidden_field(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if options.match and options.match != "NotOlderThan":
        found.append(not_supported(path, options.match, ("NotOlderThan",)))
    return found


def _of_list(options: ListOptions) -> list[Cause]:
    path = "resourceVersionMatch"
    if options.initial is not None:
        return [forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list")]
    found = []
    if not options.revision:
        found.append(forbidden_field(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if options.continued:
        found.append(forbidden_field(path, "resourceVersionMatch is forbidden when continue is provided"))
    if options.match not in ("Exact", "NotOlderThan"):
        found.append(not_supported(path, options.match, ("Exact", "NotOlderThan", "")))
    elif options.match == "Exact" and options.revision == "0":
        found.append(forbidden_field(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return found


# -- writes -------------------------------------------------------------------------------------------------


class WriteOptions(msgspec.Struct, frozen=True):
    """What a create, update or patch asks besides its object."""

    dry_run: bool
    manager: str
    validation: Validation


def write_options(request: Request, verb: Literal["Create", "Update", "Patch"]) -> WriteOptions:
    """Raises: ApiError 422."""
    query = request.query
    validation = query.get("fieldValidation", "") or "Warn"
    causes = _dry_run_causes([query["dryRun"]] if query.get("dryRun") else [])
    if verb == "Patch" and request.flag("force"):
        causes.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if len(query.get("fieldManager", "").encode()) > MANAGER_BYTES:
        text = f"Too long: may not be more than {MANAGER_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", text, "fieldManager"))
    if validation not in _VALIDATIONS:
        causes.append(not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    _refuse(f"{verb}Options", causes)
    return WriteOptions(bool(query.get("dryRun")), request.manager, _VALIDATIONS[validation])


# -- deletes ------------------------------------------------------------------------------------------------


class DeleteOptions(msgspec.Struct, frozen=True):
    """What a delete asks."""

    dry_run: bool = False
    grace: int | None = None
    """Seconds; None: the object's own."""
    propagation: Propagation = ""
    uid: str = ""
    revision: str = ""
    """Preconditions; empty: none."""


def delete_options(request: Request) -> DeleteOptions:
    """From the body where there is one, else from the query.

    Raises:
        ApiError: 400 for a body that is no DeleteOptions, 422 for values that may not be.
    """
    body = _delete_body(request)
    if not body:
        body = {name: request.query[name] for name in ("propagationPolicy",) if request.query.get(name)}
        body |= {"dryRun": [request.query["dryRun"]]} if request.query.get("dryRun") else {}
        body |= {"gracePeriodSeconds": request.number("gracePeriodSeconds")}
        if "orphanDependents" in request.query:
            body["orphanDependents"] = request.flag("orphanDependents")
    return checked_delete(body)


def _delete_body(request: Request) -> Tree:
    if not request.body.strip() or request.body.strip() == b"null":
        return {}
    media = body_media(request)
    if media == "yaml":
        raise ApiError(415, "UnsupportedMediaType", "the body of this request has to be JSON or protobuf")
    (version, kind), tree = _of_protobuf(request.body) if media == "protobuf" else _of_json(request.body)
    if kind not in ("", "DeleteOptions"):
        scheme = "pkg/apis/meta/internalversion/scheme/register.go:27"
        raise bad_request(f'no kind "{kind}" is registered for version "{version}" in scheme "{scheme}"')
    return tree


def _of_json(body: bytes) -> tuple[tuple[Any, Any], Tree]:
    """((apiVersion, kind), the options)."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = "unexpected end of JSON input" if "truncated" in str(error) else str(error)
        raise bad_request(f"couldn't get version/kind; json parse error: {shown}") from error
    if not isinstance(tree, dict):
        raise bad_request("couldn't get version/kind; json parse error: the options are no object")
    return (tree.get("apiVersion", ""), tree.get("kind", "")), tree


def _of_protobuf(body: bytes) -> tuple[tuple[Any, Any], Tree]:
    """The same. What Go's clients send when they are told to speak protobuf."""
    try:
        given, raw = protobuf.envelope(body)
        return given, protobuf.decode(_MESSAGE, raw)
    except protobuf.NoProtobuf as error:
        raise bad_request(f"the options cannot be read: {error}") from error


def checked_delete(body: Tree) -> DeleteOptions:
    """Of a DeleteOptions object; ``{}`` asks for nothing.

    Raises:
        ApiError: 400 for values of a wrong type, 422 for values that may not be.
    """
    preconditions = _typed(body, "preconditions", dict) or {}
    policy, orphan = _typed(body, "propagationPolicy", str) or "", _typed(body, "orphanDependents", bool)
    dry_run = _typed(body, "dryRun", list) or []
    causes = []
    if policy and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid_value("propagationPolicy", policy, text))
    elif policy and policy not in _POLICIES:
        causes.append(not_supported("propagationPolicy", policy, (*_POLICIES, "nil")))
    causes += _dry_run_causes(dry_run)
    _refuse("DeleteOptions", causes)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    return DeleteOptions(
        dry_run=bool(dry_run),
        grace=_typed(body, "gracePeriodSeconds", int),
        propagation=_POLICIES.get(policy, ""),
        uid=_typed(preconditions, "uid", str) or "",
        revision=_typed(preconditions, "resourceVersion", str) or "",
    )


def _typed(body: Tree, name: str, wanted: type) -> Any:
    value = body.get(name)
    if value is None or (isinstance(value, wanted) and not (wanted is int and not _is_int64(value))):
        return value
    raise bad_request(f"json: cannot unmarshal {type(value).__name__} into Go struct field DeleteOptions.{name}")


def _is_int64(value: Any) -> bool:
    return not isinstance(value, bool) and -(2**63) <= value < 2**63


def _dry_run_causes(values: Sequence[object]) -> list[Cause]:
    if all(value == "All" for value in values):
        return []
    return [not_supported("dryRun", list(values), ("All",))]


def _refuse(kind: str, causes: Sequence[Cause]) -> None:
    if causes:
        raise invalid("", kind, _GROUP, causes)
