"""Which processes listen where others would like to.

In loopback mode all pods share the machine's ports: a pod that binds 0.0.0.0 takes the port from all others, and cannot have it
where somebody else, such as the proxy of a Service on that port, has it at any address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

from pierhead.api.network import Range
from pierhead.dataplane.holders import Holders, held, inodes
from pierhead.forwarding.table import ANY_NODE_ADDRESS, Frontend


def wildcards(pids: Iterable[int], udp: Collection[int] = (), net: Path = Path("/proc/net")) -> list[str]:
    """``0.0.0.0:8080`` or ``[::]:8080`` for each such socket of these processes, sorted. Of UDP only the ports in ``udp``, because
    a client's socket looks like a server's there."""
    found = [*held("TCP", net), *(one for one in held("UDP", net) if one.port in udp)]
    sockets = {one.inode: str(one) for one in found if one.address in ANY_NODE_ADDRESS.values()}
    if not sockets:
        return []
    own = {inode for pid in pids for inode in inodes(pid)}
    return sorted({address for inode, address in sockets.items() if inode in own})


def rivals(ports: Collection[tuple[str, int]], pods: Sequence[Range] = ()) -> list[str]:
    """Who listens at one of these ports, given by protocol, at whatever address but those of ``pods``; sorted texts such as
    ``process 4711 (python3 -m http.server 8080) listens at 0.0.0.0:8080``."""
    wanted = [
        Frontend(protocol, found.address, number)
        for protocol, number in ports
        for found in held(protocol)
        if found.port == number and not any(ip_address(found.address) in own for own in pods)
    ]
    return sorted({f"{found.who} listens at {found.where}" for found in Holders().find(wanted).values()})
