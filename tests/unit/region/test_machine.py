"""What /proc says about this machine."""

from __future__ import annotations

from pathlib import Path

from pierhead.region import machine

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_subnets_are_the_routes_without_a_gateway(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(TABLE)
    assert [str(found) for found in machine.subnets(table)] == ["192.0.2.0/24"]


def test_no_table_means_no_subnets(tmp_path: Path) -> None:
    assert machine.subnets(tmp_path / "none") == ()


def test_a_process_is_as_old_as_its_start() -> None:
    first = machine.process_age()
    assert 0 < first <= machine.process_age()
