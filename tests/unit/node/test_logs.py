"""Logs of containers: how output is kept, and what ``kubectl logs`` gets (`node.logs`)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.logs import LogQuery
from pierhead.errors import ApiError
from pierhead.node.logs import LONGEST_LINE, Log, read


def collect(log: Log, *, now: float = 0.0, **query: Any) -> bytes:
    """What a reader gets of a log that nobody writes any more."""

    async def scenario() -> bytes:
        return b"".join([chunk async for chunk in read(log, LogQuery("ns", "pod", "c", **query), now)])

    return asyncio.run(scenario())


def written(path: Path, *writes: bytes, rotate_at: int = 1 << 20) -> Log:
    log = Log.begun(path / "0.log", rotate_at)
    for data in writes:
        log.write(b"stdout", data)
    log.close()
    return log


def lines(path: Path, *texts: str) -> Log:
    """A log with timestamps of its own: one line a second, from 12:00:00 on."""
    target = path / "0.log"
    target.write_text("".join(f"2026-01-02T12:00:{i:02d}.000000000Z stdout F {text}\n" for i, text in enumerate(texts)))
    return Log(target)


def test_lines_are_kept_in_cri_s_format(tmp_path: Path) -> None:
    log = written(tmp_path, b"one\ntwo\n", b"thr", b"ee\n")
    form = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) stdout F (\w+)"
    found = [re.fullmatch(form, line) for line in log.path.read_bytes().splitlines()]
    assert [match[2] for match in found if match] == [b"one", b"two", b"three"]


def test_streams_do_not_mix_within_a_line(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log")
    log.write(b"stdout", b"out")
    log.write(b"stderr", b"err\n")
    log.write(b"stdout", b"put\n")
    log.close()
    assert collect(log) == b"err\noutput\n"


def test_a_last_line_without_an_end_stays_without(tmp_path: Path) -> None:
    assert collect(written(tmp_path, b"one\ntwo")) == b"one\ntwo"


def test_a_line_that_never_ends_is_kept_in_pieces(tmp_path: Path) -> None:
    log = written(tmp_path, b"x" * 100_000, b"y\nz\n")
    assert max(map(len, log.path.read_bytes().splitlines())) < LONGEST_LINE + 100
    assert collect(log) == b"x" * 100_000 + b"y\nz\n"


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 400))
def test_what_was_written_is_what_is_read(tmp_path_factory: Any, writes: list[bytes], size: int) -> None:
    """Whatever the pieces, without rotation and with the newest part at least with it."""
    path = tmp_path_factory.mktemp("log")
    expected = b"".join(writes)
    assert collect(written(path, *writes)) == expected
    assert expected.endswith(collect(written(path / "small", *writes, rotate_at=size)))


def test_a_log_is_rotated_and_one_older_file_is_kept(tmp_path: Path) -> None:
    log = written(tmp_path, *(b"%04d\n" % i for i in range(1000)), rotate_at=2000)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 2200
    got = collect(log).split()
    assert got == [b"%04d" % i for i in range(1000 - len(got), 1000)]
    assert len(got) > 40


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "abcde"),
        ({"tail_lines": 2}, "de"),
        ({"tail_lines": 0}, ""),
        ({"tail_lines": 99}, "abcde"),
        ({"since_time": "2026-01-02T12:00:03Z"}, "de"),
        ({"since_time": "2026-01-02T13:00:03+01:00"}, "de"),
        ({"since_time": "2026-01-02T12:00:03Z", "tail_lines": 1}, "e"),
        ({"since_seconds": 1}, "de"),
        ({"limit_bytes": 4}, "ab"),
        ({"limit_bytes": 100}, "abcde"),
    ],
)
def test_part_of_a_log(tmp_path: Path, query: dict[str, Any], expected: str) -> None:
    log = lines(tmp_path, *"abcde")
    now = 1767355204.0  # 2026-01-02T12:00:04Z
    assert collect(log, now=now, **query) == b"".join(letter.encode() + b"\n" for letter in expected)


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="sinceTime"):
        collect(lines(tmp_path, "a"), since_time="yesterday")


def test_limit_bytes_may_cut_a_line(tmp_path: Path) -> None:
    assert collect(lines(tmp_path, "abc", "def"), limit_bytes=5) == b"abc\nd"


def test_timestamps_are_shown_on_request(tmp_path: Path) -> None:
    assert collect(lines(tmp_path, "a"), timestamps=True) == b"2026-01-02T12:00:00.000000000Z a\n"


@pytest.mark.parametrize("count", [1, 3, 2_500, 4_999, 5_000, 9_000])
def test_the_tail_of_a_long_log_is_found_across_blocks_and_files(tmp_path: Path, count: int) -> None:
    log = written(tmp_path, *(b"%05d %s\n" % (i, b"x" * (i % 97)) for i in range(5_000)), rotate_at=350_000)
    assert log.generation == 1
    got = collect(log, tail_lines=count).splitlines()
    assert len(got) == min(count, 5_000)
    assert got[-1].startswith(b"04999")


def follow(log: Log, script: Callable[[], list[bytes]], **query: Any) -> bytes:
    """A reader follows while the script writes; each list of writes comes when the reader has had everything before."""

    async def scenario() -> bytes:
        async def reading() -> bytes:
            chunks = read(log, LogQuery("ns", "pod", "c", follow=True, **query), 0.0)
            return b"".join([chunk async for chunk in chunks])

        async with asyncio.TaskGroup() as tasks:
            got = tasks.create_task(reading())
            for data in [b"", *script()]:
                log.write(b"stdout", data)
                for _ in range(20):
                    await asyncio.sleep(0)
            log.close()
        return got.result()

    return asyncio.run(scenario())


def test_a_follower_gets_what_comes_and_ends_with_the_container(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log")
    log.write(b"stdout", b"old\n")
    assert follow(log, lambda: [b"one\n", b"tw", b"o\n"]) == b"old\none\ntwo\n"


def test_a_follower_of_nothing_old(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log")
    log.write(b"stdout", b"old\n")
    assert follow(log, lambda: [b"new\n"], tail_lines=0) == b"new\n"


def test_a_follower_reads_on_over_rotations(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log", rotate_at=500)
    assert follow(log, lambda: [b"%03d\n" % i for i in range(200)]) == b"".join(b"%03d\n" % i for i in range(200))
    assert log.generation > 5


def test_a_progress_bar_is_kept_as_it_was_drawn(tmp_path: Path) -> None:
    assert collect(written(tmp_path, b"10%\r20%\rdone\r\nnext\n")) == b"10%\r20%\rdone\r\nnext\n"


def test_a_line_in_pieces_has_one_timestamp(tmp_path: Path) -> None:
    log = written(tmp_path, b"x" * 200_000 + b"\n")
    assert collect(log, timestamps=True).count(b"Z x") == 1


@pytest.mark.parametrize("query", [{"since_seconds": 1 << 62}, {"since_time": "0001-01-01T00:00:00Z"}])
def test_since_before_everything_is_all(tmp_path: Path, query: dict[str, Any]) -> None:
    assert collect(lines(tmp_path, "a"), now=1767355204.0, **query) == b"a\n"


def test_a_log_that_was_removed_is_not_found(tmp_path: Path) -> None:
    log = written(tmp_path, b"one\n")
    log.remove()
    with pytest.raises(ApiError, match='the log of container "c" in pod "pod" is no longer there') as caught:
        collect(log)
    assert caught.value.code == 404


def test_a_full_disk_loses_output_and_nothing_else(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file)
    log.write(b"stdout", b"one\n")
    assert log.lost > 0
    log.close()
    os.close(full)


def test_a_closed_log_never_writes_to_whoever_has_its_descriptor_now(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log")
    log.close()
    with (tmp_path / "somebody's").open("wb") as other:
        log.write(b"stdout", b"late\n")
        assert os.fstat(other.fileno()).st_size == 0
    assert (log.path.read_bytes(), log.lost) == (b"", 5)


def test_where_no_new_file_can_be_had_the_old_one_is_written_on(tmp_path: Path) -> None:
    log = Log.begun(tmp_path / "0.log", rotate_at=100)
    (tmp_path / "0.log.new").mkdir()
    log.write(b"stdout", b"x" * 200 + b"\n")
    log.write(b"stdout", b"y\n")
    log.close()
    assert collect(log) == b"x" * 200 + b"\ny\n"
    assert log.generation == 0
