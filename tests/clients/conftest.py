"""One API server for all clients of a worker: nothing runs behind it, which is what was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pierhead.testing import region
from recorded.player import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with region() as found:
        yield Server(found.url, found.token, found.ca)
