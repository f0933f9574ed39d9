"""What terrains open for their nodes: of a data plane that cannot be opened whole nothing stays open."""

from __future__ import annotations

import asyncio
import errno
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest

from pierhead.errors import NotSupported
from pierhead.forwarding.place import Place
from pierhead.node.border import Keeper
from pierhead.node.netns import NetworkNamespace
from pierhead.region import lab, ranges
from pierhead.region.lab import Lab
from pierhead.region.linkkeeper import LinkKeeper
from pierhead.region.namespaced import Namespaced
from pierhead.region.placement import ALONE, numbered
from pierhead.region.poolroutes import PoolRoutes
from pierhead.region.settings import Settings
from pierhead.region.terrain import Terrain


class Socket:
    def __init__(self) -> None:
        self.is_open = True

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False


class Opening:
    """Opens sockets, but no more than so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.made: list[Socket] = []

    def __call__(self, *_: object) -> Socket:
        if len(self.made) == self._most:
            raise NotSupported(errno.EMFILE, "netlink", "Too many open files")
        self.made.append(Socket())
        return self.made[-1]


def namespaced(directory: Path) -> Terrain:
    settings = Settings(directory, "127.0.0.1", 0, ranges.choose("namespace"))
    namespace = NetworkNamespace(directory / "node")
    return Namespaced(
        settings,
        namespace,
        directory,
        Mock(spec=PoolRoutes),
        Mock(spec=LinkKeeper),
        Mock(spec=Keeper),
        asyncio.Event(),
        ExitStack(),
    )


def in_a_lab(directory: Path) -> Terrain:
    settings = Settings(directory, "127.0.0.1", 0, lab.network())
    return Lab(settings, numbered(settings.network, settings.zones), ExitStack())


@pytest.mark.parametrize("terrain", [namespaced(Path("/d")), in_a_lab(Path("/d"))], ids=["namespaced", "lab"])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_both_sockets_of_a_data_plane_are_open_or_none(
    terrain: Terrain, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(most)
    for way in ("open", "within"):
        monkeypatch.setattr(NetworkNamespace, way, opening)
    place = Place(frozenset((ALONE,)), terrain.network(ALONE))
    try:
        terrain.dataplane(place, "uid")
    except NotSupported:
        assert not any(made.is_open for made in opening.made)
    else:
        assert [made.is_open for made in opening.made] == [True, True]
    assert len(opening.made) == most
