"""Whether a machine forwards, as its settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pierhead.node import egress


@pytest.mark.parametrize(("version", "setting"), [(4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding")])
def test_a_machine_forwards_if_its_setting_says_so(tmp_path: Path, version: int, setting: str) -> None:
    path = tmp_path / "net" / setting
    path.parent.mkdir(parents=True)
    for text, forwards in (("0\n", False), ("1\n", True)):
        path.write_text(text)
        assert egress.is_forwarded(version, tmp_path) is forwards


def test_a_kernel_that_does_not_know_a_family_forwards_none_of_it(tmp_path: Path) -> None:
    assert not egress.is_forwarded(6, tmp_path)
