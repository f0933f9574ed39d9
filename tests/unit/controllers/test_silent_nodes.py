"""Nodes that are heard of no more, on virtual time."""

from __future__ import annotations

import asyncio

import virtual
from inside import controlled, network
from pierhead.api.kinds import LEASE, NODE, POD
from pierhead.api.views import Node, Pod
from pierhead.client.client import Client
from pierhead.client.informer import Informer
from pierhead.client.informers import Informers
from pierhead.controllers.nodes import GRACE, LEASES

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


async def ready_node(client: Client) -> None:
    await client.create(NODE, {"metadata": {"name": "n1"}})
    await client.patch(NODE, "n1", READY, subresource="status")
    pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    await client.create(POD, pod)
    await client.patch(POD, "p", READY, "default", subresource="status")


def shown(informers: Informers) -> tuple[bool, bool, str]:
    """Whether the node is ready, whether its pod is, and the reason of the node's state."""
    nodes: Informer[Node] = informers.of(NODE)
    pods: Informer[Pod] = informers.of(POD)
    node, pod = nodes.list()[0], pods.list()[0]
    return node.ready, pod.ready, node.status.conditions[0].reason


def test_a_silent_node_is_unknown_and_its_pods_are_not_ready() -> None:
    async def scenario() -> None:
        async with controlled(network("loopback")) as (client, informers):
            await ready_node(client)
            await asyncio.sleep(GRACE - 1)
            assert shown(informers) == (True, True, "")
            await asyncio.sleep(2)
            assert shown(informers) == (False, False, "NodeStatusUnknown")
            node: Node = informers.of(NODE).list()[0]
            assert [taint.key for taint in node.spec.taints] == ["node.kubernetes.io/not-ready"]

    virtual.run(scenario())


def test_what_others_write_into_a_node_is_no_sign_of_life() -> None:
    async def scenario() -> None:
        async with controlled(network("loopback")) as (client, informers):
            await ready_node(client)
            for number in range(6):
                await asyncio.sleep(10)
                await client.patch(NODE, "n1", {"metadata": {"labels": {"number": str(number)}}})
            assert shown(informers) == (False, False, "NodeStatusUnknown")

    virtual.run(scenario())


def test_a_renewed_lease_keeps_a_node_alive() -> None:
    async def scenario() -> None:
        async with controlled(network("loopback")) as (client, informers):
            await ready_node(client)
            await client.create(LEASE, {"metadata": {"name": "n1", "namespace": LEASES}})
            for second in range(0, 60, 6):
                await asyncio.sleep(10)
                renewed = {"spec": {"renewTime": f"2026-01-01T00:00:{second:02}.000000Z"}}
                await client.patch(LEASE, "n1", renewed, LEASES)
            assert shown(informers) == (True, True, "")

    virtual.run(scenario())
