"""What ``pierhead trace`` tells: a packet's way through what the Services ask for, and through the rules that the kernel holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, ip_address
from typing import Final

import msgspec

from pierhead.api import views
from pierhead.api.network import Range
from pierhead.cli.packets import BROADCAST, Seen, Sender
from pierhead.forwarding import nftcompare
from pierhead.forwarding.assembly import Assembly
from pierhead.forwarding.build import build
from pierhead.forwarding.diff import diff
from pierhead.forwarding.nft import PROTOCOLS, Compiler
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.nftmodel import Ruleset
from pierhead.forwarding.nftwalk import Address, Fate, Sent, Step, Unwalkable, fates
from pierhead.forwarding.nftwords import words
from pierhead.forwarding.place import Place
from pierhead.forwarding.table import ANY_NODE_ADDRESS, ForwardingTable, Refusal, ServiceName
from pierhead.forwarding.trace import Packet, rule_at, trace
from pierhead.node import egress
from pierhead.node.wiring import UPLINK
from pierhead.region import lab
from pierhead.wire.expressions import RETURN
from pierhead.wire.nftables import Chain

SHOWN: Final = 4
"""So many endpoints are named."""
KEEPING: Final = ("learn", "clear", "sticky")
"""Chains of these beginnings keep books, and decide nothing."""
ASKED: Final = ("frontends", "terms", "endpoints", "cluster-ips")
"""Sets of which it is worth a line that they lack something."""
LEARNT: Final = ("affinity",)
"""Maps that traffic fills."""
LOOPBACK: Final = IPv4Network("127.0.0.0/8")
MEND: Final = "what others change is mended in a moment; if this stays, read what `pierhead up` says, or start it again"


class Way(msgspec.Struct, frozen=True):
    """A route of the node's."""

    to: Range
    dead: bool = False
    """It says that nothing goes there: unreachable, blackhole, prohibit."""


class Kernel(msgspec.Struct, frozen=True):
    """What the kernel of a node holds, or why it is not known."""

    ground: Ground
    """Of the rules that it is to hold."""
    rules: Ruleset | None = None
    neighbours: Sequence[Chain] = ()
    """Others' chains that meet the same packets."""
    ways: Sequence[Way] | None = None
    """None: it is not known."""
    unread: str = ""

    def leads_to(self, address: Address) -> bool:
        """Whether the longest of its ways that fit goes on."""
        fitting = [way for way in self.ways or () if way.to.version == address.version and address in way.to]
        return bool(fitting) and not max(fitting, key=lambda way: (way.to.prefixlen, not way.dead)).dead


class Account(msgspec.Struct, frozen=True):
    lines: Sequence[str]
    differs: str = ""
    """What the nodes do otherwise than the Services ask for; empty: nothing."""
    step: str = ""
    """What to do about it."""


def account(seen: Seen, sender: Sender, packet: Packet, place: Place, kernel: Kernel | None) -> Account:
    """``kernel``: None where a proxy in userspace carries the traffic."""
    return _Telling(seen, sender, packet, place, kernel).told()


