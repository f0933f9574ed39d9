"""One region in loopback mode for the tests of a worker that do not break it; a namespace for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest

from e2e.backends import Namespace, eventually
from running import Region, ranges, running

NUMBERS = count()


@pytest.fixture(scope="session")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    with running(tmp_path_factory.mktemp("region"), "--network", "loopback", *ranges(worker)) as found:
        yield found


@pytest.fixture
def home(region: Region) -> Iterator[Namespace]:
    """A namespace of the test's own, removed with all that is in it."""
    namespace = Namespace(region, f"seed-{next(NUMBERS)}")
    namespace.region.kubectl("create", "namespace", namespace.name)
    yield namespace
    namespace.region.kubectl("delete", "namespace", namespace.name, "--wait=false")


@pytest.fixture
def address(home: Namespace) -> Iterator[str]:
    """A floating IP of the test's own, given back when no Service of the test uses it any more."""
    path = "/apis/pierhead.dev/v1/floatingips"
    status, found = home.region.call("POST", path, {"metadata": {}})
    assert status == 201, found
    yield found["status"]["address"]
    home.kubectl("delete", "services", "--all", "--wait")
    name = found["metadata"]["name"]
    eventually(lambda: home.region.call("DELETE", f"{path}/{name}")[0] in (200, 404), f"{name} given back")
