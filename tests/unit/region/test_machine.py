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
    table_6 = tmp_path / "ipv6_route"
    table_6.write_text(TABLE_6)
    assert [str(found) for found in machine.subnets(table, table_6)] == ["192.0.2.0/24", "2001:db8::/64"]


def test_what_no_router_passes_on_is_no_subnet(tmp_path: Path) -> None:
    """A cloud tells its machines their secrets at 169.254.169.254, which many have a route to."""
    table = tmp_path / "route"
    rows = [("0000FEA9", "0000FFFF"), ("FEA9FEA9", "FFFFFFFF"), ("000000E0", "000000F0")]
    lines = (f"eth0\t{to}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n" for to, mask in rows)
    table.write_text(TABLE + "".join(lines))
    assert [str(found) for found in machine.subnets(table, tmp_path / "none")] == ["192.0.2.0/24"]


def test_no_table_means_no_subnets(tmp_path: Path) -> None:
    assert machine.subnets(tmp_path / "none", tmp_path / "none") == ()


ANY = "00000000000000000000000000000000"
TABLE_6 = f"""\
20010db8000000000000000000000000 40 {ANY} 00 {ANY} 00000100 00000001 00000000 00000001     eth0
20010db8000000000000000000000007 80 {ANY} 00 {ANY} 00000000 00000004 00000000 80200001     eth0
20010db8000100000000000000000000 30 {ANY} 00 20010db8000000000000000000000001 00000400 00000003 00000000 00000003     eth0
fe800000000000000000000000000000 40 {ANY} 00 {ANY} 00000100 00000002 00000000 00000001     eth0
ff000000000000000000000000000000 08 {ANY} 00 {ANY} 00000100 00000004 00000000 00000001     eth0
{ANY} 00 {ANY} 00 20010db8000000000000000000000001 00000400 00000003 00000000 00000003     eth0
{ANY} 00 {ANY} 00 {ANY} ffffffff 00000001 00000000 00200200       lo
"""

TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
           |-- 192.0.2.2
              /32 host LOCAL
"""
TABLE_IPV6 = """\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""


def test_addresses_are_those_by_which_others_reach_the_machine(tmp_path: Path) -> None:
    trie, table = tmp_path / "fib_trie", tmp_path / "if_inet6"
    trie.write_text(TRIE)
    table.write_text(TABLE_IPV6)
    assert [str(found) for found in machine.addresses(trie, table)] == ["192.0.2.2", "2001:db8::2"]
    assert machine.addresses(tmp_path / "none", tmp_path / "none") == ()


def test_a_folder_is_shut_by_the_outermost_that_others_may_not_enter(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for found in (inner, tmp_path / "outer"):
        found.chmod(0o700)
        shut = machine.shut_folder(inner)
        assert shut is not None
        assert shut in (found, *tmp_path.parents, tmp_path)
    for found in (tmp_path / "outer", inner):
        found.chmod(0o711)
    assert machine.shut_folder(inner) == machine.shut_folder(tmp_path)


def test_a_process_is_as_old_as_its_start() -> None:
    first = machine.process_age()
    assert 0 < first <= machine.process_age()
