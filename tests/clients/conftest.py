"""One API server for all clients of a worker: nothing runs behind it, which is what was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recorded.player import Server
from running import running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--network", "none", "--service-cidr", "10.96.0.0/16")
    with running(tmp_path_factory.mktemp("clients"), *options) as region:
        yield Server(region.url, region.token, region.ca)
