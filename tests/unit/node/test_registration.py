"""What a node says of itself, as the API keeps it."""

from __future__ import annotations

import asyncio

from inside import server
from pierhead.api.kinds import NODE
from pierhead.node.registration import Description


def test_a_node_of_two_families_has_an_address_of_each_however_often_it_says_so() -> None:
    said = Description("n1", "z1", "r1", ("192.168.100.11", "fd00:100::b"), ("10.244.0.0/18", "fd00:10:244::/114"))

    async def scene() -> None:
        async with server() as found:
            await found.client.create(NODE, said.node())
            for _ in "12":
                patch = {"status": said.status()}
                node = await found.client.patch(NODE, "n1", patch, subresource="status", how="strategic")
            told = [(each["type"], each["address"]) for each in node["status"]["addresses"]]
            assert told == [("InternalIP", "192.168.100.11"), ("InternalIP", "fd00:100::b"), ("Hostname", "n1")]

    asyncio.run(scene())
