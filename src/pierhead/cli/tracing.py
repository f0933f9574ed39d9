"""What ``pierhead trace`` does: reads what the Services ask for and what the kernel holds, and tells a packet's way through both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, NODE, POD, PROXY_STATUS, SERVICE
from pierhead.api.views import EndpointSlice, Node, Pod, ProxyStatus, Service
from pierhead.cli import connection
from pierhead.cli.packets import Question, Seen, Sender, packet_of, place_of, sender_of
from pierhead.cli.telling import Account, Kernel, account
from pierhead.client.client import Client
from pierhead.dataplane import held
from pierhead.errors import KernelError, NotPermitted, UsageError
from pierhead.forwarding.nftlayout import Layout
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.region import namespaced
from pierhead.wire.netlink import Protocol

T = TypeVar("T")

LOOKS: Final = 3
PAUSE: Final = 0.3
"""Seconds between two looks: what was just written is programmed by then, and what somebody broke is mended, if it ever is."""


def run(kubeconfig: Path | None, question: Question) -> None:
    """Prints the account.

    Raises:
        UsageError: the question makes no sense here; or what the nodes do is not what the Services ask for.
    """

    async def work(client: Client) -> None:
        for look in range(LOOKS):
            found = _look(await _seen(client), question, connection.file(kubeconfig).parent)
            if not found.differs:
                break
            if look + 1 < LOOKS:
                await asyncio.sleep(PAUSE)
        for line in found.lines:
            click.echo(line)
        if found.differs:
            raise UsageError(found.differs, found.step)

    connection.run(kubeconfig, "pierhead-trace", work)


def _look(seen: Seen, question: Question, data_dir: Path) -> Account:
    sender = sender_of(seen, question)
    packet = packet_of(seen, question, sender)
    kernel = None
    if seen.network.mode == "namespace":
        kernel = _kernel(seen, sender, data_dir)
    return account(seen, sender, packet, place_of(seen, sender), kernel)


def _kernel(seen: Seen, sender: Sender, data_dir: Path) -> Kernel:
    """``data_dir``: of the region, if this is its machine."""
    owner = next((found.status.store for found in seen.proxies if found.status.store), "")
    ground = namespaced.ground(seen.network, owner)
    table = Layout(ground).table
    try:
        with namespaced.nodes_of(data_dir).open(Protocol.NETFILTER) as netlink:
            rules = held.read(netlink, table, without=("traffic",))
            return Kernel(ground, rules or Ruleset(table), held.neighbours(netlink, table))
    except (NotPermitted, PermissionError):
        return Kernel(ground, unread="only root may: sudo pierhead trace --kubeconfig FILE …")
    except (KernelError, OSError):
        return Kernel(
            ground, unread="the region runs elsewhere, or its kubeconfig was copied: give the one that `up` wrote"
        )


async def _seen(client: Client) -> Seen:
    """Raises:
    ApiError: this account may not see it all.
    """
    network = await client.network()
    if network.mode == "none":
        raise UsageError(
            "--network none carries no traffic: there is no way to follow", "start the region in another mode"
        )
    return Seen(
        network,
        await _all(client, SERVICE, Service),
        await _all(client, ENDPOINT_SLICE, EndpointSlice),
        await _all(client, POD, Pod),
        await _all(client, NODE, Node),
        await _all(client, PROXY_STATUS, ProxyStatus),
    )


async def _all(client: Client, kind: Kind, view: type[T]) -> list[T]:
    return [msgspec.convert(tree, view) for tree in (await client.list(kind)).items]
