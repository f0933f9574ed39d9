"""When the keeper of the machine's link looks after it: at every notice that may be about it, and at no other."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

import virtual
from pierhead.api.network import Range
from pierhead.dataplane.netlink import Netlink, refusal
from pierhead.node.linkwatch import Heard, LinkWatch, Notice
from pierhead.node.netns import NetworkNamespace
from pierhead.node.wiring import Wiring
from pierhead.region.linkkeeper import LONGEST, PAUSE, LinkKeeper
from pierhead.region.poolroutes import PoolRoutes
from pierhead.wire.links import Link
from pierhead.wire.routes import Address, Route, RouteKind

OURS = Link(7, "ph-a", "veth", True, True, 1500, b"", 0, 8, 1)
LED: Range = ip_network("10.96.0.0/16")


class Told(LinkWatch):
    """Tells these one after the other, and then nothing more."""

    def __init__(self, *heard: Heard) -> None:
        self._heard = list(heard)

    async def wait(self) -> None:
        if not self._heard:
            await asyncio.get_running_loop().create_future()

    def read(self) -> Heard:
        return self._heard.pop(0) if self._heard else Heard((), complete=True)


class Routes(PoolRoutes):
    """Notes when it was asked to look; fails so often first."""

    def __init__(self, *, failures: int = 0) -> None:
        super().__init__(Netlink.__new__(Netlink), NetworkNamespace(Path("node")), lambda _: Wiring("ph-a", ()))
        self.looked: list[float] = []
        self.numbers = [7]
        self._failures = failures

    @property
    def led(self) -> frozenset[Range]:
        return frozenset({LED})

    def mend(self) -> bool:
        self.looked.append(asyncio.get_running_loop().time())
        if len(self.looked) <= self._failures:
            raise refusal(errno.EEXIST, "route 10.96.0.0/16")
        return False

    def number(self) -> int:
        return self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]


class Door(socket.socket):
    """Notes to which link it was bound."""

    bound: list[object]

    def setsockopt(self, *to: object) -> None:
        self.bound = [*getattr(self, "bound", []), to[-1]]


def looks(routes: Routes, *heard: Heard, doors: Sequence[socket.socket] = ()) -> Sequence[float]:
    async def run() -> None:
        begun = asyncio.get_running_loop().time()
        keeper = LinkKeeper(Told(*heard), routes)
        keeper.doors = doors
        following = asyncio.create_task(keeper.follow())
        await asyncio.sleep(LONGEST)
        following.cancel()
        routes.looked = [at - begun for at in routes.looked]

    virtual.run(run())
    return routes.looked


@pytest.mark.parametrize(
    ("notice", "ours"),
    [
        (OURS, True),
        (Link(7, "renamed", "veth", True, True, 1500, b"", 0, 8, 1), True),
        (Link(3, "eth0", "", False, False, 1500, b"", 0, 0, 0), False),
        (Address(7, ip_interface("10.97.0.1/32")), True),
        (Address(3, ip_interface("192.0.2.1/24")), False),
        (Route(ip_network("198.51.100.0/24"), 7), True),
        (Route(LED, 0, kind=RouteKind.BLACKHOLE), True),
        (Route(ip_network("198.51.100.0/24"), 3), False),
    ],
    ids=["the link", "renamed", "another", "its address", "another's", "over it", "elsewhere to the same", "another's way"],
)  # fmt: skip
def test_it_looks_at_what_may_be_about_the_link(notice: Notice, ours: bool) -> None:
    known = Heard([OURS], complete=True)
    assert len(looks(Routes(), known, Heard([notice], complete=True))) == 1 + ours


def test_where_notices_were_lost_it_looks() -> None:
    assert len(looks(Routes(), Heard((), complete=False))) == 1


def test_what_fails_is_tried_again_after_a_pause_and_then_left_alone() -> None:
    assert looks(Routes(failures=2), Heard([OURS], complete=True)) == pytest.approx([0, PAUSE, 3 * PAUSE])


def test_two_who_insist_meet_less_and_less_often() -> None:
    assert looks(Routes(), *[Heard([OURS], complete=True)] * 3) == pytest.approx([0, PAUSE, 3 * PAUSE])


def test_doors_are_bound_again_whoever_has_made_the_link_anew() -> None:
    routes = Routes()
    routes.numbers = [7, 7, 9]
    with Door() as door:
        looks(routes, *[Heard([OURS], complete=True)] * 3, doors=[door])
        assert door.bound == [b"ph-a", b"ph-a"]
