"""One region of each recorded configuration for all cases of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from recorded.player import Server
from running import running

SERVICES = {"single": "10.96.0.0/16", "dual": "10.96.0.0/16,fd00:10:96::/112"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """The server of a configuration, started when its first case asks for it."""
    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def serve(config: str) -> Server:
            if config not in started:
                options = ("--network", "none", "--service-cidr", SERVICES[config])
                region = stack.enter_context(running(tmp_path_factory.mktemp(config), *options))
                started[config] = Server(region.url, region.token, region.ca)
            return started[config]

        yield serve
