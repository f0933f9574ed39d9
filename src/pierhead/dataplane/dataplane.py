"""``DataPlane``: what carries a node's service traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pierhead.forwarding.diff import Change
from pierhead.forwarding.table import Refusal


class Stranger(msgspec.Struct, frozen=True):
    """Somebody else who changed what a data plane holds."""

    program: str = ""
    """Its name; empty: unknown."""
    pid: int = 0
    where: str = ""
    """What was changed, for people: ``table ip pierhead``."""


class DataPlane(Protocol):
    """Holds a ForwardingTable and lets packets follow it.

    Law:

    * Changes are applied in the order given. Each frontend changes at once: a new connection meets the old terms or the new ones,
      never neither. After ``Reset`` the commit holds the whole table, and what it does not name is gone.
    * When ``commit`` returns, every new connection follows the new table.
    * Open TCP connections are kept, whatever happens to their endpoint, their frontend or its policy. UDP flows whose endpoint no
      longer serves (``Backends.serving``) are moved with their next datagram.
    * A frontend without a usable endpoint refuses at once. A back end that can be silent is silent where the verdict is drop.
    * What cannot be served is refused, and the rest is served: no change is lost because another one is impossible. Refused
      frontends are tried again at each commit, also an empty one.
    """

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        """Returns every frontend that is refused now, also those refused by earlier commits; sorted.

        Raises:
            OSError: the changes could not be applied; what is held is unknown until a commit that starts with ``Reset``.
        """
        ...

    async def disturbed(self) -> Stranger:
        """Waits until somebody else has changed what is held; a commit that starts with ``Reset`` puts it right. To be called once
        a commit has succeeded.

        Raises:
            OSError: it could not be told now; who asks again is told what was changed meanwhile, too.
        """
        ...

    async def close(self) -> None:
        """Ends what this process carries and frees what it holds; a kernel's table stays."""
        ...