class _Telling:
    def __init__(self, seen: Seen, sender: Sender, packet: Packet, place: Place, kernel: Kernel | None) -> None:
        self._seen, self._sender, self._packet, self._place = seen, sender, packet, place
        self._kernel = kernel
        self._table, self._refusals = _wanted(seen, place)
        self._said = trace(self._table, packet, place)

    def told(self) -> Account:
        packet, kernel = self._packet, self._kernel
        here = f" ({packet.source})" if packet.source not in self._sender.name else ""
        lines = [f"{packet.protocol} from {self._sender.name}{here} to {_socket(packet.address, packet.port)}"]
        lines += ["what the Services ask for:", *_indented([*self._said.why, *self._behind()])]
        if short := self._short():
            found = Account([short])
        elif kernel is None:
            found = self._in_userspace()
        else:
            lines += self._before()
            found = self._in_kernel(kernel)
        return Account([*lines, *found.lines], found.differs, found.step)

    def _behind(self) -> Iterator[str]:
        """What there is behind a Service that leads nowhere."""
        rule = rule_at(self._table, self._packet, self._place)
        if rule is None or self._said.verdict == "forward":
            return
        name = rule.key.service
        own = [found for found in self._seen.slices if (found.metadata.namespace, found.service) == name]
        ends = [end for found in own for end in found.endpoints or ()]
        if ends:
            ready = sum(1 for end in ends if end.conditions.ready is not False)
            yield f"its EndpointSlices name {len(ends)} endpoints, {ready} of them ready"
        else:
            service = self._seen.service(*name)
            chosen = ",".join(f"{key}={value}" for key, value in service.spec.selector.items()) if service else ""
            yield (
                f"its selector {chosen} finds no pod"
                if chosen
                else "it has no selector, and nobody wrote endpoints for it"
            )
        yield from (found.message for found in self._refusals if found.service == name)

    # -- that never comes to a node

    def _short(self) -> str:
        """What becomes of a packet that is no matter of Services and meets no rule of theirs; empty: it may meet some."""
        packet = self._packet
        address = ip_address(packet.address)
        if self._said.verdict != "pass" or self._is_ours(address):
            return ""
        if address.is_multicast or packet.address == BROADCAST:
            what = "multicast" if address.is_multicast else "broadcast"
            if packet.protocol == "TCP":
                return f"unreachable: TCP has no connection to a {what} address"
            return f"goes no further than the sender's own link: {packet.address} is a {what} address, and no Service's"
        if self._kernel and address.is_loopback:
            return f"does not leave {self._sender.name}: {packet.address} is the sender itself"
        if self._kernel and self._sender.link == UPLINK:
            return f"does not come to the nodes: {packet.address} is none of the region's addresses"
        return ""

    def _is_ours(self, address: Address) -> bool:
        """Whether packets to it are led to the nodes."""
        text, network = str(address), self._place.network
        return (
            text in network.node_addresses
            or any(address in found for found in network.pod_ranges)
            or any(text == frontend.address for frontend in self._table.rules)
            or self._seen.is_floating(address)
            or self._seen.pod_at(text) is not None
            or self._seen.node_at(text) is not None
        )

    # -- carried by a proxy in userspace

    def _in_userspace(self) -> Account:
        """There are sockets and no rules: one that nobody opened refuses."""
        packet, said = self._packet, self._said
        lines = ["no rules of the kernel are read: in loopback mode a proxy in userspace carries the traffic"]
        if self._sender.link == UPLINK and ip_address(packet.address) in LOOPBACK:
            return Account([*lines, "dropped: addresses of 127.0.0.0/8 never leave a machine"])
        if refusal := self._refusal():
            step = "do what it says, or give the Service another port"
            return Account([*lines, f"not carried: {refusal.message}"], "the proxy does not serve this", step)
        if said.verdict == "forward":
            return Account([*lines, self._goes((end.address, end.port) for end in said.endpoints)])
        if said.verdict == "pass":
            return Account([*lines, self._passes(packet.address)])
        silent = "; a proxy in the kernel would drop it silently" if said.verdict == "drop" else ""
        return Account([*lines, f"refused: {said.why[-1]}{silent}"])

    def _refusal(self) -> views.Refusal | None:
        """What the proxy itself says of this frontend."""
        packet = self._packet
        here = (packet.address, *ANY_NODE_ADDRESS.values())
        told = (one for found in self._seen.proxies for one in found.status.refusals)
        wanted = packet.protocol, packet.port
        return next((one for one in told if (one.protocol, one.port) == wanted and one.address in here), None)

    # -- carried by the kernel

    def _before(self) -> Iterator[str]:
        """What a packet meets before the node. In a lab everybody is on one wire with it."""
        network, source = self._place.network, self._packet.source
        if self._sender.link != UPLINK or source in network.machine_addresses or lab.is_one(network):
            return
        setting = egress.SETTINGS[ip_address(source).version]
        yield f"it comes over the machine, whose own forwarding ({setting}) and firewall come first and are not looked at"

    def _in_kernel(self, kernel: Kernel) -> Account:
        wanted = _compiled(kernel.ground, self._table)
        ours = list(self._walked(wanted, kernel))
        if kernel.rules is None:
            lines = [f"the kernel's table was not read: {kernel.unread}", "the rules that the nodes are to hold:"]
            return Account([*lines, *_steps(ours, wanted), self._verdict(ours)])
        held = kernel.rules
        if not held.chains:
            return Account(
                ["what the kernel holds:", "  nothing", f"wanted: {self._verdict(ours)}"],
                f"the node has no {held.table}",
                MEND,
            )
        lines = [f"what the kernel holds, {held.table}:"]
        lines += _indented(f"{chain} sees these packets too, and is not followed here" for chain in kernel.neighbours)
        if not held.table.comment.startswith(f"{kernel.ground.owner} "):
            return Account(
                [*lines, *_indented(["it is another region's"]), f"wanted: {self._verdict(ours)}"],
                "the node's table is another region's",
                f"to give it up: nft delete {held.table}",
            )
        try:
            theirs = list(self._walked(held, kernel))
        except Unwalkable as error:
            return Account(
                [*lines, *_indented([f"somebody's rule is in the way, and what it does is not known here: {error}"])],
                "the kernel holds rules that are not ours",
                MEND,
            )
        lines += _steps(theirs, held)
        if nftcompare.same(ours, theirs, LEARNT):
            return Account([*lines, self._verdict(theirs) + self._lost(theirs, kernel)])
        named = nftcompare.differences(wanted, ours, held, theirs, LEARNT)
        return Account(
            [*lines, *(f"differs: {one}" for one in named), self._verdict(theirs), f"wanted: {self._verdict(ours)}"],
            "the kernel does something else than the Services ask for",
            MEND,
        )

    def _walked(self, rules: Ruleset, kernel: Kernel) -> Iterator[Fate]:
        packet, ground = self._packet, kernel.ground
        source, destination = ip_address(packet.source), ip_address(packet.address)
        sent = Sent(source, destination, PROTOCOLS[packet.protocol], packet.port, link=self._sender.link)

        def is_local(address: Address) -> bool:
            own = any(address in found for found in ground.services) or self._seen.is_floating(address)
            return own or str(address) in ground.nodes

        return fates(rules, sent, is_local)

    def _verdict(self, found: Sequence[Fate]) -> str:
        """One sentence for all that may become of such packets."""
        told = []
        if ends := [(str(fate.destination), fate.port) for fate in found if fate.verdict == "forward"]:
            hidden = all(fate.masquerade for fate in found if fate.verdict == "forward")
            told.append(self._goes(ends) + (", and sees the node as its client" if hidden else ""))
        told += dict.fromkeys(self._sentence(fate) for fate in found if fate.verdict != "forward")
        return "; or ".join(told)

    def _lost(self, found: Sequence[Fate], kernel: Kernel) -> str:
        """What becomes of the answer, if it finds no way."""
        arrives = any(fate.verdict in ("forward", "pass") for fate in found)
        if not arrives or kernel.ways is None or self._sender.link != UPLINK:
            return ""
        source = ip_address(self._packet.source)
        return (
            "" if kernel.leads_to(source) else f"; but the node has no route back to {source}: nobody hears an answer"
        )

    def _sentence(self, fate: Fate) -> str:
        if fate.verdict == "pass":
            return self._passes(str(fate.destination))
        word = {"reject": "refused", "drop": "dropped"}[fate.verdict]
        last = fate.why[-1] if fate.why else None
        if last and any(looked.there == "uplinks" and looked.found for looked in last.looked):
            return f"{word} at the uplink: cluster IPs and pods are reachable from within only"
        if self._said.verdict == fate.verdict:
            return f"{word}: {self._said.why[-1]}"
        if self._said.verdict == "pass" and fate.verdict == "reject":
            return f"{word}: no Service has {self._packet.protocol} port {self._packet.port} of this address"
        return f"{word} by {last}" if last else word

    # -- where it ends

    def _goes(self, ends: Iterable[tuple[str, int]]) -> str:
        every = list(dict.fromkeys(ends))
        more = f" or {len(every) - SHOWN} more" if len(every) > SHOWN else ""
        return f"goes to {' or '.join(self._named(*end) for end in every[:SHOWN])}{more}"

    def _passes(self, address: str) -> str:
        if why := self._unreachable(ip_address(address)):
            return why
        if self._seen.pod_at(address):
            return f"goes to {self._named(address, self._packet.port)} itself: no Service is involved"
        if address in self._place.network.node_addresses:
            return f"is for the node itself: no Service has {self._packet.protocol} port {self._packet.port} there"
        if node := self._seen.node_at(address):
            return f"goes on to node {node.metadata.name}, and meets the rules there"
        unsure = ", if the node has a route there" if self._kernel and self._kernel.ways is None else ""
        if self._is_kept_in(address):
            return f"goes on to the machine, which without --egress refuses it to pods unless {address} is its own"
        return f"goes on to {address}{unsure}: no Service has {self._packet.protocol} port {self._packet.port} there"

    def _is_kept_in(self, address: str) -> bool:
        """Whether the machine lets a pod's packet go no further than itself: there, and where no default route says that pods may go out."""
        network, source = self._place.network, ip_address(self._packet.source)
        ways = (self._kernel.ways if self._kernel else None) or ()
        goes_out = any(way.to.version == source.version and not (way.to.prefixlen or way.dead) for way in ways)
        inside = any(source in found for found in network.pod_ranges)
        return inside and bool(ways) and not (goes_out or lab.is_one(network) or address in network.machine_addresses)

    def _unreachable(self, address: Address) -> str:
        """Why the node can send nothing there; empty: it can, or it is not known."""
        kernel, network = self._kernel, self._place.network
        if kernel is None or str(address) in network.node_addresses:
            return ""
        if any(address in found for found in network.pod_ranges):
            return "" if self._seen.pod_at(str(address)) else f"unreachable: no pod has the address {address}"
        if kernel.ways is None or kernel.leads_to(address):
            return ""
        return f"unreachable: the node has no route to {address}"

    def _named(self, address: str, port: int) -> str:
        pod = self._seen.pod_at(address)
        whose = f"pod {pod.metadata.namespace}/{pod.metadata.name} " if pod else ""
        return whose + _socket(address, port)


