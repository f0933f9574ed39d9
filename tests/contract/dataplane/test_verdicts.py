"""The table of scenarios, in every world that needs no privilege."""

from __future__ import annotations

import asyncio

import pytest

from dataplanes import WORLDS
from scenarios import ROWS, Row


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_new_connection_meets(row: Row, world: str) -> None:
    async def scenario() -> None:
        async with WORLDS[world]() as found:
            await found.hold(*row.objects)
            expected = row.instead if world == "userspace" and row.instead else row.meets
            assert await found.outcomes(row.packet) == expected

    asyncio.run(scenario())
