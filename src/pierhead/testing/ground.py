"""What test regions of one machine and one account share: certificates, the parts of 127.0.0.0/8, and the folder for temporary files."""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.pki.credentials import Credentials, ensure
from pierhead.region import machine, ranges, tenure

HOME: Final = "pierhead-test-"
"""What the names of the regions' directories begin with."""


@contextmanager
def home() -> Iterator[Path]:
    """A directory of one region's own, gone with the end of the block. If the process is killed before, the next one removes it: whoever
    is alive holds a lock on his."""
    for found in Path(tempfile.gettempdir()).glob(f"{HOME}*"):
        _remove_if_left(found)
    while True:
        path = Path(tempfile.mkdtemp(prefix=HOME))
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not path.exists():  # another process took it for left, before it was locked
                continue
            yield path
            return
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)


def _remove_if_left(path: Path) -> None:
    """Whoever makes a directory looks, once he has the lock, whether it is still there."""
    with suppress(OSError):  # it is somebody else's, or gone, or in use
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(handle).st_uid == os.geteuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


@contextmanager
def network(mode: Literal["none", "loopback"]) -> Iterator[Network]:
    """The network of one region, its own until the end of the block.

    Raises:
        UsageError: every part of 127.0.0.0/8 is taken, or the system has only 127.0.0.1 of it.
    """
    if mode == "none":
        yield ranges.choose("none")
        return
    if platform.system() != "Linux":
        raise UsageError("a region with a network needs Linux", "take region() without one")
    with tenure.spare() as part:
        yield ranges.choose(
            "loopback",
            services=(part.services,),
            pods=(part.pods,),
            floating=(part.floating,),
            subnets=machine.subnets(),
        )


@contextmanager
def credentials(names: Sequence[str], spare: Path) -> Iterator[Credentials]:
    """Certificates that are made once for an account and kept in its cache, and tokens of this region alone.

    Nobody renews the files before the block has ended: read them in it. ``names``: what the certificate is good for, see
    ``listening.names``. ``spare``: a directory of the region's own, where the account has no cache that is only its own.

    Raises:
        UsageError: a file is there and cannot be read as what it should be.
    """
    directory = _cache("-".join(sorted(names))) or spare
    with _held(directory):
        found = ensure(directory, names, datetime.now(UTC))
        yield replace(found, admin=secrets.token_urlsafe(32), controller=secrets.token_urlsafe(32))


def _cache(name: str) -> Path | None:
    """None: there is no home, or it cannot be written, or others could read there."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        path = base / "pierhead" / "testing" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except (OSError, RuntimeError):
        return None
    return path if found.st_uid == os.geteuid() and not found.st_mode & 0o077 else None


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Processes that start at the same time make one set of files, not halves of several."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
