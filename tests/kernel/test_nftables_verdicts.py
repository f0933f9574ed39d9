"""The table of scenarios in the real kernel."""

from __future__ import annotations

import asyncio

import pytest

from inkernel import in_kernel
from namespaces import Namespace
from scenarios import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_new_connection_meets(row: Row, namespace: Namespace) -> None:
    async def scenario() -> None:
        async with in_kernel(namespace) as world:
            await world.hold(*row.objects)
            assert await world.outcomes(row.packet) == row.meets

    asyncio.run(scenario())
