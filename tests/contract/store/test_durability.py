"""What SQLite promises besides: an answer means that it is on the disk, and one process at a time holds the directory."""

from __future__ import annotations

import asyncio
import fcntl
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from pierhead.errors import PreconditionFailed, StoreFailed, StoreLocked
from pierhead.store import Absent, Entry, Event, Put
from pierhead.store.log import Log
from pierhead.store.sqlite import SqliteStore

Reopened: TypeAlias = Callable[[], AbstractAsyncContextManager[SqliteStore]]

WRITER = Path(__file__).with_name("writer.py")


def writer(directory: Path, name: str, *, writers: int, commits: int) -> list[str]:
    return [sys.executable, str(WRITER), str(directory), name, str(writers), str(commits)]


# -- nothing acknowledged is lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_acknowledged_commit_survives_kill_9(reopened: Reopened, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, list[int]] = {}
    for life in range(2):
        acknowledged |= killed_after(chance.randint(1, 600), tmp_path, f"life{life}")

    async def scenario() -> None:
        async with reopened() as store:
            for key, revisions in acknowledged.items():
                entry, claim = store.get(key), store.get(key.replace("objects/", "claims/"))
                assert entry is not None
                assert claim is not None
                assert [entry.revision, claim.revision] == revisions
            assert store.count("objects/") == store.count("claims/")
            assert store.revision == 2 * store.count("objects/")

    asyncio.run(scenario())


