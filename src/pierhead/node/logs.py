"""The output of a container: kept in a file in CRI's line format, read as ``kubectl logs`` asks.

    2026-01-02T03:04:05.123456789Z stdout F a whole line
    2026-01-02T03:04:05.123456789Z stderr P a piece of a line that goes on

A file is rotated at 10 MiB and one older file is kept, so a run of a container holds at most 20 MiB.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pierhead.api.logs import LogQuery
from pierhead.errors import ApiError, bad_request

ROTATE_AT = 10 * 1024 * 1024
LONGEST_LINE = 16 * 1024
"""Bytes; a longer line is kept in pieces."""
_BLOCK = 64 * 1024


class Log:
    """The output of one run of a container. One writer, any number of readers in the same event loop.

    ``Log(path)`` is one that is over (an earlier agent kept it); `begun` makes one that is written to."""

    def __init__(self, path: Path, rotate_at: int = ROTATE_AT) -> None:
        self.path = path
        self.closed = True
        self.generation = 0
        """How often the file was rotated."""
        self.lost = 0
        """Bytes that could not be written (a full disk, or nobody expects them any more); nobody is held up for them."""
        self._rotate_at = rotate_at
        self._rest: dict[bytes, bytes] = {}
        self._news = asyncio.Event()
        self._file = -1

    @classmethod
    def begun(cls, path: Path, rotate_at: int = ROTATE_AT) -> Log:
        """A log that is written to.

        Raises:
            OSError: the file cannot be made.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = cls(path, rotate_at)
        found._file = _open(path)
        found.closed = False
        return found

    @property
    def older(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def write(self, stream: bytes, data: bytes) -> None:
        """Appends output of ``stream`` (``stdout`` or ``stderr``); a line's end may come with a later call."""
        if self.closed:
            self.lost += len(data)
            return
        whole, ended, rest = (self._rest.get(stream, b"") + data).rpartition(b"\n")
        stamp = _stamp(time.time_ns())
        if ended:
            self._put(_lines(stamp, stream, whole))
        pieces, self._rest[stream] = _pieces(stamp, stream, rest)
        if pieces:
            self._put(pieces)

    def close(self) -> None:
        """No more will come: readers that follow end."""
        for stream, rest in self._rest.items():
            if rest:
                self._put(b"%s %s P %s\n" % (_stamp(time.time_ns()), stream, rest))
        self._rest.clear()
        if not self.closed:
            self.closed = True
            os.close(self._file)
            self._file = -1
            self._tell()

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self.older.unlink(missing_ok=True)

    async def news(self) -> None:
        """Until something was written, or the log was closed."""
        await self._news.wait()

    def _put(self, lines: bytes) -> None:
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            if os.fstat(self._file).st_size >= self._rotate_at:
                self._rotate()
        except OSError:
            self.lost += len(left)
        self._tell()

    def _rotate(self) -> None:
        """The new file is opened before the old one is given up: where that fails the old one is written on."""
        fresh = self.path.with_name(self.path.name + ".new")
        file = _open(fresh)
        self.path.replace(self.older)
        fresh.replace(self.path)
        os.close(self._file)
        self._file = file
        self.generation += 1

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


async def read(log: Log, query: LogQuery, now: float) -> AsyncGenerator[bytes, None]:
    """The output in chunks; with ``follow`` until the log is closed and everything was sent. ``now``: seconds since the epoch.

    Raises:
        ApiError: 400 for a time that is none, 404 when the log was removed meanwhile.
    """
    view, left = _View(_since(query, now), query.timestamps), query.limit_bytes
    cursor = _cursor(log, query)
    try:
        while True:
            lines = cursor.next()
            if not lines and (log.closed or not query.follow) and not cursor.behind:
                return
            if not lines:
                await log.news()
                continue
            text = view.text(lines)
            if left is not None:
                text, left = text[:left], left - len(text)
            if text:
                yield text
            if left is not None and left <= 0:
                return
            await asyncio.sleep(0)
    finally:
        cursor.close()


def _cursor(log: Log, query: LogQuery) -> _Cursor:
    try:
        return _Cursor(log, query.tail_lines)
    except FileNotFoundError as error:
        text = f'the log of container "{query.container}" in pod "{query.pod}" is no longer there'
        raise ApiError(404, "NotFound", text) from error


class _Cursor:
    """A place in a log, as it is rotated under the reader."""

    def __init__(self, log: Log, tail: int | None) -> None:
        self._log = log
        self._rest = b""
        missing, start = tail, 0
        if tail is not None:
            held = _count(log.path)
            start, missing = _tail(log.path, tail), tail - held
        if (missing is None or missing > 0) and log.older.exists():
            self._generation, path = log.generation - 1, log.older
            start = 0 if missing is None else _tail(path, missing)
        else:
            self._generation, path = log.generation, log.path
        self._file: BinaryIO = path.open("rb")
        self._file.seek(start)

    @property
    def behind(self) -> bool:
        """Whether a newer file follows the one that is being read."""
        return self._generation < self._log.generation

    def next(self) -> bytes:
        """Whole lines; empty when there is nothing more for now."""
        while data := self._file.read(_BLOCK):
            whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
            if newline:
                return whole + newline
        if self.behind:
            self._turn()
            return self.next()
        return b""

    def _turn(self) -> None:
        """To the next file that is still there: a slow reader misses what was rotated away twice, or was removed."""
        self._file.close()
        self._generation = max(self._generation + 1, self._log.generation - 1)
        try:
            self._file = (self._log.older if self.behind else self._log.path).open("rb")
        except FileNotFoundError:
            self._generation, self._file = self._log.generation, io.BytesIO()

    def close(self) -> None:
        self._file.close()


def _lines(stamp: bytes, stream: bytes, whole: bytes) -> bytes:
    """One timestamp for all lines that came together: what a line costs is a replace, not a call."""
    prefix = b"%s %s F " % (stamp, stream)
    if not _is_long(whole):
        return prefix + whole.replace(b"\n", b"\n" + prefix) + b"\n"
    cut = (_pieces(stamp, stream, line) for line in whole.split(b"\n"))
    return b"".join(pieces + prefix + rest + b"\n" for pieces, rest in cut)


def _is_long(lines: bytes) -> bool:
    """Whether one of them is longer than a line may be: hops from the last end within reach to the next."""
    start = 0
    while start + LONGEST_LINE < len(lines):
        end = lines.rfind(b"\n", start, start + LONGEST_LINE + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _pieces(stamp: bytes, stream: bytes, line: bytes) -> tuple[bytes, bytes]:
    """What is too much for one line, in pieces, and the rest of it."""
    end = (len(line) - 1) // LONGEST_LINE * LONGEST_LINE if line else 0
    parts = (line[start : start + LONGEST_LINE] for start in range(0, end, LONGEST_LINE))
    return b"".join(b"%s %s P %s\n" % (stamp, stream, part) for part in parts), line[end:]


def _stamp(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), rest)


def _since(query: LogQuery, now: float) -> bytes:
    """The earliest timestamp asked for: timestamps of one width compare as text. Empty: all.

    Raises:
        ApiError: 400 when ``sinceTime`` is no time.
    """
    if query.since_seconds is not None:
        return _stamp(int(max(0.0, now - query.since_seconds) * 1e9))
    if not query.since_time:
        return b""
    try:
        since = datetime.fromisoformat(query.since_time)
    except ValueError as error:
        raise bad_request(f"sinceTime: {error}") from error
    if since.tzinfo is None:
        raise bad_request(f"sinceTime: {query.since_time} has no time zone")
    return _stamp(int(max(0.0, since.timestamp()) * 1e9))


class _View:
    """What of the kept lines is shown."""

    def __init__(self, since: bytes, timestamps: bool) -> None:
        self._since, self._timestamps = since, timestamps
        self._begins = True
        """Whether the next piece is the first of its line."""

    def text(self, lines: bytes) -> bytes:
        """``lines``: whole ones as they are kept. Only ``\\n`` ends one: what a progress bar writes has returns in it."""
        found: list[bytes] = []
        for line in lines.split(b"\n")[:-1]:
            stamp, _, rest = line.partition(b" ")
            _, _, rest = rest.partition(b" ")
            tag, _, text = rest.partition(b" ")
            if stamp >= self._since:
                found += [stamp, b" "] if self._timestamps and self._begins else []
                found += [text, b"\n"] if tag == b"F" else [text]
            self._begins = tag == b"F"
        return b"".join(found)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))


def _tail(path: Path, lines: int) -> int:
    """Where the last ``lines`` lines begin."""
    with path.open("rb") as file:
        end = position = file.seek(0, os.SEEK_END)
        if lines == 0:
            return end
        missing = lines + 1
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            block = file.read(position - start)
            found = block.count(b"\n")
            if found >= missing:
                return start + _nth_from_end(block, missing) + 1
            missing, position = missing - found, start
        return 0


def _nth_from_end(block: bytes, number: int) -> int:
    place = len(block)
    for _ in range(number):
        place = block.rindex(b"\n", 0, place)
    return place
