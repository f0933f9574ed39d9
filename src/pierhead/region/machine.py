"""Facts about this machine that a region needs, read from /proc."""

from __future__ import annotations

import os
import struct
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path


def subnets(table: Path = Path("/proc/net/route")) -> tuple[IPv4Network, ...]:
    """The IPv4 subnets this machine is part of: its routes without a gateway. Empty where there is no such table."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return ()
    found = [IPv4Network((_address(row[1]), str(_address(row[7])))) for row in rows if row[2] == "00000000"]
    return tuple(net for net in dict.fromkeys(found) if net.prefixlen)


def _address(text: str) -> IPv4Address:
    """The kernel prints the four bytes as one number of its own byte order."""
    return IPv4Address(struct.pack("=I", int(text, 16)))


def first_open_port(path: Path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")) -> int:
    """The lowest port this process may bind."""
    if os.geteuid() == 0:
        return 1
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 1024


def process_age() -> float:
    """Seconds since this process was started, its interpreter's own start included."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = int(after_name[19])  # starttime, the 22nd field; the 2nd, the name, may hold blanks
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
