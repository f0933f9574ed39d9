"""What test regions of one machine and one account share: certificates, and the parts of 127.0.0.0/8."""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.pki.credentials import Credentials, ensure
from pierhead.region import machine, ranges, tenure


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
