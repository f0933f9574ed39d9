"""Every error Pierhead raises on purpose, in one tree.

    PierheadError
    ├── ApiError                 what an API client is told: a Kubernetes Status (code, reason, message, details)
    ├── StoreError
    │   ├── PreconditionFailed   a commit met another state than it asked for; nothing was written
    │   ├── Compacted            the asked revision is no longer (or not yet) in the history
    │   ├── StoreLocked          another process holds the data directory
    │   └── StoreFailed          the engine could not make a commit durable; nothing of it is published
    │       └── StoreFull        the disk has no room
    ├── KernelError              the kernel refused a netlink message: errno, what it was about, its own words
    │   ├── NotPermitted         a capability is missing
    │   ├── NotSupported         this kernel lacks what was asked
    │   ├── ObjectMissing        there is no such object (any more)
    │   ├── ObjectExists         there is one already, another one
    │   ├── ObjectBusy           somebody still refers to it
    │   ├── NoRoom               a set, or the kernel's memory, is full
    │   ├── MessageTooLong       more than the socket's send buffer takes at once: split it
    │   ├── GenerationPassed     somebody else changed the ruleset meanwhile; nothing was done
    │   ├── AnswerMalformed      the kernel's bytes are not what its headers promise
    │   └── AnswerLost           answers overran the receive buffer: what was done is unknown
    └── UsageError               a command cannot do what was asked: one line, and the next step

Foreign exceptions are translated where they enter (``raise ... from``). This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class PierheadError(Exception):
    """The root of the tree."""


# -- what API clients are told ------------------------------------------------------------------------------


class Cause(msgspec.Struct, frozen=True):
    """One entry of ``details.causes``: a field and what is wrong with it."""

    reason: str
    """A CauseType, e.g. ``FieldValueInvalid``."""
    message: str
    field: str = ""

    def tree(self) -> dict[str, str]:
        found = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in found.items() if value}


class ApiError(PierheadError):
    """An answer other than success, as every Kubernetes client reads it: a ``Status`` of kind Failure.

    ``reason`` is the machine-readable word (``NotFound``, ``AlreadyExists``, ``Conflict``, ``Invalid``, …); it may be empty,
    because the real server answers some failures without one.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        """Seconds; sent as a header when not 0."""

    def status(self) -> dict[str, Any]:
        """The body of the answer, in the order in which the real server writes its fields."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def subject(name: str, plural: str, group: str = "") -> dict[str, Any]:
    """The ``details`` that name an object. For most errors ``kind`` is the plural resource; for Invalid it is the kind."""
    found = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in found.items() if value}


def qualified(plural: str, group: str) -> str:
    """``services`` or ``endpointslices.discovery.k8s.io``: how messages name a resource."""
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_found(name: str, plural: str, group: str = "") -> ApiError:
    message = f'{qualified(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=subject(name, plural, group))


def already_exists(name: str, plural: str, group: str = "") -> ApiError:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=subject(name, plural, group))


def conflict(name: str, plural: str, group: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=subject(name, plural, group))


def forbidden(name: str, plural: str, group: str, why: str) -> ApiError:
    shown = f'{qualified(plural, group)} "{name}" is forbidden: {why}'
    if not name:
        shown = f"{qualified(plural, group)} is forbidden: {why}"
    return ApiError(403, "Forbidden", shown, details=subject(name, plural, group))


def invalid(name: str, kind: str, group: str, causes: Sequence[Cause]) -> ApiError:
    """422 Invalid. ``causes`` in the order found; the real server drops doubles from the message, not from the details."""
    texts = list(dict.fromkeys(f"{c.field}: {c.message}" if c.field else c.message for c in causes))
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {body}'
    details = subject(name, kind, group) | {"causes": [c.tree() for c in causes]}
    return ApiError(422, "Invalid", message, details=details)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def internal(message: str) -> ApiError:
    """500 InternalError. The text is for the client; the cause belongs into the server's log."""
    details = {"causes": [{"message": message}]}
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", details=details)


# -- the store ----------------------------------------------------------------------------------------------


class StoreError(PierheadError):
    """Something the store says no to."""


class PreconditionFailed(StoreError):
    """The first precondition of a commit that did not hold; nothing of the commit was written."""

    def __init__(self, key: str, revision: int | None) -> None:
        super().__init__(
            f"precondition on {key!r} failed: it is at {revision if revision is not None else 'no revision'}"
        )
        self.key = key
        self.revision = revision
        """The key's revision now; None when the key does not exist."""


class Compacted(StoreError):
    """History no longer reaches back (or does not yet reach forward) to the asked revision."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is not in the history, which starts after {oldest}")
        self.asked = asked
        self.oldest = oldest


class StoreLocked(StoreError):
    """Another process holds the data directory."""


class StoreFailed(StoreError):
    """The engine could not make a commit durable (disk full, I/O error); nothing of it was published."""


class StoreFull(StoreFailed):
    """There is no room for it on the disk."""


# -- the kernel ---------------------------------------------------------------------------------------------


class KernelError(PierheadError):
    """The kernel did not do what a netlink message asked."""

    def __init__(self, errno: int, subject: str, why: str, attribute: bytes = b"") -> None:
        super().__init__(f"{subject}: {why}")
        self.errno = errno
        """The kernel's number; 0 when it gave none."""
        self.subject = subject
        """The object concerned, in words."""
        self.why = why
        self.attribute = attribute
        """The value of the very attribute that the kernel objects to (of many elements, that one); empty when it does not say."""


class NotPermitted(KernelError):
    """EPERM, EACCES: CAP_NET_ADMIN is missing here."""


class NotSupported(KernelError):
    """EOPNOTSUPP and its kin: this kernel lacks the subsystem, the kind of object or the expression, or has it not at this place."""


class ObjectMissing(KernelError):
    """ENOENT, ENODEV, ESRCH, EADDRNOTAVAIL: the object, or one that it refers to, does not exist."""


class ObjectExists(KernelError):
    """EEXIST: the name is taken, or the key is there with other data."""


class ObjectBusy(KernelError):
    """EBUSY: something still refers to it."""


class NoRoom(KernelError):
    """ENFILE (a set is as large as its size allows), ENOSPC, ENOMEM, EMFILE."""


class MessageTooLong(KernelError):
    """EMSGSIZE: what was to be sent at once is more than the socket's send buffer takes; nothing was sent."""


class GenerationPassed(KernelError):
    """ERESTART: the ruleset is no longer of the generation that the transaction was made for; nothing was done."""


class AnswerMalformed(KernelError):
    """A length points outside what was received, or a field that must be there is missing."""

    def __init__(self, why: str, subject: str = "the kernel's answer") -> None:
        super().__init__(0, subject, why)


class AnswerLost(KernelError):
    """ENOBUFS: the kernel's answers did not fit into the receive buffer, so that nobody knows what was done."""


# -- the command line ---------------------------------------------------------------------------------------


class UsageError(PierheadError):
    """One clear line, and in ``hint`` the next step to take. The command ends with exit code 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
