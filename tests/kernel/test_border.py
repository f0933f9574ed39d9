"""The machine's table that keeps others out, in the real kernel."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from namespaces import Namespace
from pierhead.dataplane.netlink import Netlink
from pierhead.node import border
from pierhead.node.border import Border
from pierhead.wire.netlink import Message
from pierhead.wire.nftables import Kind

BORDER = Border(ip_address("10.97.0.2"), (ip_network("10.96.0.0/16"),), (ip_network("10.244.0.0/16"),))


class Flushed(Netlink):
    """Somebody flushes all rules whenever the tables were looked at, so often."""

    times = 0

    def request(self, message: Message) -> list[Message]:
        found = super().request(message)
        if message.kind == Kind.GETTABLE and self.times:
            self.times -= 1
            self.flush()
        return found

    def flush(self) -> None:
        raise NotImplementedError


def test_who_flushes_meanwhile_is_no_failure(namespace: Namespace) -> None:
    with namespace.open() as kernel:

        class Here(Flushed):
            def __init__(self) -> None:
                self.__dict__.update(kernel.__dict__)

            def flush(self) -> None:
                namespace.nft("flush", "ruleset")

        here = Here()
        border.lay(here, "ph-a", [BORDER])
        here.times = 2
        border.lay(here, "ph-a", [BORDER])
        assert "table ip ph-a" in namespace.nft("list", "tables")
        here.times = 2
        border.remove(here, "ph-a")
        assert namespace.nft("list", "tables") == ""


def test_what_has_no_link_any_more_is_swept_and_nothing_else(namespace: Namespace) -> None:
    with namespace.open() as kernel:
        for link in ("ph-a", "ph-b"):
            border.lay(kernel, link, [BORDER])
        namespace.nft("add", "table", "ip", "ph-others")
        border.sweep(kernel, {"ph-a"})
        assert namespace.nft("list", "tables").splitlines() == ["table ip ph-a", "table ip ph-others"]
