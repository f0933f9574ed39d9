"""``pierhead lab exec`` and ``down``: the ways into a lab that runs."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import NoReturn

from pierhead.api.kinds import POD
from pierhead.cli import connection
from pierhead.client.client import Client
from pierhead.errors import ApiError, KernelError, UsageError
from pierhead.region import labdirectory, seclusion


def directory_of(data_dir: Path | None) -> Path:
    """Where the lab is that is meant, if there is one."""
    beside = [path.parent for path in connection.named() if os.access(path.parent / labdirectory.RECORD, os.F_OK)]
    return (data_dir or next(iter(beside), labdirectory.default())).absolute()


def execute(data_dir: Path, where: str, namespace: str, command: tuple[str, ...]) -> NoReturn:
    """Becomes the command, among the lab's processes.

    Raises:
        UsageError: no lab runs there, there is no such place in it, or no such command.
    """
    first = labdirectory.first_of(data_dir)
    file = labdirectory.host_file(data_dir, where)
    if where not in labdirectory.hosts(data_dir):
        file = _pod_file(data_dir, where.removeprefix("pod/"), namespace)
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


def _pod_file(data_dir: Path, name: str, namespace: str) -> Path:
    """Raises: UsageError: there is no such pod, or it has no network now."""
    found: list[Path] = []

    async def ask(client: Client) -> None:
        try:
            pod = await client.get(POD, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            others = (await client.list(POD, namespace)).items
            names = ", ".join([*labdirectory.hosts(data_dir), *(pod["metadata"]["name"] for pod in others)])
            raise UsageError(
                f'there is no node or pod "{name}"', f"in namespace {namespace} there are: {names}"
            ) from error
        found.append(labdirectory.pod_file(data_dir, pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]))

    connection.run(data_dir / "kubeconfig", "pierhead-lab", ask)
    if not found[0].is_file():
        raise UsageError(f"pod {name} does not run", f"see: kubectl --namespace {namespace} get pod {name}")
    return found[0]
