"""Who holds an address, from tables as the kernel writes them and from the real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pierhead.dataplane.holders import Held, Holders, held
from pierhead.forwarding.table import Frontend

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n"


def machine(place: Path, *sockets: tuple[str, str, int], pid: int = 4711, command: str = "server\0-p\080\0") -> Path:
    """A ``/proc`` with TCP sockets (address, state, inode) and one process that has the first of them."""
    (place / "net").mkdir()
    rows = [ROW.format(address=address, state=state, inode=inode) for address, state, inode in sockets]
    (place / "net" / "tcp").write_text(HEAD + "".join(rows))
    folder = place / str(pid) / "fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to(f"socket:[{sockets[0][2]}]")
    (place / str(pid) / "cmdline").write_text(command)
    (place / "self").mkdir()
    return place


def test_what_listens_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    word = "0100007F" if sys.byteorder == "little" else "7F000001"
    net = machine(tmp_path, (f"{word}:1F90", "0A", 7), (f"{word}:1F91", "01", 8)) / "net"
    (net / "tcp6").write_text(HEAD + ROW.format(address=f"{'0' * 32}:0050", state="0A", inode=9))
    assert list(held("TCP", net)) == [Held("127.0.0.1", 8080, "7"), Held("::", 80, "9")]
    assert [str(found) for found in held("TCP", net)] == ["127.0.0.1:8080", "[::]:80"]
    assert list(held("UDP", net)) == list(held("SCTP", net)) == []


@pytest.mark.parametrize(
    ("bound", "address", "port", "stands"),
    [
        ("127.96.0.1", "127.96.0.1", 80, True),
        ("127.96.0.1", "127.96.0.2", 80, False),
        ("127.96.0.1", "127.96.0.1", 81, False),
        ("0.0.0.0", "127.96.0.1", 80, True),
        ("::", "127.96.0.1", 80, True),
        ("::", "2001:db8::1", 80, True),
        ("0.0.0.0", "2001:db8::1", 80, False),
        ("127.96.0.1", "0.0.0.0", 80, True),
    ],
)
def test_what_stands_in_the_way(bound: str, address: str, port: int, stands: bool) -> None:
    assert Held(bound, 80, "7").stands_in_the_way_of(address, port) == stands


def test_what_an_ipv6_socket_holds_of_ipv4_is_an_ipv4_address() -> None:
    with socket.socket(socket.AF_INET6) as found:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind(("::ffff:127.77.3.6", 0))
        found.listen()
        frontend = Frontend("TCP", "127.77.3.6", found.getsockname()[1])
        assert Holders().find([frontend])[frontend].where == f"127.77.3.6:{frontend.port}"


def test_a_holder_is_named_by_number_and_command(tmp_path: Path) -> None:
    frontend, other = Frontend("TCP", "127.96.0.1", 80), Frontend("UDP", "127.96.0.1", 80)
    found = Holders(machine(tmp_path, ("00000000:0050", "0A", 7))).find([frontend, other])
    assert found == {frontend: ("process 4711 (server -p 80)", "0.0.0.0:80")}


def test_whose_descriptors_are_not_ours_to_read_is_another_process(tmp_path: Path) -> None:
    frontend = Frontend("TCP", "127.96.0.1", 80)
    place = machine(tmp_path, ("00000000:0051", "0A", 7), ("00000000:0050", "0A", 8))
    holders = Holders(place)
    assert holders.find([frontend]) == {frontend: ("another process", "0.0.0.0:80")}
    (place / "4711" / "fd" / "4").symlink_to("socket:[8]")
    # to look again would cost a look at every process
    assert holders.find([frontend])[frontend].who == "another process"


def test_a_command_line_is_shown_short_and_printable(tmp_path: Path) -> None:
    frontend = Frontend("TCP", "127.96.0.1", 80)
    place = machine(tmp_path, ("00000000:0050", "0A", 7), command="a\x1b[2Jb\0" + "x" * 100)
    who = Holders(place).find([frontend])[frontend].who
    assert who == f"process 4711 (a?[2Jb {'x' * 73}…)"


def test_what_is_still_held_by_the_same_socket_is_not_looked_for_again(tmp_path: Path) -> None:
    frontend = Frontend("TCP", "127.96.0.1", 80)
    place = machine(tmp_path, ("00000000:0050", "0A", 7))
    holders = Holders(place)
    first = holders.find([frontend])
    (place / "4711" / "fd" / "3").unlink()
    assert holders.find([frontend]) == first
    assert holders.find([]) == {}
    assert holders.find([frontend])[frontend].who == "another process"


def test_a_real_process_is_found() -> None:
    program = (
        "import socket; s = socket.create_server(('127.77.3.4', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        frontend = Frontend("TCP", "127.77.3.4", int(process.stdout.readline()))
        holder = Holders().find([frontend])[frontend]
    assert holder.who.startswith(f"process {process.pid} ({sys.executable} -c import socket")
    assert holder.where == f"127.77.3.4:{frontend.port}"


def test_of_udp_a_server_holds_and_a_client_does_not() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.77.3.5", 0))
        client.connect(server.getsockname())
        frontend = Frontend("UDP", *server.getsockname())
        assert Holders().find([frontend])[frontend].who.startswith(f"process {os.getpid()} (")
        assert Holders().find([Frontend("UDP", *client.getsockname())]) == {}
