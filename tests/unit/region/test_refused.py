"""A region that is refused, at whatever moment of its start: one clear line, and no trace."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.region import ranges, tenure
from pierhead.region.region import run_region
from pierhead.region.settings import Settings

ZONES = ("a", "b", "c", "d")


@pytest.fixture
def busy() -> Iterator[ExitStack]:
    """What somebody else has."""
    with ExitStack() as found:
        yield found


def taken_port(directory: Path, busy: ExitStack) -> Settings:
    port = busy.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    return Settings(directory, "127.0.0.1", port, ranges.choose("none"))


def taken_ranges(directory: Path, busy: ExitStack) -> Settings:
    part = busy.enter_context(tenure.spare())
    network = ranges.choose("loopback", services=(part.services,), pods=(part.pods,), floating=(part.floating,))
    return Settings(directory, "127.0.0.1", 0, network)


def small_range(directory: Path, busy: ExitStack) -> Settings:
    with tenure.spare() as part:
        pods = ranges.parse("--pod-cidr", f"{part.pods.network_address}/28")
        network = ranges.choose("loopback", services=(part.services,), pods=pods, floating=(part.floating,))
    return Settings(directory, "127.0.0.1", 0, network, zones=ZONES)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (taken_port, "cannot listen on"),
        (taken_ranges, "another region on this machine has"),
        (small_range, "is too small for 4 nodes"),
    ],
)
def test_it_leaves_nothing_that_was_not_there(
    tmp_path: Path, busy: ExitStack, settings: Callable[[Path, ExitStack], Settings], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        asyncio.run(run_region(settings(tmp_path / "made" / "for it", busy), lambda _: None))
    assert [*tmp_path.iterdir()] == []


def test_a_directory_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    asked = Settings(tmp_path / "d", "127.0.0.1", 0, ranges.choose("none"))

    async def scene() -> None:
        serving = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run_region(asked, lambda _: serving.set()))
            await serving.wait()
            before = sorted(asked.data_dir.iterdir())
            with pytest.raises(UsageError, match="is in use by process"):
                await run_region(asked, lambda _: None)
            assert sorted(asked.data_dir.iterdir()) == before
            first.cancel()

    asyncio.run(scene())


def test_who_only_lacks_room_is_not_sent_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another directory the region would be another one."""
    asked = Settings(tmp_path / "d", "127.0.0.1", 0, ranges.choose("none"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for broken in ("pierhead.store.log._hold", "pierhead.region.region.ensure"):
        with monkeypatch.context() as patched:
            patched.setattr(broken, full)
            with pytest.raises(UsageError, match="No space left on device") as refused:
                asyncio.run(run_region(asked, lambda _: None))
            assert refused.value.hint.startswith("free some space there, or ")
