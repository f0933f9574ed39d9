"""Each test of the real kernel runs in a namespace that only root can make and in one that anybody can make (within a user namespace),
as far as this account may. When it may neither it says which of two reasons it was; with ``--require-kernel`` that is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from namespaces import NO_NAMESPACE, NO_NFTABLES, Namespace, allowed, has_nftables, namespace_of_its_own


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "namespace" in metafunc.fixturenames:
        kinds = [kind for kind, mapped in (("root", False), ("mapped", True)) if allowed(mapped=mapped)]
        metafunc.parametrize("namespace", kinds or ["none"], indirect=True)


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    if request.param == "none":
        pytest.skip(NO_NAMESPACE)
    mapped = request.param == "mapped"
    if not has_nftables(mapped=mapped):
        pytest.skip(NO_NFTABLES)
    with namespace_of_its_own(mapped=mapped) as found:
        yield found
