"""Who listens on every address (`node.listeners`), from tables as the kernel writes them and from the real ones."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_network
from pathlib import Path

from pierhead.node.listeners import rivals, wildcards

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def test_only_sockets_that_listen_on_all_addresses_count(tmp_path: Path) -> None:
    """Inodes that nobody here holds never count; the real descriptors of this process are looked up."""
    with socket.socket() as mine:
        inode = os.fstat(mine.fileno()).st_ino
        row = (
            "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n"
        )
        rows = [
            row.format(address="00000000:1F90", state="0A", inode=inode),
            row.format(address="0100007F:1F91", state="0A", inode=inode),
            row.format(address="00000000:1F92", state="01", inode=inode),
            row.format(address="00000000:1F93", state="0A", inode=7),
        ]
        for number, one in enumerate(rows):
            (tmp_path / "tcp").write_text(HEAD + one)
            expected = ["0.0.0.0:8080"] if number == 0 else []
            assert wildcards([os.getpid()], net=tmp_path) == expected


def test_ipv4_and_ipv6() -> None:
    with socket.create_server(("0.0.0.0", 0)) as four, socket.socket(socket.AF_INET6) as six:
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::", 0))
        six.listen()
        found = wildcards([os.getpid()])
        assert f"0.0.0.0:{four.getsockname()[1]}" in found
        assert f"[::]:{six.getsockname()[1]}" in found


def test_of_udp_only_ports_that_are_meant() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 0))
        port = server.getsockname()[1]
        assert f"0.0.0.0:{port}" in wildcards([os.getpid()], udp=[port])
        assert f"0.0.0.0:{port}" not in wildcards([os.getpid()])


def test_rivals_for_a_port_are_those_that_have_it_anywhere_but_at_a_pods_own_address() -> None:
    pods = [ip_network("127.64.0.0/16")]
    with socket.create_server(("127.64.3.4", 0)) as pod:
        number = pod.getsockname()[1]
        assert rivals([("TCP", number)], pods) == []
        with socket.create_server(("127.96.3.4", number)):
            (text,) = rivals([("TCP", number), ("UDP", number)], pods)
    assert text.startswith(f"process {os.getpid()} (")
    assert text.endswith(f") listens at 127.96.3.4:{number}")
    assert rivals([], pods) == []
