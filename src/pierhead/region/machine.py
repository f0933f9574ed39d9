"""Facts about this machine that a region needs, asked of its kernel."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TypeAlias

NO_SUBNET = 0x80000000 | 0x0200
"""RTF_LOCAL: an address of the machine's own; RTF_REJECT: nobody is there."""
Address: TypeAlias = IPv4Address | IPv6Address


def addresses(trie: Path = Path("/proc/net/fib_trie"), table: Path = Path("/proc/net/if_inet6")) -> tuple[Address, ...]:
    """Under which others reach this machine, loopback and link-local ones left out; first the one of each family by which the
    machine itself goes out. Empty where it has none."""
    every: list[Address] = [*_local_ipv4(trie), *_global_ipv6(table)]
    found = [address for address in every if not address.is_loopback]
    first = {_source("192.0.2.1", socket.AF_INET), _source("2001:db8::1", socket.AF_INET6)}
    return tuple(sorted(dict.fromkeys(found), key=lambda address: str(address) not in first))


def _local_ipv4(trie: Path) -> Iterator[IPv4Address]:
    """A leaf of the kernel's routing trie, ``|-- ADDRESS``, has its routes in the lines after it."""
    leaf = ""
    for line in _lines(trie):
        if line.lstrip().startswith("|--"):
            leaf = line.split()[1]
        elif line.split() == ["/32", "host", "LOCAL"]:
            yield IPv4Address(leaf)


def _global_ipv6(table: Path) -> Iterator[IPv6Address]:
    """Lines of address, interface, prefix, scope (0: global), flags and name, in hexadecimal."""
    for digits, _, _, scope, *_ in map(str.split, _lines(table)):
        if int(scope, 16) == 0:
            yield IPv6Address(bytes.fromhex(digits))


def has_ipv6(settings: Path = Path("/proc/sys/net/ipv6")) -> bool:
    """Whether this kernel knows IPv6 at all."""
    return settings.is_dir()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _source(towards: str, family: socket.AddressFamily) -> str:
    """The address this machine would send from; connecting a UDP socket asks for the route and sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as found:
        try:
            found.connect((towards, 9))
        except OSError:
            return ""
        return str(ip_address(found.getsockname()[0]))


def subnets(
    table: Path = Path("/proc/net/route"), table_6: Path = Path("/proc/net/ipv6_route")
) -> tuple[IPv4Network | IPv6Network, ...]:
    """The subnets this machine is part of: its routes without a gateway, link-local and multicast ones left out. Empty where there are
    no such tables."""
    rows = [line.split() for line in _lines(table)[1:]]
    found: list[IPv4Network | IPv6Network] = [
        IPv4Network((_address(row[1]), str(_address(row[7])))) for row in rows if row[2] == "00000000"
    ]
    found += _subnets_6(table_6)
    return tuple(net for net in dict.fromkeys(found) if net.prefixlen and not (net.is_link_local or net.is_multicast))


def _subnets_6(table: Path) -> Iterator[IPv6Network]:
    """Lines of destination, prefix, source, prefix, gateway, metric, users, uses, flags and interface, in hexadecimal."""
    for to, prefix, _, _, gateway, _, _, _, flags, _ in map(str.split, _lines(table)):
        found = IPv6Network((bytes.fromhex(to), int(prefix, 16)))
        if not (int(gateway, 16) or int(flags, 16) & NO_SUBNET):
            yield found


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


def shut_folder(path: Path) -> Path | None:
    """The outermost folder on the way to and including this one that accounts of others may not enter; None: they may."""
    return next((found for found in (*reversed(path.parents), path) if not found.stat().st_mode & 0o001), None)


def process_age() -> float:
    """Seconds since this process was started, its interpreter's own start included."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = int(after_name[19])  # starttime, the 22nd field; the 2nd, the name, may hold blanks
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
