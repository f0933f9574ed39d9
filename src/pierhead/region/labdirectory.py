"""The directory of a lab: who runs it, and where its namespaces are kept."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pierhead.errors import UsageError
from pierhead.region import directory

RECORD = "lab"
"""A file with the number of the lab's first process. It is locked while the lab runs."""


def default() -> Path:
    """Beside the one of `up`, which is another region."""
    return directory.default().with_name("pierhead-lab")


def host_file(data_dir: Path, name: str) -> Path:
    """Where the namespace of a node is kept, or of the host outside."""
    return data_dir / "network" / "hosts" / name


def pod_file(data_dir: Path, node: str, uid: str) -> Path:
    """Where the namespace of a pod is kept."""
    return data_dir / "network" / "pods" / node / uid


def hosts(data_dir: Path) -> Sequence[str]:
    """The nodes and the host outside, by name."""
    return sorted(path.name for path in host_file(data_dir, "").iterdir())


@contextmanager
def recorded(data_dir: Path, first: int) -> Iterator[None]:
    """Lets others find it until the end of the block. ``first``: the number of its first process, as they see it."""
    with (data_dir / RECORD).open("w") as file:
        file.write(f"{first}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def running(data_dir: Path) -> int | None:
    """The number of the first process of the lab that runs there; None: none does.

    Raises:
        OSError: this account may not know.
    """
    with suppress(FileNotFoundError), (data_dir / RECORD).open() as file:
        return _number(file)
    return None


def first_of(data_dir: Path) -> int:
    """As `running`.

    Raises:
        UsageError: none does, or this account may not know.
    """
    try:
        first = running(data_dir)
    except OSError as error:
        step = directory.way_in(error, "be the account that runs the lab")
        raise UsageError(f"cannot read {data_dir}: {error.strerror}", step) from error
    if first is None:
        start = "start one with: pierhead lab up; one that runs elsewhere: --data-dir DIR"
        raise UsageError(f"no lab runs in {data_dir}", start)
    return first


def _number(record: TextIO) -> int | None:
    """What stands in it, while it is locked. Nobody can name another account's process: root would enter it, or end it."""
    try:
        fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = record.read(20).strip()
        first = int(text) if text.isdecimal() else 0
        with suppress(FileNotFoundError):
            if Path(f"/proc/{first}").stat().st_uid == os.fstat(record.fileno()).st_uid:
                return first
    return None
