"""A region draws from chance of its own: whoever has seeded Python's common generator gets what he seeded."""

from __future__ import annotations

import random

from pierhead.testing import region


def test_a_region_leaves_the_tests_own_chance_alone() -> None:
    before = random.getstate()
    with region() as found:
        found.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"generateName": "x-"},
                "spec": {"ports": [{"port": 80}]},
            }
        )
    assert random.getstate() == before
