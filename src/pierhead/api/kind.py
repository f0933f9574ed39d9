"""``Kind``: one row of the table that drives the API server, discovery, OpenAPI, clients and informers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from pierhead.api import Tree
from pierhead.api.rules import dns1123_subdomain
from pierhead.api.strategy import Strategy

Cell: TypeAlias = str | int


class Column(NamedTuple):
    """A column of the Table form of a kind (``kubectl get``)."""

    name: str
    type: str
    """OpenAPI type: ``string``, ``integer``, ``date``."""
    description: str
    priority: int = 0
    """0: always shown; 1: with ``-o wide``."""
    format: str = ""
    """``name`` for the first column."""


class Columns:
    """The Table form of a kind: its columns, and one row of cells per object."""

    columns: Sequence[Column] = ()

    def cells(self, obj: Tree, now: float) -> list[Cell]:
        """``now``: seconds since the epoch, for ages."""
        raise NotImplementedError


class Kind(msgspec.Struct, frozen=True):
    """Everything about a kind that is not in its schema."""

    group: str
    """Empty for the core group."""
    version: str
    name: str
    """``Service``: the word that stands in ``kind``."""
    plural: str
    message: str
    """Its message in the schema table, e.g. ``api.core.v1.Service``."""
    namespaced: bool = True
    name_rule: Callable[[str], list[str]] = dns1123_subdomain
    """What a name must look like; the texts of what is wrong with one."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    """``status``, ``scale``, ``log``, …: those we serve."""
    put_creates: bool = False
    """A PUT to a missing object creates it (1.36: Service, Endpoints, Lease, … but not EndpointSlice)."""
    unconditional_update: bool = True
    """A PUT without resourceVersion is allowed."""
    delete_returns: Literal["object", "status"] = "status"
    """What a DELETE that removed the object answers."""
    delete_collection: bool = True
    """Whether a whole collection can be deleted at once."""
    graceful: bool = False
    """Deleting sets a grace period first (Pods)."""
    asked: bool = False
    """It is a question: a POST is answered in its own form, and nothing is kept."""
    deprecation: str = ""
    """Said in a Warning header with every answer about this kind."""
    strategy: Strategy = msgspec.field(default_factory=Strategy)
    columns: Columns | None = None
    """None: Name and Age."""

    @property
    def api_version(self) -> str:
        """``v1`` or ``discovery.k8s.io/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def resource(self) -> str:
        """``services`` or ``endpointslices.discovery.k8s.io``: the first part of its keys in the store."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """``/api/v1`` or ``/apis/GROUP/VERSION``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection or an object."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)
