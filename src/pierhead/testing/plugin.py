"""The pytest plug-in: the fixture ``pierhead``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pierhead.testing.region import Region, region


@pytest.fixture(scope="session")
def _pierhead() -> Iterator[Region]:
    with region() as found:
        yield found


@pytest.fixture
def pierhead(_pierhead: Region) -> Iterator[Region]:
    """A region with nothing in it but what every cluster begins with. The tests of a process share its thread and its address, one
    after the other."""
    yield _pierhead
    _pierhead.reset()
