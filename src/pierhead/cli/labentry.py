"""``pierhead lab exec`` and ``down``: the ways into a lab that runs."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import NoReturn

from pierhead.errors import KernelError, UsageError
from pierhead.region import labdirectory, seclusion


def directory_of(data_dir: Path | None) -> Path:
    """Where the lab is that is meant, if there is one."""
    if data_dir:
        return data_dir.absolute()
    from pierhead.cli import connection

    beside = (path.parent for path in connection.named() if os.access(path.parent / labdirectory.RECORD, os.F_OK))
    return next(beside, labdirectory.default()).absolute()


def execute(data_dir: Path, where: str, namespace: str, command: tuple[str, ...]) -> NoReturn:
    """Becomes the command, among the lab's processes.

    Raises:
        UsageError: no lab runs there, there is no such place in it, or no such command.
    """
    if not command[0]:
        raise UsageError(
            "the command to run has no name", "write one after the place: pierhead lab exec node-1 ip address"
        )
    first = labdirectory.first_of(data_dir)
    file = labdirectory.host_file(data_dir, where)
    if where not in labdirectory.hosts(data_dir):
        from pierhead.cli import labpods

        file = labpods.find(data_dir, where, namespace)
    try:
        seclusion.enter(first, file)
    except (KernelError, OSError) as error:
        raise UsageError(f"cannot enter {where}: {error}", "run this as the account that runs the lab") from error
    try:
        os.execvp(command[0], command)  # noqa: S606 - what is asked for takes our place
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}", "name a command of this machine") from error


def end(data_dir: Path) -> None:
    """Tells a lab to end, and waits until it has.

    Raises:
        UsageError: no lab runs there, or it is somebody else's.
    """
    first = labdirectory.first_of(data_dir)
    try:
        process = os.pidfd_open(first)
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except OSError as error:
        raise UsageError(f"cannot end the lab: {error.strerror}", "run this as the account that runs it") from error
    select.select([process], [], [])
