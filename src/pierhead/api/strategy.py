"""``Strategy``: what is particular about writing one kind. The write path of the API server is the same for all.

The order of a write, as the real server has it (visible through which error comes first):

1. decode, prune, table defaults, then ``default``
2. ``prepare_create`` or ``prepare_update``: drop what this verb may not write, carry over what it must keep, wipe what no longer applies
3. what the server gives out is filled in (``core.claims.Claimant.allocate``); an update is whole now, and ``finish`` looks at it
4. ``validate`` or ``validate_update`` of the whole object
5. what it needs of other objects is claimed (``Claimant.claim``)
6. the commit

A strategy is stateless; one instance serves every write.
"""

from __future__ import annotations

import msgspec

from pierhead.api import Tree
from pierhead.api.network import Network
from pierhead.errors import Cause


class Write(msgspec.Struct, frozen=True):
    """The circumstances of one write, the same for all of its steps."""

    now: str
    """RFC 3339 in UTC with seconds, e.g. ``2026-01-02T03:04:05Z``: creation and deletion times."""
    network: Network
    user: str = ""
    dry_run: bool = False
    subresource: str = ""
    """``status`` or empty."""


class Strategy:
    """The rules most kinds share: nothing to prepare, nothing to refuse. Metadata is handled for all kinds alike elsewhere."""

    def default(self, obj: Tree) -> None:
        """Fills defaults that depend on other fields; plain ones stand in the schema table. In place."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        """Before a create: status is dropped, generation set. In place."""

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        """Before an update, of the main resource or (``write.subresource``) of its status. In place; ``old`` is read only."""

    def finish(self, obj: Tree, old: Tree, write: Write) -> None:
        """Before an update is validated: what follows from all of it. In place; ``old`` is read only."""

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        """Every reason to refuse this new object, in the order in which the real server reports them."""
        return []

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        """Every reason to refuse this change, of the main resource or of its status."""
        return []

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        """Texts for ``Warning: 299`` headers; ``old`` is None at creation."""
        return []

    def selectable(self, obj: Tree) -> dict[str, str]:
        """Field selectors beyond ``metadata.name`` and ``metadata.namespace``: path → value as text, every path always present."""
        return {}
