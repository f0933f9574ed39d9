"""What all kinds have: metadata, references, conditions, selectors."""

from __future__ import annotations

from sys import intern
from typing import TypeAlias

import msgspec
from msgspec.structs import force_setattr

Labels: TypeAlias = dict[str, str]


class View(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """Base of all views."""

    def hold_once(self, *fields: str) -> None:
        """Texts that thousands of objects have in common are held once in a process. Said while the view is made."""
        for field in fields:
            text = getattr(self, field)
            if text is not None:
                force_setattr(self, field, intern(text))


class OwnerReference(View, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(View, frozen=True):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    """RFC 3339 in UTC, whole seconds, as are all times without another remark."""
    deletion_timestamp: str | None = None
    """Set while the object is being deleted: its finalizers, or a Pod's grace period, hold it."""
    deletion_grace_period_seconds: int | None = None
    labels: Labels = msgspec.field(default_factory=dict)
    annotations: Labels = msgspec.field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.hold_once("namespace")

    @property
    def controller(self) -> OwnerReference | None:
        """The one owner that manages this object."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Object(View, frozen=True):
    """What every kind has. Also the view of kinds of which nobody reads more."""

    metadata: ObjectMeta = ObjectMeta()

    @property
    def key(self) -> str:
        """``NAMESPACE/NAME``, or ``NAME`` for cluster-scoped kinds: unique within a kind."""
        found = self.metadata
        return f"{found.namespace}/{found.name}" if found.namespace else found.name


class ObjectReference(View, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class Condition(View, frozen=True):
    type: str
    status: str
    """``True``, ``False`` or ``Unknown``."""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    last_heartbeat_time: str | None = None
    last_probe_time: str | None = None
    observed_generation: int = 0


class LabelSelectorRequirement(View, frozen=True):
    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: tuple[str, ...] = ()


class LabelSelector(View, frozen=True):
    match_labels: Labels = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