def _wanted(seen: Seen, place: Place) -> tuple[ForwardingTable, Sequence[Refusal]]:
    own: dict[ServiceName, list[views.EndpointSlice]] = {}
    for found in seen.slices:
        own.setdefault(ServiceName(found.metadata.namespace, found.service), []).append(found)
    assembly = Assembly()
    names = {ServiceName(found.metadata.namespace, found.metadata.name): found for found in seen.services}
    assembly.update({name: build(service, own.get(name, ()), place) for name, service in names.items()})
    return assembly.table(), assembly.refusals()


def _compiled(ground: Ground, table: ForwardingTable) -> Ruleset:
    """The rules as a node is to have them."""
    compiler = Compiler(ground)
    found = Ruleset(compiler.layout.table)
    found.apply(compiler.layout.skeleton())
    found.apply(compiler.take(diff(ForwardingTable(), table)).messages)
    return found


def _steps(found: Sequence[Fate], rules: Ruleset) -> list[str]:
    """A line for each rule that decided something; of those that chance leads elsewhere, each."""
    told: dict[str, dict[str, None]] = {}
    for fate in found:
        for step in filter(_counts, fate.why):
            told.setdefault(str(step), {})[words(step, rules)] = None
    lines = []
    for name, said in told.items():
        lines += [f"{name}: {one}" for one in list(said)[:SHOWN]]
        if len(said) > SHOWN:
            lines.append(f"{name}: {len(said) - SHOWN} more")
    return _indented(lines)


def _counts(step: Step) -> bool:
    if step.chain.startswith(KEEPING):
        return False
    asked = [looked for looked in step.looked if looked.there in ASKED]
    if not step.done:
        return bool(asked) and not asked[-1].found
    to = step.verdict.chain if step.verdict else ""
    onwards = to.startswith(KEEPING) if len(step.rule) > 1 else bool(to)
    return bool(asked) or not (onwards or step.verdict == RETURN)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