def killed_after(answers: int, directory: Path, name: str) -> dict[str, list[int]]:
    """Starts the writer, kills it after that many answers, and says which were given."""
    command = writer(directory, name, writers=16, commits=1000)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        lines += process.stdout.readlines()
    found = (line.split() for line in lines if line.endswith("\n"))
    return {key: [int(revision) for revision in revisions] for key, *revisions in found}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_log_is_synced_between_the_last_write_of_a_commit_and_its_answer(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-y", "-s", "16", "-e", "trace=write,pwrite64,fdatasync,fsync", "-o", str(trace)]
    command = writer(tmp_path / "data", "traced", writers=1, commits=50)
    subprocess.run([*tracer, *command], check=True, stdout=subprocess.DEVNULL)
    steps = list(seen(trace.read_text()))
    assert steps.count("answer") == 50
    for commit in "".join(step[0] for step in steps).split("a")[:-1]:
        assert re.search("ws$", commit), f"an answer after {commit!r}"


def seen(trace: str) -> Iterator[str]:
    """``write`` and ``sync`` of the log, when they ended, and ``answer``, when it began."""
    syncing: dict[str, str] = {}
    for line in trace.splitlines():
        thread, call = line.split(maxsplit=1)
        if "store.db-wal>" in call and call.startswith(("fdatasync(", "fsync(")):
            syncing[thread] = call
        if re.search(r"^(\S+\(.*|<\.\.\. \S+ resumed>.*)\) += 0", call) and syncing.pop(thread, ""):
            yield "sync"
        elif "store.db-wal>" in call and call.startswith("pwrite64("):
            yield "write"
        elif '"objects/' in call and call.startswith("write(1<"):
            yield "answer"


# -- a medium that fails -------------------------------------------------------------------------------------


@contextmanager
def full(file: Path) -> Iterator[None]:
    """``file`` cannot grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_batch_publishes_nothing_and_the_next_one_goes_on(reopened: Reopened, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            events: list[Event] = []
            store.watch("", 0, events.extend)
            await store.commit([Put("a", b"#")])
            with full(tmp_path / "store.db-wal"):
                writes = (store.commit([Put(key, b"x" * 9000)], [Absent(key)]) for key in ("b", "b", "c"))
                answers = await asyncio.gather(*writes, return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreFailed] * 3
            assert str(answers[0]).startswith(f"cannot write to {tmp_path}/store.db: ")
            assert (store.revision, store.count(""), len(events)) == (1, 1, 1)
            assert list(await store.commit([Put("c", b"#")], [Absent("c")])) == [2]
        async with reopened() as store:
            assert [entry.key for entry in store.range("")] == ["a", "c"]

    asyncio.run(scenario())


def test_a_disk_that_is_full_is_said_once_and_so_is_that_it_has_room_again(
    reopened: Reopened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            await store.commit([Put("a", b"#")])
            with full(tmp_path / "store.db-wal"):
                for _ in range(3):
                    with pytest.raises(StoreFailed):
                        await store.commit([Put("b", b"x" * 9000)])
            await store.commit([Put("c", b"#")])
            await store.commit([Put("d", b"#")])

    asyncio.run(scenario())
    said, again = (one.getMessage() for one in caplog.records if one.name.startswith("pierhead"))
    assert said.startswith(f"cannot write to {tmp_path}/store.db: ")
    assert said.endswith(
        ": see to that disk (is it full?); until it can be written, changes are refused and the rest goes on"
    )
    assert again == "the store can be written again"


def test_a_failed_compaction_forgets_nothing(reopened: Reopened, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            await store.commit([Put("a", b"#")])
            await store.commit([Put("a", b"#")])
            with full(tmp_path / "store.db-wal"), pytest.raises(StoreFailed):
                await store.compact(2)
            assert (store.compacted, len(store.range("", at=1))) == (0, 1)
            await store.compact(2)
            assert store.compacted == 2

    asyncio.run(scenario())


# -- group commit --------------------------------------------------------------------------------------------


def test_commits_that_wait_become_durable_together(reopened: Reopened) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            await asyncio.gather(*(store.commit([Put(f"a/{n}", b""), Put(f"b/{n}", b"")]) for n in range(100)))
            statistics = store.statistics()
            assert (statistics.commits, statistics.operations) == (100, 200)
            assert statistics.batches == 1
            assert sum(statistics.durations.counts) == statistics.batches
            assert statistics.durations.seconds > 0

    asyncio.run(scenario())


def test_who_loses_is_told_only_when_the_winner_is_durable(reopened: Reopened) -> None:
    async def scenario() -> None:
        async with reopened() as store:

            async def lose() -> None:
                with pytest.raises(PreconditionFailed):
                    await store.commit([Put("a", b"second")], [Absent("a")])
                assert store.get("a") == Entry("a", b"first", 1)

            await asyncio.gather(store.commit([Put("a", b"first")], [Absent("a")]), lose())

    asyncio.run(scenario())


# -- the directory -------------------------------------------------------------------------------------------


def test_a_second_opener_is_told_who_holds_the_directory(reopened: Reopened, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with reopened() as store:
            with pytest.raises(StoreLocked, match=rf"^{tmp_path} is in use by process \d+$"):
                await SqliteStore.open(tmp_path, lambda value, _: value)
            await store.commit([Put("a", b"")])
        async with reopened() as store:
            assert store.count("") == 1

    asyncio.run(scenario())


def test_a_lock_that_was_removed_meanwhile_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    taken: list[int] = []

    def late(lock: int, operation: int) -> None:
        if not taken:
            (tmp_path / "lock").unlink()
        taken.append(lock)
        real(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    log = Log(tmp_path)
    assert len(taken) == 2
    with pytest.raises(StoreLocked):
        Log(tmp_path)
    log.close()


def test_files_are_their_owners_only(reopened: Reopened, tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "new" / "data"
        store = await SqliteStore.open(directory, lambda value, _: value)
        await store.commit([Put("secrets/default/password", b"")])
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()} == {
            "lock": 0o600,
            "store.db": 0o600,
            "store.db-wal": 0o600,
        }
        await store.close()

    asyncio.run(scenario())


def occupied(directory: Path) -> None:
    directory.write_text("a file")


def foreign(directory: Path) -> None:
    directory.mkdir()
    (directory / "store.db").write_text("not a database, " * 100)


def newer(directory: Path) -> None:
    directory.mkdir()
    with sqlite3.connect(directory / "store.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (occupied, "cannot open the store in {0}: File exists"),
        (foreign, "cannot open the store in {0}: file is not a database"),
        (newer, "{0}/store.db has format 99; this version of pierhead knows 1"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_in_one_line(
    tmp_path: Path, made: Callable[[Path], None], reason: str
) -> None:
    directory = tmp_path / "data"
    made(directory)
    with pytest.raises(StoreFailed) as caught:
        asyncio.run(SqliteStore.open(directory, lambda value, _: value))
    assert str(caught.value) == reason.format(directory)


def test_each_store_has_an_id_of_its_own(tmp_path: Path) -> None:
    async def made(directory: Path) -> str:
        store = await SqliteStore.open(directory, lambda value, _: value)
        await store.close()
        return store.uid

    assert asyncio.run(made(tmp_path / "a")) != asyncio.run(made(tmp_path / "b"))
