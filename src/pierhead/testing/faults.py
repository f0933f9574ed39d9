"""``Faults``: the errors that a test asked for. Decides on each request; knows no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pierhead.api.kinds import KINDS
from pierhead.api.rules import too_long
from pierhead.apiserver import auth
from pierhead.apiserver.answer import unexpected
from pierhead.apiserver.registry import MODIFIED
from pierhead.apiserver.request import Request
from pierhead.apiserver.router import Route
from pierhead.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    expired,
    invalid,
    not_found,
)

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes: a limit that objects of every kind have."""


class Fault:
    """One error, for the next ``times`` requests that it is meant for."""

    def __init__(
        self,
        verb: str,
        resource: str,
        code: int,
        times: int = 1,
        *,
        name: str = "",
        namespace: str = "",
        controllers: bool = False,
    ) -> None:
        """Raises: ValueError when it could never happen."""
        if verb not in VERBS:
            raise ValueError(f"no verb {verb!r}; there are {', '.join(VERBS)}")
        if resource not in _RESOURCES:
            raise ValueError(f"no resource {resource!r}; write it as in a URL: services, services/status")
        if code not in _ERRORS:
            raise ValueError(f"no error {code}; there are {', '.join(map(str, _ERRORS))}")
        if times < 1:
            raise ValueError(f"times={times}: a fault happens at least once")
        if name and verb in ("create", "list", "deletecollection"):
            raise ValueError(f"the URL of a {verb} names no object: leave out name={name!r}")
        self.left = times
        """How many requests it will still refuse."""
        self._verb, self._resource, self._code = verb, resource, code
        self._name, self._namespace, self._controllers = name, namespace, controllers

    def meets(self, request: Request, route: Route) -> ApiError | None:
        """The error for this request, which counts as one of its times; None: it is not meant, or it is spent."""
        if self.left < 1 or (route.verb, route.resource) != (self._verb, self._resource):
            return None
        elsewhere = self._name not in ("", route.name) or self._namespace not in ("", route.namespace)
        if elsewhere or not (request.client or self._controllers):
            return None
        self.left -= 1
        return _ERRORS[self._code](route)


class Faults:
    """Those of one region. ``gate`` is what its API server asks."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def gate(self, request: Request, route: Route) -> None:
        """Raises: ApiError, the first fault that this request meets."""
        for fault in self._faults:
            if error := fault.meets(request, route):
                raise error


def _conflict(route: Route) -> ApiError:
    kind = route.kind
    if route.verb == "create":
        return already_exists(route.name, kind.plural, kind.group)
    return conflict(route.name, kind.plural, kind.group, MODIFIED)


def _invalid(route: Route) -> ApiError:
    return invalid(
        route.name, route.kind.name, route.kind.group, [too_long("metadata.annotations", LARGEST_ANNOTATIONS)]
    )


def _too_many(_: Route) -> ApiError:
    text = "Too many requests, please try again later."
    return ApiError(429, "TooManyRequests", text, details={"retryAfterSeconds": 1}, retry_after=1)


def _timeout(_: Route) -> ApiError:
    text = "Timeout: request did not complete within requested timeout - context deadline exceeded"
    return ApiError(504, "Timeout", text, details={})


def _unavailable(_: Route) -> ApiError:
    text = "the server is currently unable to handle the request"
    return ApiError(503, "ServiceUnavailable", text, details={"retryAfterSeconds": 1}, retry_after=1)


_ERRORS: Mapping[int, Callable[[Route], ApiError]] = {
    400: lambda _: bad_request("the server rejected our request for an unknown reason"),
    401: lambda _: ApiError(401, "Unauthorized", "Unauthorized"),
    403: lambda route: auth.refused(auth.ADMIN, route),
    404: lambda route: not_found(route.name, route.kind.plural, route.kind.group),
    409: _conflict,
    410: lambda route: expired(f"The resourceVersion for the provided {route.verb} is too old."),
    422: _invalid,
    429: _too_many,
    500: lambda _: unexpected(),
    503: _unavailable,
    504: _timeout,
}
_RESOURCES = frozenset(
    found for kind in KINDS for found in (kind.plural, *(f"{kind.plural}/{part}" for part in kind.subresources))
)
