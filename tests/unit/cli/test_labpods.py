"""What is said to who goes to a place in a lab that is none."""

from __future__ import annotations

import pytest

from pierhead.cli.labpods import missing

HOSTS = ("node-1", "outside")


@pytest.mark.parametrize(
    ("where", "pods", "said", "step"),
    [
        ("nowhere", ("p",), 'there is no node or pod "nowhere"', "in namespace default there are: node-1, outside, p"),
        ("pod/node-1", ("p",), 'there is no pod "node-1" in namespace default', "there are: p; nodes and the host outside are named without pod/"),
        ("pod/p", (), 'there is no pod "p" in namespace default', "there is none; nodes and the host outside are named without pod/"),
    ],
)  # fmt: skip
def test_who_means_a_pod_is_told_of_pods_alone(where: str, pods: tuple[str, ...], said: str, step: str) -> None:
    told = missing(where, "default", pods, HOSTS)
    assert (str(told), told.hint) == (said, step)
