"""Whether a kernel can do all that the rules of a node may ever need, tried before anybody relies on it."""

from __future__ import annotations

import errno
from typing import Final

from pierhead.dataplane.conntrack import UDP
from pierhead.dataplane.netlink import Netlink
from pierhead.errors import KernelError, NotSupported, ObjectMissing
from pierhead.forwarding.nftlayout import FIRST_TERMS, Layout, Terms
from pierhead.wire import conntrack
from pierhead.wire.netlink import attributes, string
from pierhead.wire.nftables import delete

STICKY: Final = Terms(2, 60)
"""A choice with all that there is to a choice."""


def undergo(netlink: Netlink, layout: Layout) -> None:
    """Lays the table with one choice in it and takes it away again, in one transaction; and asks for the flows of UDP.

    Raises:
        NotSupported: the kernel lacks an expression, a kind of set or chain, or connection tracking, which is named.
        KernelError: another refusal.
    """
    choice = [*layout.sticky_chain(STICKY.affinity), *layout.terms_chain(STICKY, FIRST_TERMS)]
    beside = [delete(found) for found in layout.beside]
    try:
        netlink.transact([*layout.skeleton(), *choice, *beside, delete(layout.table)])
    except (ObjectMissing, NotSupported) as error:
        what = _expression(error) or "a part of nftables"
        raise NotSupported(error.errno, error.subject, f"this kernel lacks {what} ({error.why})") from error
    try:
        netlink.request(conntrack.dump(layout.ground.family, UDP))
    except KernelError as error:
        if error.errno != errno.EINVAL and not isinstance(
            error, NotSupported
        ):  # EINVAL: nobody has this part of netfilter
            raise
        raise NotSupported(
            error.errno, error.subject, f"this kernel lacks nf_conntrack_netlink ({error.why})"
        ) from error


def _expression(error: KernelError) -> str:
    """The name of the refused expression; empty: it is something else that was refused."""
    try:
        return string(attributes(error.attribute).get(1, b""))
    except KernelError:
        return ""
