"""The data directory of a region, and the kubeconfig in it."""

from __future__ import annotations

import base64
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

import msgspec

from pierhead.api.network import Mode
from pierhead.errors import UsageError
from pierhead.pki.credentials import Credentials
from pierhead.pki.files import write_private

ELSEWHERE = "choose another with --data-dir DIR"
NO_SPACE = f"free some space there, or {ELSEWHERE}"
LOCK = "lock"
"""The file that says that a directory is a region's."""
MODE = "mode"
"""The file that says in which network mode it was last: its addresses are of that mode."""
NETWORK = "network"
"""What keeps the network namespaces of a run. After one that was killed it is still there when all else has been removed: a file that a
namespace is mounted on cannot be."""


def default() -> Path:
    """``/var/lib/pierhead`` for root, else below ``$XDG_STATE_HOME``."""
    if os.geteuid() == 0:
        return Path("/var/lib/pierhead")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "pierhead"


class Beginning(msgspec.Struct, frozen=True):
    """A data directory in which there was nothing yet."""

    directory: Path
    made: tuple[Path, ...]
    """Those of itself and the directories above it that were not there either, innermost first."""

    def undo(self) -> None:
        """Leaves nothing that was not there. Only for who holds the directory's lock, which goes last."""
        for found in sorted(self.directory.iterdir(), key=lambda path: path.name == LOCK):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
        for found in self.made:
            found.rmdir()


def prepare(directory: Path) -> Beginning | None:
    """Makes the directory with mode 0700, or checks that it is a region's, or empty, and that this account may write in it.
    None: there is a region.

    Raises:
        UsageError: it cannot be made or written, or is somebody else's: closing ``/tmp`` to others would end more than a region.
    """
    made = tuple(found for found in (directory, *directory.parents) if not os.access(found, os.F_OK))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {directory}: {error.strerror}", way_out(error)) from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"cannot write in {directory}", ELSEWHERE)
    known = (directory / LOCK).exists()
    if not known and any(found.name != NETWORK for found in directory.iterdir()):
        raise UsageError(f"{directory} holds something else than a region", "choose an empty one with --data-dir DIR")
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)
    return None if known else Beginning(directory, made)


def mode(directory: Path) -> Mode | None:
    """The network mode in which its region ran last; None: there is no region, or none that this account may read."""
    try:
        found = (directory / MODE).read_text()
    except OSError:  # regions from before the file was written were in mode loopback unless told otherwise
        return "loopback" if os.access(directory / LOCK, os.F_OK) else None
    return next((known for known in get_args(Mode) if known == found), None)


def keep_mode(directory: Path, mode: Mode) -> None:
    """Raises: UsageError."""
    try:
        (directory / MODE).write_text(mode)
    except OSError as error:
        raise UsageError(f"cannot write in {directory}: {error.strerror}", way_out(error)) from error


def way_out(error: OSError) -> str:
    """What to do about it: who lacks room only would lose a region by taking another directory."""
    return NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else ELSEWHERE


def way_in(error: OSError, account: str) -> str:
    """What to do where it cannot be read; ``account``: what helps who is the wrong one."""
    return account if isinstance(error, PermissionError) else "name the data directory of one that runs: --data-dir DIR"


@contextmanager
def undone_if_refused(beginning: Beginning | None) -> Iterator[None]:
    """A region that cannot start is no reason to leave half of one behind. Why it cannot is what has to be said, whatever stays."""
    try:
        yield
    except UsageError:
        if beginning:
            with suppress(OSError):
                beginning.undo()
        raise


def write_kubeconfig(path: Path, url: str, credentials: Credentials) -> None:
    """One cluster, one user, one context, all named after us; nothing outside the data directory is touched."""
    authority = base64.b64encode(credentials.ca.read_bytes()).decode()
    write_private(
        path,
        f"""\
apiVersion: v1
kind: Config
current-context: pierhead
clusters:
- name: pierhead
  cluster:
    server: {url}
    certificate-authority-data: {authority}
users:
- name: pierhead-admin
  user:
    token: {credentials.admin}
contexts:
- name: pierhead
  context:
    cluster: pierhead
    user: pierhead-admin
""".encode(),
    )
