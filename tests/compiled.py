"""Tables as compiled nftables rules, walked without a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from msgspec.structs import replace

from forwarded import HERE, NETWORK, NODE, VIP
from pierhead.forwarding.diff import Change, diff
from pierhead.forwarding.nft import PROTOCOLS, Compiler, Step
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Address, Fate, Sent, fates
from pierhead.forwarding.table import ForwardingTable
from pierhead.forwarding.trace import Packet
from pierhead.wire.nftables import Family

INSIDE = replace(HERE, network=replace(NETWORK, mode="host"))
"""The place as a kernel's data plane sees it: loopback addresses are nothing special."""
GROUND = Ground(Family.IP, "uid", (NODE,), NETWORK.service_ranges, NETWORK.pod_ranges)
OWN = frozenset(map(ip_address, (NODE, VIP)))


class Kernel:
    """Holds what a compiler's messages make."""

    def __init__(self, ground: Ground = GROUND, *, sticky: bool = False) -> None:
        """Without ``sticky`` each client is as if it had never been here."""
        self.sticky = sticky
        self.compiler = Compiler(ground)
        self.rules = Ruleset(self.compiler.layout.table)
        self.table = ForwardingTable()
        self.rules.apply(self.compiler.layout.skeleton())

    def hold(self, table: ForwardingTable) -> Step:
        changes, self.table = diff(self.table, table), table
        return self.commit(changes)

    def commit(self, changes: Sequence[Change]) -> Step:
        step = self.compiler.take(changes)
        self.rules.apply(step.messages)
        return step

    def fates(self, packet: Packet) -> list[Fate]:
        """What becomes of packets like this one, whatever the dice say."""
        link = "" if packet.source == NODE else "veth1"
        source, destination = ip_address(packet.source), ip_address(packet.address)
        sent = Sent(source, destination, PROTOCOLS[packet.protocol], packet.port, link=link)
        found = []
        for fate in fates(self.rules, sent, is_local):
            if self.sticky:
                for one in fate.learnt:
                    self.rules.sets[one.there].elements.setdefault(one.key, one.data)
            found.append(fate)
        return found


def is_local(address: Address) -> bool:
    return address in OWN or any(address in found for found in NETWORK.service_ranges)
