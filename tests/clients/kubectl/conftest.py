"""Each kubectl there is, at home in a region of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from clients.kubectls import Kubectl, at_home, programs
from pierhead.testing import Region, region

PROGRAMS = programs()
NUMBERS = count()


@pytest.fixture(params=[*PROGRAMS.values()], ids=[*PROGRAMS])
def kubectl(pierhead: Region, request: pytest.FixtureRequest, tmp_path: Path) -> Kubectl:
    """In a new region without nodes."""
    return at_home(request.param, pierhead.kubeconfig, "default", tmp_path)


@pytest.fixture(scope="module")
def running() -> Iterator[Region]:
    """A region that runs pods, for all tests of a module."""
    with region(network="loopback") as found:
        yield found


@pytest.fixture(params=[*PROGRAMS.values()], ids=[*PROGRAMS])
def live(running: Region, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubectl]:
    """In a namespace of its own of a region that runs pods."""
    namespace = f"test-{next(NUMBERS)}"
    found = at_home(request.param, running.kubeconfig, namespace, tmp_path)
    found("create", "namespace", namespace)
    yield found
    found("delete", "namespace", namespace, "--wait=false")
