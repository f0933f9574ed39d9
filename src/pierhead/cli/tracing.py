"""What ``pierhead trace`` does: reads what the Services ask for and what the kernel holds, and tells a packet's way through both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, FLOATING_IP_POOL, NAMESPACE, NODE, POD, PROXY_STATUS, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import EndpointSlice, FloatingIPPool, Node, Pod, ProxyStatus, Service
from pierhead.cli import connection, vantage
from pierhead.cli.packets import Question, Seen, packet_of, place_of, sender_of
from pierhead.cli.telling import Account, account
from pierhead.client.client import Client
from pierhead.errors import UsageError
from pierhead.region import lab, machine, namespaced

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
    sender = sender_of(seen, question, _own(seen.network, data_dir))
    packet = packet_of(seen, question, sender)
    place = place_of(seen, sender, packet)
    there = None
    if seen.network.mode == "namespace":
        there = vantage.kernel(seen, place, ip_address(packet.address).version, data_dir)
    return account(seen, sender, packet, place, there)


def _own(network: Network, data_dir: Path) -> Collection[str]:
    """The machine's addresses, if it is this one and its nodes are behind a link."""
    here = network.mode == "namespace" and not lab.is_one(network)
    if here and os.access(namespaced.nodes_of(data_dir).path, os.F_OK):
        return frozenset(map(str, machine.addresses()))
    return ()


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
        await _all(client, FLOATING_IP_POOL, FloatingIPPool),
        frozenset(tree["metadata"]["name"] for tree in (await client.list(NAMESPACE)).items),
    )


async def _all(client: Client, kind: Kind, view: type[T]) -> list[T]:
    return [msgspec.convert(tree, view) for tree in (await client.list(kind)).items]
