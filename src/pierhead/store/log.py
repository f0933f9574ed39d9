"""The log of the SQLite engine: one append-only table keyed by revision, in a directory that one process holds. Synchronous.

All of it runs in one thread, the writer's. There is no table of current values and no index: state is read from the log once,
when it is opened, and lives in memory from then on; a second structure would only be written, at several times the cost.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pierhead.errors import StoreFailed, StoreFull, StoreLocked
from pierhead.store.ledger import Row

_FORMAT = 1

_SCHEMA = (
    "CREATE TABLE meta (uid TEXT NOT NULL, compacted INTEGER NOT NULL)",
    "CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, first INTEGER NOT NULL)",
)


class Batch(NamedTuple):
    """What becomes durable together."""

    rows: Sequence[Row]
    dropped: Sequence[int]
    """Revisions of older rows which nothing needs any more."""
    compacted: int
    """History before and at this revision is forgotten; 0: no change."""


class Log:
    """``directory/store.db``, held by ``directory/lock``. Both are readable by their owner only."""

    def __init__(self, directory: Path) -> None:
        """Makes the directory and the log where they do not exist.

        Raises:
            StoreLocked: another process holds the directory.
            StoreFailed: it cannot be written, or is no store, or one of another format.
        """
        self._path = directory / "store.db"
        with contextlib.ExitStack() as undo:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _hold(directory)
                undo.callback(os.close, self._lock)
                self._connection = _connect(self._path)
                undo.callback(self._connection.close)
                self.uid, self.compacted = self._prepare()
            except (OSError, sqlite3.Error) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise _failure(error)(f"cannot open the store in {directory}: {reason}") from error
            undo.pop_all()

    def rows(self) -> Iterator[Row]:
        """All of the log, in the order of revisions."""
        try:
            yield from map(
                Row._make, self._connection.execute("SELECT revision, key, value, first FROM log ORDER BY 1")
            )
        except sqlite3.Error as error:
            raise StoreFailed(f"cannot read {self._path}: {error}") from error

    def write(self, batch: Batch) -> float:
        """Makes ``batch`` durable and answers the seconds that took; or raises StoreFailed, and nothing of it is there."""
        started = time.perf_counter()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", batch.rows)
            self._connection.executemany("DELETE FROM log WHERE revision = ?", [(each,) for each in batch.dropped])
            if batch.compacted:
                self._connection.execute("UPDATE meta SET compacted = ?", (batch.compacted,))
            self._connection.execute("COMMIT")
        except Exception as error:  # whatever it was, the transaction must not stay open
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            raise StoreFailed(f"cannot write to {self._path}: {error}") from error
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def _prepare(self) -> tuple[str, int]:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._create()
        elif version != _FORMAT:
            raise StoreFailed(f"{self._path} has format {version}; this version of pierhead knows {_FORMAT}")
        uid, compacted = self._connection.execute("SELECT uid, compacted FROM meta").fetchone()
        return uid, compacted

    def _create(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._connection.execute(statement)
        self._connection.execute("INSERT INTO meta VALUES (?, 0)", (os.urandom(16).hex(),))
        self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
        self._connection.execute("COMMIT")


def _failure(error: OSError | sqlite3.Error) -> type[StoreFailed]:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreFull if full or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL else StoreFailed


def _hold(directory: Path) -> int:
    """Takes the directory for this process. The kernel gives it back when the process ends, however it ends."""
    path = directory / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode().strip()
        os.close(lock)
        raise StoreLocked(f"{directory} is in use by process {holder or '(unknown)'}") from None
    if not _is_at(path, lock):  # whoever held it has removed it meanwhile, and another may have been made
        os.close(lock)
        return _hold(directory)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    os.close(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    )  # SQLite's -wal file takes the mode of this one
    connection = sqlite3.connect(path, isolation_level=None)
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the directory is ours; so no shared memory file either
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # each COMMIT syncs the write-ahead log
        undo.pop_all()
    return connection
